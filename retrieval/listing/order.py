"""The order of all that matches: the first results by relevance as the pipeline ranked them, the others by a score that
needs no model, groups in place of products where the request groups, caps, and pins."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from catalog.segment import Mask, Rows, Scores
from retrieval.listing.diversity import apply_caps
from retrieval.listing.spec import CAP_WINDOW

CAP_REACH = 1000
"""Results among which caps look for others to fill the window with."""

Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """m products that match, in the order of their rows, and what orders them; arrays of shape (m,).

    `head` has the places of the first results by relevance, best first; `relevance` orders the others, and products of
    equal keys of `sort`, of which lower ones come first. `groups` numbers each product's group, and `caps` has values,
    -1 for none, and how many may share one. `buried` products come last. `pins` are places in the list, from 1, and the
    places of products, in their order.
    """

    rows: Rows
    relevance: Scores
    head: Places
    sort: Sequence[NDArray[np.float64]] = ()
    groups: NDArray[np.int64] | None = None
    caps: Sequence[tuple[NDArray[np.int64], int]] = ()
    buried: Mask | None = None
    pins: Sequence[tuple[int, int]] = ()


@dataclass(frozen=True, slots=True, eq=False)
class ResultOrder:
    """The first results: `places` of products, or of the best product of each group. `total` is how many results there
    are, and `capped` those that a cap moved back."""

    places: Places
    total: int
    capped: set[int] = field(default_factory=set)


def order_matches(matches: Matches, stop: int) -> ResultOrder:
    """The first `stop` results."""
    total = len(matches.rows) if matches.groups is None else _count(matches.groups)
    pins = _one_pin_each(matches)
    reach = stop if not matches.caps else max(stop, CAP_REACH)
    units = _units(matches, reach + len(pins))
    if pins:
        units = units[~_is_pinned(matches, units, [place for _, place in pins])]
    capped: set[int] = set()
    if matches.caps:
        units, capped = _capped(matches, units)
    return ResultOrder(_with_pins(units, pins, total)[:stop], total, capped)


def group_members(matches: Matches, best: int, most: int) -> Places:
    """The places of further products of a group beside its best one, the most relevant first."""
    assert matches.groups is not None
    others = np.flatnonzero(matches.groups == matches.groups[best])
    others = others[others != best]
    return others[np.argsort(-matches.relevance[others], kind="stable")][:most]


def _units(matches: Matches, stop: int) -> Places:
    """The first results without caps and pins."""
    if matches.groups is None:
        return _sequence(matches, stop)
    count = 2 * stop
    while True:
        places = _sequence(matches, count)
        firsts = np.sort(np.unique(matches.groups[places], return_index=True)[1])
        if len(firsts) >= stop or len(places) == len(matches.rows):
            return places[firsts[:stop]]
        count *= 4


def _sequence(matches: Matches, count: int) -> Places:
    """The first products."""
    everyone = np.arange(len(matches.rows))
    if matches.sort:
        return _first(everyone, [*matches.sort, -matches.relevance.astype(np.float64)], count)
    rest = np.ones(len(everyone), bool)
    rest[matches.head] = False
    head, buried = matches.head, matches.buried
    if buried is not None:
        head = head[~buried[head]]
        last = np.flatnonzero(buried)
        rest &= ~buried
    result = [head]
    if len(head) < count:
        result.append(_by_relevance(matches, np.flatnonzero(rest), count - len(head)))
    if buried is not None and sum(map(len, result)) < count:
        result.append(_by_relevance(matches, last, count - sum(map(len, result))))
    return np.concatenate(result)[:count]


def _by_relevance(matches: Matches, places: Places, count: int) -> Places:
    return _first(places, [-matches.relevance[places]], count)


def _first(places: Places, keys: Sequence[NDArray], count: int) -> Places:
    """The `count` places with the lowest keys, the first key first, equal ones in their order."""
    if count <= 0:
        return places[:0]
    chosen = _firsts(keys, count)
    order = np.lexsort([key[chosen] for key in reversed(keys)])
    return places[chosen[order[:count]]]


def _firsts(keys: Sequence[NDArray], count: int) -> Places:
    """Ascending places of the `count` lowest keys, and perhaps more: sorting what cannot be among the first would take
    most of the time."""
    first, *others = keys
    if len(first) <= 4 * count:
        return np.arange(len(first))
    border = np.partition(first, count - 1)[count - 1]
    below, ties = np.flatnonzero(first < border), np.flatnonzero(first == border)
    left = count - len(below)
    tied = ties[_firsts([key[ties] for key in others], left)] if others else ties[:left]
    return np.sort(np.concatenate([below, tied]))


def _count(groups: NDArray[np.int64]) -> int:
    if not len(groups):
        return 0
    there = np.zeros(int(groups.max()) + 1, bool)
    there[groups] = True
    return int(np.count_nonzero(there))


def _is_pinned(matches: Matches, places: Places, pinned: Sequence[int]) -> Mask:
    """Which results are pinned, or a pinned product's group."""
    if matches.groups is None:
        return np.isin(places, pinned)
    return np.isin(matches.groups[places], matches.groups[np.array(pinned, np.intp)])


def _one_pin_each(matches: Matches) -> list[tuple[int, int]]:
    """The pins, in the order of their places in the list; of several for one result the first counts."""
    result: list[tuple[int, int]] = []
    seen: set[int] = set()
    for place, product in sorted(matches.pins, key=lambda pin: pin[0]):
        name = product if matches.groups is None else int(matches.groups[product])
        if name not in seen:
            seen.add(name)
            result.append((place, product))
    return result


def _capped(matches: Matches, units: Places) -> tuple[Places, set[int]]:
    reached, beyond = units[:CAP_REACH], units[CAP_REACH:]
    columns = [codes[reached].tolist() for codes, _ in matches.caps]
    values = [[None if code < 0 else code for code in row] for row in zip(*columns, strict=True)]
    order, moved = apply_caps(values, [most for _, most in matches.caps], CAP_WINDOW)
    return np.concatenate([reached[np.array(order, np.intp)], beyond]), {int(reached[place]) for place in moved}


def _with_pins(units: Places, pins: Sequence[tuple[int, int]], total: int) -> Places:
    """Pins at their places; beyond the end of the list, at its end, in their order."""
    if not pins:
        return units
    result = units.tolist()
    before = -1
    for number, (place, product) in enumerate(pins):
        before = min(max(place - 1, before + 1), total - len(pins) + number)
        result.insert(before, product)
    return np.array(result, np.intp)
