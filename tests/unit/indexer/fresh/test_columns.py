"""Typed columns of fresh products: what indexing makes of the same products, of the base's kinds."""

from pathlib import Path

import numpy as np
import pytest
from builders import product
from live import Base, unit_vectors

from catalog.columns import Kind
from catalog.masks import evaluate
from core.filters import Equal, Range

_USES = ("indoor", "indoor; outdoor", "garden; outdoor")
_ROWS = [
    product(
        f"p{i}",
        f"title {i}",
        brand=("Acme", "Bosch")[i % 2],
        price_micros=i * 1_000_000,
        currency="EUR",
        availability="in_stock",
        color="red / blue" if i % 2 else "green",
        product_type="Home > Kitchen",
        popularity=float(i),
        link="https://shop.example/p" if i else None,
        attributes=[
            ("voltage", f"{18 + i} V"),
            ("cordless", "yes"),
            ("use", _USES[i % 3]),
            ("released", f"2026-01-0{i + 1}"),
        ],
    )
    for i in range(8)
]


def test_the_same_products_have_the_same_columns(tmp_path: Path) -> None:
    base = Base(tmp_path, _ROWS, unit_vectors(8))
    kinds = base.segment.columns.kinds  # type: ignore[union-attr]
    assert (kinds["attributes.voltage"], kinds["attributes.cordless"]) == (Kind.number, Kind.boolean)
    assert (kinds["attributes.use"], kinds["attributes.released"]) == (Kind.strings, Kind.date)
    fresh = base.build(_ROWS, unit_vectors(8)).columns
    assert fresh is not None and not base.fresh.left_out
    for name in kinds:
        theirs = base.segment.columns.column(name)  # type: ignore[union-attr]
        ours = fresh.get(name)
        if ours is None:
            assert not theirs.exists().any()
            continue
        assert (ours.kind, ours.unit, list(ours.values)) == (theirs.kind, theirs.unit, list(theirs.values))
        for array, values in theirs.arrays.items():
            np.testing.assert_array_equal(ours.arrays[array], values, err_msg=name)


def test_values_of_another_kind_are_left_out_and_counted(tmp_path: Path) -> None:
    base = Base(tmp_path, _ROWS, unit_vectors(8))
    row = product(
        "q",
        "thing",
        price_micros=5_000_000,
        currency="USD",
        color="",
        attributes=[("voltage", "plenty"), ("cordless", "maybe"), ("released", "soon"), ("unheard", "x"), ("use", "")],
    )
    columns = base.build([row, product("r", "thing", price_micros=3)], unit_vectors(2)).columns
    assert columns is not None
    expected = {"price": 1, "attributes.voltage": 1, "attributes.cordless": 1, "attributes.released": 1}
    assert base.fresh.left_out == expected | {"attributes.unheard": 1}
    np.testing.assert_array_equal(columns.column("price").numbers, [np.nan, 3])
    assert columns.get("attributes.voltage") is None and columns.get("attributes.unheard") is None
    assert evaluate(Range("price", at_most=1.0), columns).tolist() == [False, True]


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        (Equal("color", "red"), [True, False]),
        (Equal("color", "blue"), [True, False]),
        (Equal("product_type", "Home"), [True, True]),
        (Equal("product_type", "Home > Kitchen > Pots"), [False, True]),
        (Equal("attributes.use", "outdoor"), [False, True]),
        (Range("attributes.voltage", above=20.0), [True, False]),
    ],
)
def test_filters_pass_fresh_products(tmp_path: Path, filter: Equal | Range, expected: list[bool]) -> None:
    base = Base(tmp_path, _ROWS, unit_vectors(8))
    rows = [
        product("q", color="red / blue", product_type="Home > Garden", attributes=[("voltage", "36 V")]),
        product("r", product_type="Home>Kitchen>Pots", attributes=[("voltage", "12 V"), ("use", "outdoor")]),
    ]
    columns = base.build(rows, unit_vectors(2)).columns
    assert columns is not None and evaluate(filter, columns).tolist() == expected
