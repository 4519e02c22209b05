"""Counts of facets against counting one product after the other."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.columns import Column, Kind, make_column
from retrieval.listing.facets import count_facet
from retrieval.listing.spec import FacetSpec

_KINDS = {
    Kind.string: st.sampled_from(["red", "blue", "Red", "ärmel", ""]),
    Kind.strings: st.lists(st.sampled_from(["red", "blue", "green"]), max_size=3),
    Kind.boolean: st.booleans(),
    Kind.number: st.sampled_from([0.0, 1.5, -2.0, 10.0, 99.5]),
    Kind.money: st.sampled_from([0.1, 19.99, 20.0, 250.0]),
    Kind.text: st.sampled_from(["", "words"]),
}


@st.composite
def cases(draw: st.DrawFn):
    kind = draw(st.sampled_from(list(_KINDS)))
    values = draw(st.lists(st.none() | _KINDS[kind], min_size=1, max_size=25))
    chosen = draw(st.none() | st.sets(st.integers(0, len(values) - 1)))
    groups = draw(st.none() | st.lists(st.integers(0, 4), min_size=len(values), max_size=len(values)))
    return kind, values, chosen, groups


def plain(kind: Kind, values: list, chosen: set[int] | None, groups: list[int] | None):
    """The products or groups by each value, and those without any."""
    holders: dict = defaultdict(set)
    having, everyone = set(), set()
    for row in range(len(values)) if chosen is None else sorted(chosen):
        name = row if groups is None else groups[row]
        everyone.add(name)
        value = values[row]
        own = [] if value is None else value if kind is Kind.strings else [value]
        if kind is Kind.text:
            own = [True] if value else []
        for one in own:
            holders[str(one).lower() if kind is Kind.boolean else one].add(name)
            having.add(name)
    return {value: len(names) for value, names in holders.items()}, len(everyone - having)


@settings(max_examples=1500, deadline=None)
@given(cases())
def test_counts_are_those_of_counting_one_by_one(case) -> None:
    kind, values, chosen, groups = case
    column = make_column(kind, values)
    rows = None if chosen is None else np.array(sorted(chosen), np.int64)
    by_group = None if groups is None else np.array(groups, np.int64)
    expected, missing = plain(kind, values, chosen, groups)
    facet = count_facet(FacetSpec("f", limit=100), column, rows, by_group)
    assert facet.missing == missing
    if kind in (Kind.string, Kind.strings, Kind.boolean):
        assert facet.values == sorted(expected.items(), key=lambda pair: (-pair[1], pair[0]))
        cut = count_facet(FacetSpec("f", limit=2), column, rows, by_group)
        assert cut.values == facet.values[:2] and cut.more_values == max(0, len(expected) - 2)
        some = count_facet(FacetSpec("f", limit=9, prefix="RE"), column, rows, by_group)
        assert some.values == [pair for pair in facet.values if pair[0].lower().startswith("re")]


@settings(max_examples=1500, deadline=None)
@given(cases(), st.sampled_from([(0.0, 20.0, 100.0), (-5.0, 0.0), (1.5, 2.0, 2.5, 1000.0)]))
def test_ranges_have_their_lower_and_not_their_upper_border(case, borders: tuple[float, ...]) -> None:
    kind, values, chosen, groups = case
    if kind not in (Kind.number, Kind.money):
        return
    column = make_column(kind, values)
    rows = None if chosen is None else np.array(sorted(chosen), np.int64)
    by_group = None if groups is None else np.array(groups, np.int64)
    facet = count_facet(FacetSpec("f", borders=borders), column, rows, by_group)
    for number, (lower, upper, count) in enumerate(facet.ranges):
        assert (lower, upper) == borders[number : number + 2]
        within = [value if value is not None and lower <= value < upper else None for value in values]
        assert count == len(
            {
                row if groups is None else groups[row]
                for row in (range(len(values)) if chosen is None else chosen)
                if within[row] is not None
            }
        )
    assert len(facet.ranges) == len(borders) - 1
    everything = count_facet(FacetSpec("f"), column, rows, by_group)
    there = [values[row] for row in (range(len(values)) if chosen is None else chosen) if values[row] is not None]
    assert everything.extent == ((min(there), max(there)) if there else None)
    if groups is None:
        assert sum(count for *_, count in everything.ranges) == len(there)


@settings(max_examples=500, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6).map(lambda x: round(x, 3)), min_size=1, max_size=30),
    st.sampled_from([0.0, 0.1, 0.3, 7.0, 1e5]),
)
def test_chosen_ranges_hold_every_number(numbers: list[float], interval: float) -> None:
    facet = count_facet(FacetSpec("f", interval=interval), make_column(Kind.number, numbers), None)
    for lower, upper, count in facet.ranges:
        assert lower < upper and count == sum(lower <= number < upper for number in numbers) > 0
    few = not interval or (max(numbers) - min(numbers)) / interval < 190
    assert not few or sum(count for *_, count in facet.ranges) == len(numbers)
    assert interval or len(facet.ranges) <= 12


_EXTREMES = [5e-324, 1e-300, 1e-9, 1 / 3, 1e17, 1e300, 1.7e308]


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from([Kind.number, Kind.money, Kind.date]),
    st.lists(st.sampled_from([0.0, *_EXTREMES, *(-number for number in _EXTREMES)]) | st.floats(-1e9, 1e9), min_size=1),
    st.sampled_from([0.0, *_EXTREMES]),
    st.sampled_from([(), (-1.7e308, 0.0, 1.7e308), (0.0, 5e-324), (0.0, 1e303, 1e304)]),
)
def test_no_number_width_or_border_is_too_large_or_small(
    kind: Kind, numbers: list[float], interval: float, borders: tuple[float, ...]
) -> None:
    column = Column(kind, numbers=np.rint(numbers) if kind is Kind.money else np.array(numbers))
    spec = FacetSpec("f", borders=borders, interval=0.0 if borders else interval)
    for groups in (None, np.zeros(len(numbers), np.int64)):
        ranges = count_facet(spec, column, None, groups).ranges
        assert all(lower < upper for lower, upper, _ in ranges) and len(ranges) <= 200
    if not borders and not interval and np.abs(column.numbers).max() < 2**53:
        ranges = count_facet(spec, column, None).ranges
        assert sum(count for *_, count in ranges) == len(numbers) and len(ranges) <= 12


def test_borders_of_money_are_as_exact_as_filters() -> None:
    """20.0000001 is above 20, and no amount of millionths lies between them."""
    column = make_column(Kind.money, [20.0, 20.0, 29.95])
    facet = count_facet(FacetSpec("price", borders=(19.0, 20.0000001, 29.95, 29.9500001, 40.0)), column, None)
    assert [count for _, _, count in facet.ranges] == [2, 0, 1, 0]


@pytest.mark.parametrize("kind", [Kind.money, Kind.number])
@pytest.mark.parametrize("count", [3, 150, 450])
def test_narrow_ranges_are_counted_wherever_there_are_numbers(kind: Kind, count: int) -> None:
    """More multiples than ranges are returned lie between the lowest and the highest."""
    column = make_column(kind, [round(number * 7.77, 2) for number in range(count)] * 2)
    ranges = count_facet(FacetSpec("price", interval=0.01), column, None).ranges
    assert [(round(low / 0.01), below > low, held) for low, below, held in ranges] == [
        (777 * number, True, 2) for number in range(min(count, 200))
    ]
    by_group = count_facet(FacetSpec("price", interval=0.01), column, None, np.arange(2 * count) % count).ranges
    assert [held for _, _, held in by_group] == [1] * min(count, 200)
