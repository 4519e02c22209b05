"""Counts of a field over what matches: values, ranges of numbers, and products without the field. Exact."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catalog.columns import NUMERIC, Column, Kind
from catalog.masks import number_of
from catalog.product import MICROS
from catalog.segment import Rows
from retrieval.listing.spec import FacetSpec

MAX_RANGES = 200
_CHOSEN_RANGES = 10
_DIGITS = 12  # of borders


@dataclass(frozen=True, slots=True)
class FacetCounts:
    """`values` are those of the most products with their counts; `ranges` are (at least, below, count), ascending;
    `more_values` counts the values that are not listed, `missing` the products without the field. `extent` is the
    lowest and the highest number. With groups, groups are counted in the place of products."""

    field: str
    values: Sequence[tuple[str, int]] = ()
    ranges: Sequence[tuple[float, float, int]] = ()
    more_values: int = 0
    missing: int = 0
    extent: tuple[float, float] | None = None


def count_facet(
    spec: FacetSpec, column: Column, rows: Rows | None, groups: NDArray[np.int64] | None = None
) -> FacetCounts:
    """Counts a column over m rows, ascending; all rows of it where None. `groups` numbers the group of each row of the
    column; without it each product counts by itself."""
    if column.kind in NUMERIC:
        return _count_numbers(spec, column, rows, groups)
    if column.kind is Kind.text:
        present = column.present if rows is None else column.present[rows]
        return FacetCounts(spec.field, missing=_count_missing(present, rows, groups))
    return _count_values(spec, column, rows, groups)


def _count_values(spec: FacetSpec, column: Column, rows: Rows | None, groups: NDArray[np.int64] | None) -> FacetCounts:
    if column.kind is Kind.strings:
        if groups is None:
            counts, empty_sets = _count_sets(column, rows)
            return _ranked(spec, column, counts, empty_sets)
        codes, owners, empty = _members(column, rows)
    else:
        own = column.codes if rows is None else column.codes[rows]
        if groups is None:  # counted in one pass
            counts = np.bincount(own + 1, minlength=len(column.values) + 1)
            return _ranked(spec, column, counts[1:], int(counts[0]))
        owners, there = _chosen(rows, len(column)), own >= 0
        codes, empty, owners = own[there], owners[~there], owners[there]
    pairs = np.unique(groups[owners] * len(column.values) + codes) if len(codes) else np.zeros(0, np.int64)
    counts = np.bincount(pairs % max(len(column.values), 1), minlength=len(column.values))
    return _ranked(spec, column, counts, len(np.setdiff1d(groups[empty], groups[owners])))


def _count_sets(column: Column, rows: Rows | None) -> tuple[NDArray[np.int64], int]:
    """How many products have each value of a set, and how many have none."""
    starts, ends = column.offsets[:-1], column.offsets[1:]
    if rows is None:
        return np.bincount(column.codes, minlength=len(column.values)), int(np.count_nonzero(starts == ends))
    starts, lengths = starts[rows], ends[rows] - starts[rows]
    counts = np.zeros(len(column.values), np.int64)
    # Sets are small: one pass for the first values, one for the second, and so on.
    left = np.flatnonzero(lengths)
    empty, place = len(rows) - len(left), 0
    while len(left):
        counts += np.bincount(column.codes[starts[left] + place], minlength=len(counts))
        place += 1
        left = left[lengths[left] > place]
    return counts, empty


def _members(column: Column, rows: Rows | None) -> tuple[NDArray[np.int32], Rows, Rows]:
    """The codes of sets, the row that each is of, and the rows of empty sets."""
    if rows is None:
        lengths = np.diff(column.offsets)
        everyone = np.arange(len(column))
        return column.codes, np.repeat(everyone, lengths), everyone[lengths == 0]
    starts, lengths = column.offsets[rows], column.offsets[rows + 1] - column.offsets[rows]
    total = int(lengths.sum())
    shifts = np.repeat(starts - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
    return column.codes[np.arange(total) + shifts], np.repeat(rows, lengths), rows[lengths == 0]


def _ranked(spec: FacetSpec, column: Column, counts: NDArray[np.int64], missing: int) -> FacetCounts:
    """The values with the highest counts, equal ones in the order of their text, which is that of their codes."""
    there = np.flatnonzero(counts)
    if spec.prefix:
        wanted = spec.prefix.casefold()
        there = np.array(
            [code for code in there.tolist() if column.values[code].casefold().startswith(wanted)], np.intp
        )
    chosen = there
    if len(there) > 4 * spec.limit:
        border = np.partition(counts[there], len(there) - spec.limit)[len(there) - spec.limit]
        chosen = there[counts[there] >= border]
    chosen = chosen[np.argsort(-counts[chosen], kind="stable")][: spec.limit]
    values = [(column.values[code], int(counts[code])) for code in chosen.tolist()]
    return FacetCounts(spec.field, values, more_values=len(there) - len(chosen), missing=missing)


def _count_numbers(spec: FacetSpec, column: Column, rows: Rows | None, groups: NDArray[np.int64] | None) -> FacetCounts:
    scale = MICROS if column.kind is Kind.money else 1
    numbers = column.numbers if rows is None else column.numbers[rows]
    there = ~np.isnan(numbers)
    missing = _count_missing(there, rows, groups)
    owners = None if groups is None else groups[_chosen(rows, len(column))[there]]
    present = numbers[there]
    if not len(present):
        ranges = [(lower, upper, 0) for lower, upper in zip(spec.borders, spec.borders[1:], strict=False)]
        return FacetCounts(spec.field, ranges=ranges, missing=missing)
    least, most = float(present.min()) / scale, float(present.max()) / scale
    width = 0.0 if spec.borders else _width(spec, least, most, 1 / scale if scale > 1 else 0.0)
    borders = list(spec.borders) or _borders(width, least, most)
    if not borders:
        borders = _filled_borders(width, np.unique(present), column.kind)
    counts = _count_ranges(present, np.array([number_of(column.kind, border) for border in borders]), owners)
    listed = [(borders[i], borders[i + 1], count) for i, count in enumerate(counts)]
    if not spec.borders:
        listed = [entry for entry in listed if entry[2]]
    return FacetCounts(spec.field, ranges=listed, missing=missing, extent=(least, most))


def _count_ranges(
    numbers: NDArray[np.float64], borders: NDArray[np.float64], owners: NDArray[np.int64] | None
) -> list[int]:
    places = _range_places(numbers, borders)
    inside = (places >= 0) & (places < len(borders) - 1)
    ranges = max(len(borders) - 1, 0)
    if owners is None:
        return np.bincount(places[inside], minlength=ranges)[:ranges].tolist()
    pairs = np.unique(owners[inside] * max(ranges, 1) + places[inside])
    return np.bincount(pairs % max(ranges, 1), minlength=ranges)[:ranges].tolist()


def _range_places(numbers: NDArray[np.float64], borders: NDArray[np.float64]) -> NDArray[np.int64]:
    """The range of each number: the place of its lower border, -1 below the first, the last one from there on."""
    last = len(borders) - 1
    with np.errstate(all="ignore"):  # of numbers near the ends of what a float holds
        even = len(borders) >= 3 and np.ptp(np.diff(borders)) <= 1e-6 * (borders[1] - borders[0])
        density = np.float64(last) / (borders[-1] - borders[0]) if even else 0.0
        if not (0 < density < np.inf):
            return np.searchsorted(borders, numbers, side="right") - 1
        # Even widths: a division in place of a search, which at a border may be one off.
        places = ((numbers - borders[0]) * density).clip(-1, last).astype(np.int64)
    places -= numbers < borders[places.clip(0)]
    upper = np.append(borders[1:], np.inf)
    return places + (numbers >= upper[places.clip(0)])


def _width(spec: FacetSpec, least: float, most: float, finest: float) -> float:
    """The width asked for, or a round one. One below `finest`, or too fine for the digits of these numbers, becomes the
    finest that is not."""
    width = spec.interval or _round_width(most / _CHOSEN_RANGES - least / _CHOSEN_RANGES)
    return max(width, finest, _finest_width(max(-least, most)))


def _borders(width: float, least: float, most: float) -> list[float]:
    """Multiples of a width that hold everything from the lowest to the highest number; none where they are too many."""
    first, last = _times(least, width), _times(most, width) + 1
    return [_multiple(i, width) for i in range(first, last + 1)] if last - first <= MAX_RANGES else []


def _filled_borders(width: float, numbers: NDArray[np.float64], kind: Kind) -> list[float]:
    """The borders of the first ranges that hold one of these numbers, which ascend; between others is none."""
    scale, place = MICROS if kind is Kind.money else 1, 0
    borders: set[float] = set()
    for _ in range(MAX_RANGES):
        if place == len(numbers):
            break
        times = _times(float(numbers[place]) / scale, width)
        upper = _multiple(times + 1, width)
        borders |= {_multiple(times, width), upper}
        place = int(np.searchsorted(numbers, number_of(kind, upper)))
    return sorted(borders)


def _times(number: float, width: float) -> int:
    """The highest multiple of a width that a number reaches, where dividing rounds too."""
    times = math.floor(number / width)
    times -= _multiple(times, width) > number
    return times + (_multiple(times + 1, width) <= number)


def _multiple(times: int, width: float) -> float:
    """Without the noise of binary fractions: 0.3, not 0.30000000000000004."""
    return float(f"{times * width:.{_DIGITS}g}")


def _finest_width(most: float) -> float:
    """The least width whose multiples differ up to a number."""
    return 10.0 ** (math.ceil(math.log10(most)) - _DIGITS + 1) if most > 0 else 0.0


def _round_width(width: float) -> float:
    """The least of 1, 2 and 5 times a power of ten that is no less than a width; 1 where all numbers are equal."""
    if width <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(width))
    return next((step * power for step in (1, 2, 5, 10) if step * power >= width), width)


def _chosen(rows: Rows | None, count: int) -> Rows:
    return np.arange(count) if rows is None else rows


def _count_missing(present: NDArray[np.bool_], rows: Rows | None, groups: NDArray[np.int64] | None) -> int:
    """Products without the field, or groups of which no product has it."""
    if groups is None:
        return len(present) - int(np.count_nonzero(present))
    owners = groups[_chosen(rows, len(present))]
    return len(np.setdiff1d(owners[~present], owners[present]))
