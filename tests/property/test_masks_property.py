"""Masks against a plain evaluator in Python: random products and filters, several segments, deleted rows."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from builders import product, write_columns
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.columns import Kind, make_columns
from catalog.segment import make_segment
from catalog.table import ProductTable
from catalog.view import CatalogView
from core.filters import And, Equal, Exists, Filter, Not, OneOf, Or, Range, filter_digest

WORDS = st.sampled_from(("red", "blue", "Blue", "äpfel", "z", "日本", ""))
NUMBERS = st.sampled_from((-1.5, 0.0, 0.1, 0.3, 19.99, 20.0, 1e6))
DATES = st.sampled_from((datetime(1969, 12, 31), datetime(2026, 1, 1), datetime(2026, 1, 1, 12, 0, 1, tzinfo=UTC)))
FIELDS: dict[str, tuple[Kind, st.SearchStrategy[Any]]] = {
    "brand": (Kind.string, WORDS),
    "color": (Kind.strings, st.lists(WORDS, min_size=1, max_size=3)),
    "attributes.Weight": (Kind.number, NUMBERS),
    "price": (Kind.money, NUMBERS),
    "attributes.New": (Kind.boolean, st.booleans()),
    "attributes.Added": (Kind.date, DATES),
    "link": (Kind.text, st.just("x")),
}
VALUES = {name: WORDS if kind is Kind.strings else values for name, (kind, values) in FIELDS.items()}
NUMERIC = ("attributes.Weight", "price", "attributes.Added")


@st.composite
def leaves(draw: st.DrawFn) -> Filter:
    """Single conditions of the right type."""
    field = draw(st.sampled_from([name for name in FIELDS if name != "link"]))
    which = draw(st.integers(0, 3))
    if which == 0:
        return Exists(draw(st.sampled_from(list(FIELDS))))
    if which == 1:
        return OneOf(field, tuple(draw(st.lists(VALUES[field], min_size=1, max_size=3))))
    if which == 2 and field in NUMERIC:
        names = st.sampled_from(("at_least", "above", "at_most", "below"))
        return Range(field, **draw(st.dictionaries(names, VALUES[field], min_size=1, max_size=2)))
    return Equal(field, draw(VALUES[field]))


def trees() -> st.SearchStrategy[Filter]:
    """Filters a few levels deep."""

    def grow(inner: st.SearchStrategy[Filter]) -> st.SearchStrategy[Filter]:
        several = st.lists(inner, min_size=1, max_size=3).map(tuple)
        return st.one_of(inner.map(Not), several.map(And), several.map(Or))

    return st.recursive(leaves(), grow, max_leaves=6)


def passes(filter: Filter, row: dict[str, Any]) -> bool:
    """Whether a product passes, as the contract defines it."""
    if isinstance(filter, Not):
        return not passes(filter.filter, row)
    if isinstance(filter, And):
        return all(passes(part, row) for part in filter.filters)
    if isinstance(filter, Or):
        return any(passes(part, row) for part in filter.filters)
    value = row[filter.field]
    if value is None:
        return False
    if isinstance(filter, Exists):
        return True
    own = [zoned(one) for one in value] if isinstance(value, list) else [zoned(value)]
    if isinstance(filter, Equal):
        return zoned(filter.value) in own
    if isinstance(filter, OneOf):
        return any(zoned(one) in own for one in filter.values)
    (one,) = own
    bounds = {name: zoned(bound) for name, bound in filter.bounds.items()}
    return (
        ("at_least" not in bounds or one >= bounds["at_least"])
        and ("above" not in bounds or one > bounds["above"])
        and ("at_most" not in bounds or one <= bounds["at_most"])
        and ("below" not in bounds or one < bounds["below"])
    )


def zoned(value: Any) -> Any:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value


PRODUCTS = st.lists(
    st.fixed_dictionaries({name: st.none() | values for name, (_, values) in FIELDS.items()}), min_size=1, max_size=9
)


def build_view(folder: Path, rows: Sequence[dict[str, Any]], cuts: Sequence[int], gone: Sequence[bool]) -> CatalogView:
    segments = []
    for number, (start, end) in enumerate(pairwise([0, *cuts, len(rows)])):
        part = rows[start:end]
        table = ProductTable(
            write_columns(folder / f"{number}.arrow", [product(f"p{i}", "t") for i in range(len(part))])
        )
        values = {name: [row[name] for row in part] for name in FIELDS}
        columns = make_columns(values, {name: kind for name, (kind, _) in FIELDS.items()})
        segments.append(make_segment(table, columns=columns))
    return CatalogView(segments[0], segments[1:], np.array(gone))


@settings(max_examples=150, deadline=None)
@given(PRODUCTS, trees(), st.data())
def test_masks_are_what_a_plain_evaluator_says(rows: list[dict[str, Any]], tree: Filter, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(rows) - 1)), max_size=2))) if len(rows) > 1 else []
    gone = data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    with TemporaryDirectory() as folder:
        view = build_view(Path(folder), rows, cuts, gone)
        mask = view.mask(tree)
        assert mask is not None
        assert mask.tolist() == [passes(tree, row) and not out for row, out in zip(rows, gone, strict=True)]
        for name in FIELDS:
            whole = build_view(Path(folder), rows, [], gone).column(name)
            column = view.column(name)
            assert list(column.values) == list(whole.values) and len(column) == len(rows)
            for array in whole.arrays:
                np.testing.assert_array_equal(column.arrays[array], whole.arrays[array])


@settings(max_examples=60, deadline=None)
@given(PRODUCTS, trees(), trees())
def test_filters_of_one_digest_pass_the_same_products(rows: list[dict[str, Any]], left: Filter, right: Filter) -> None:
    for one, other in ((And((left, right)), And((right, left, right))), (Or((left, right)), Or((right, left)))):
        assert filter_digest(one) == filter_digest(other)
        assert [passes(one, row) for row in rows] == [passes(other, row) for row in rows]
    if filter_digest(left) == filter_digest(right):
        assert [passes(left, row) for row in rows] == [passes(right, row) for row in rows]
