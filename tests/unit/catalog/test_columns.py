from datetime import UTC, datetime

import numpy as np
import pytest

from catalog.columns import (
    Column,
    Columns,
    Kind,
    SparseColumn,
    Texts,
    UnknownField,
    make_column,
    make_columns,
    thin_column,
    type_levels,
)


def test_each_kind_has_its_arrays() -> None:
    columns = make_columns(
        {
            "brand": ["Makita", None, "Bosch", "Makita"],
            "color": [("red", "blue"), None, ("red",), ()],
            "price": [19.99, None, 0.1, 5],
            "attributes.Cordless": [True, False, None, True],
            "added": [datetime(1970, 1, 2, tzinfo=UTC), None, datetime(1970, 1, 1, 0, 0, 1), None],
            "description": ["x", "", None, "y"],
        },
        {"price": Kind.money, "description": Kind.text},
        {"price": "EUR"},
    )
    assert columns.names[:2] == ("brand", "color") and columns.rows == 4
    brand, color = columns.column("brand"), columns.column("color")
    assert (brand.codes.tolist(), list(brand.values)) == ([1, -1, 0, 1], ["Bosch", "Makita"])
    assert (color.codes.tolist(), color.offsets.tolist()) == ([0, 1, 1], [0, 2, 2, 3, 3])
    assert list(color.values) == ["blue", "red"]
    price = columns.column("price")
    np.testing.assert_array_equal(price.numbers, [19_990_000, np.nan, 100_000, 5_000_000])
    assert (price.unit, brand.code("Makita"), brand.code("A"), brand.code("Z")) == ("EUR", 1, -1, -1)
    cordless = columns.column("attributes.Cordless")
    assert (cordless.kind, cordless.codes.tolist(), list(cordless.values)) == (
        Kind.boolean,
        [1, 0, -1, 1],
        ["false", "true"],
    )
    np.testing.assert_array_equal(columns.column("added").numbers, [86400, np.nan, 1, np.nan])
    exists = {name: columns.column(name).exists().tolist() for name in columns.names}
    assert exists == {
        "brand": [True, False, True, True],
        "color": [True, False, True, False],
        "price": [True, False, True, True],
        "attributes.Cordless": [True, True, False, True],
        "added": [True, False, True, False],
        "description": [True, False, False, True],
    }


def test_arrays_are_read_only() -> None:
    for kind, value in ((Kind.string, "a"), (Kind.strings, ["a"]), (Kind.number, 1), (Kind.text, "a")):
        for array in make_column(kind, [value]).arrays.values():
            assert not array.flags.writeable


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("Brand", "brand"),
        ("bramd", "brand"),
        ("voltage", "attributes.Voltage"),
        ("attributes.Voltgae", "attributes.Voltage"),
        ("attributes.brand", "brand"),
    ],
)
def test_an_unknown_field_comes_with_the_nearest_name(name: str, near: str) -> None:
    columns = make_columns({"brand": ["a"], "attributes.Voltage": [18]})
    with pytest.raises(UnknownField) as error:
        columns.column(name)
    assert str(error.value) == f"{name!r} is no field of this catalog; did you mean {near!r}?"


def test_a_name_like_no_other_has_none_near_however_long_it_is() -> None:
    with pytest.raises(UnknownField) as error:
        make_columns({"brand": ["a"]}).column("x" * 60_000)
    assert str(error.value) == f"'{'x' * 39}…' is no field of this catalog"


def test_columns_of_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="column 'b' has 1 products, and the segment has 2"):
        Columns({"a": make_column(Kind.number, [1, 2]), "b": make_column(Kind.strings, [["x"]])}, 2)


def test_texts_are_read_from_one_block() -> None:
    texts = ["", "ab", "é", "日本"]
    data = "".join(texts).encode()
    ends = np.cumsum([0, *(len(text.encode()) for text in texts)])
    block = Texts(ends, memoryview(data))
    assert list(block) == texts and block[-1] == "日本" and block[1:3] == ["ab", "é"] and len(block) == 4
    with pytest.raises(IndexError):
        block[4]
    assert Column(Kind.string, values=block).code("é") == 2


def test_a_type_has_every_level_above() -> None:
    assert type_levels("Home>Kitchen > Mugs") == ["Home", "Home > Kitchen", "Home > Kitchen > Mugs"]
    assert type_levels(" > ") == []


SPARSE = {
    Kind.string: ["b", None, "a"],
    Kind.strings: [("b", "z"), None, ("a", "b")],
    Kind.number: [1.5, None, 0.0],
    Kind.boolean: [True, None, False],
    Kind.date: [5.0, None, -3.0],
}


@pytest.mark.parametrize("kind", list(SPARSE))
@pytest.mark.parametrize("before", [0, 9])
def test_a_column_that_few_products_have_is_thinned_and_expanded(kind: Kind, before: int) -> None:
    values = [None] * before + SPARSE[kind] + [None] * 9
    column = make_column(kind, values)
    thin = thin_column(column)
    assert isinstance(thin, SparseColumn) and len(thin) == len(values) and thin.kind is kind
    assert thin.rows.tolist() == [before, before + 2] and len(thin.filled) == 2
    columns = Columns({"a": thin}, len(values))
    expanded = columns.column("a")
    assert columns.column("a") is expanded and columns.kinds == {"a": kind}
    for name, array in column.arrays.items():
        np.testing.assert_array_equal(expanded.arrays[name], array)
        assert expanded.arrays[name].dtype == array.dtype and not expanded.arrays[name].flags.writeable
    small = Columns({"a": thin}, len(values), expanded_bytes=10)
    assert small.column("a") is not small.column("a")


def test_a_column_that_many_products_have_stays_as_it_is() -> None:
    for column in (make_column(Kind.number, [1, None, 2]), make_column(Kind.text, [None] * 9)):
        assert thin_column(column) is column
    empty = thin_column(make_column(Kind.strings, [None] * 9))
    assert isinstance(empty, SparseColumn) and empty.expand().offsets.tolist() == [0] * 10
