from pathlib import Path

import numpy as np
import pytest
from builders import product, write_columns

from catalog.column_file import open_columns
from catalog.columns import Columns
from catalog.table import ProductTable
from core.errors import ReleaseError
from core.manifest import ColumnsReport
from indexer import columns as module
from indexer.columns import ColumnSettings
from indexer.columns import write_columns as write_typed
from indexer.validate import validate_columns


def typed(
    folder: Path, rows: list[dict], currency: str | None = "EUR", batch: int = 2, **types: str
) -> tuple[Columns, ColumnsReport]:
    table = ProductTable(write_columns(folder / "products.arrow", rows, batch))
    declared = {name.replace("__", "."): kind for name, kind in types.items()}
    report = write_typed(table, ColumnSettings("en", currency, declared), folder / "c.arrow", lambda *_: None)
    columns = open_columns(folder / "c.arrow")
    validate_columns(columns, table)
    return columns, report


def texts(columns: Columns, name: str) -> list[str | None]:
    column = columns.column(name)
    return [column.values[code] if code >= 0 else None for code in column.codes.tolist()]


def sets(columns: Columns, name: str) -> list[list[str]]:
    column = columns.column(name)
    return [
        [column.values[code] for code in column.codes[start:end].tolist()]
        for start, end in zip(column.offsets, column.offsets[1:], strict=False)
    ]


def test_product_fields_have_their_types(tmp_path: Path) -> None:
    rows = [
        product("p3", "zebra", brand="Ünal", product_type="Home > Mugs", color="Black/White", size="36/38"),
        product("p1", "apple", brand="Bosch", price_micros=19_990_000, currency="EUR", popularity=3.5),
        product("p2", "apple", product_type="Home", price_micros=5_000_000, currency="USD", link="http://x.com"),
        product("p0", "日本", brand="Bosch", price_micros=1, availability="in_stock", description="d"),
    ]
    columns, report = typed(tmp_path, rows)
    assert texts(columns, "id") == ["p3", "p1", "p2", "p0"]
    assert texts(columns, "brand") == ["Ünal", "Bosch", None, "Bosch"]
    assert list(columns.column("title").values) == ["apple", "zebra", "日本"]
    assert sets(columns, "product_type") == [["Home", "Home > Mugs"], [], ["Home"], []]
    assert sets(columns, "color") == [["Black", "White"], [], [], []] and sets(columns, "size")[0] == ["36/38"]
    price = columns.column("price")
    np.testing.assert_array_equal(price.numbers, [np.nan, 19_990_000, np.nan, 1])
    assert price.unit == "EUR" and report.fields["price"].unreadable == 1
    np.testing.assert_array_equal(columns.column("popularity").numbers, [np.nan, 3.5, np.nan, np.nan])
    assert columns.column("link").present.tolist() == [False, False, True, False]
    assert texts(columns, "availability") == [None, None, None, "in_stock"]
    assert (report.fields["brand"].filled, report.fields["brand"].values, report.format) == (3, 2, 1)
    assert report.bytes == (tmp_path / "c.arrow").stat().st_size


def test_attributes_are_inferred_across_batches(tmp_path: Path) -> None:
    attributes = [
        {"Voltage": "18 V", "Cordless": "Yes", "Ports": "USB, HDMI"},
        None,
        {"Voltage": "12V", "Ports": "HDMI, VGA", "Released": "2026-01-31"},
        {"Cordless": "no", "Ports": "VGA, USB", "Finish": "matt"},
        {"Voltage": "18 V", "Finish": ""},
    ]
    rows = [product(f"p{i}", attributes=list(each.items()) if each else None) for i, each in enumerate(attributes)]
    columns, report = typed(tmp_path, rows)
    kinds = {name: str(kind) for name, kind in columns.kinds.items() if name.startswith("attributes.")}
    assert kinds == {
        "attributes.Voltage": "number",
        "attributes.Ports": "strings",
        "attributes.Cordless": "boolean",
        "attributes.Finish": "string",
        "attributes.Released": "date",
    }
    np.testing.assert_array_equal(columns.column("attributes.Voltage").numbers, [18, np.nan, 12, np.nan, 18])
    assert columns.column("attributes.Voltage").unit == report.fields["attributes.Voltage"].unit == "v"
    assert texts(columns, "attributes.Cordless") == ["true", None, None, "false", None]
    assert sets(columns, "attributes.Ports") == [["HDMI", "USB"], [], ["HDMI", "VGA"], ["USB", "VGA"], []]
    assert columns.column("attributes.Released").numbers[2] == 1_769_817_600
    assert texts(columns, "attributes.Finish") == [None, None, None, "matt", None]


def test_the_best_filled_attributes_have_columns_and_the_rest_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_ATTRIBUTES", 2)
    rows = [product(f"p{i}", attributes=[(f"a{j}", "x") for j in range(i + 1)]) for i in range(4)]
    columns, report = typed(tmp_path, rows, attributes__a3="string")
    assert [name for name in columns.names if "." in name] == ["attributes.a3", "attributes.a0"]
    assert report.rare_attributes == 2 and report.fields["attributes.a3"].declared


def test_declared_types_hold_and_what_they_cannot_read_is_counted(tmp_path: Path) -> None:
    values = [("10 V", "5.00 EUR", "1"), ("x", "7 USD", "2"), ("12 V", "soon", "3")]
    rows = [
        product(f"p{i}", color="A/B", attributes=[("v", v), ("old price", p), ("n", n)])
        for i, (v, p, n) in enumerate(values)
    ]
    columns, report = typed(
        tmp_path,
        rows,
        attributes__v="number",
        **{"attributes__old price": "money"},
        attributes__n="string",
        attributes__none="date",
        color="string",
    )
    np.testing.assert_array_equal(columns.column("attributes.v").numbers, [10, np.nan, 12])
    np.testing.assert_array_equal(columns.column("attributes.old price").numbers, [5_000_000, np.nan, np.nan])
    assert texts(columns, "attributes.n") == ["1", "2", "3"] and texts(columns, "color") == ["A/B"] * 3
    assert np.isnan(columns.column("attributes.none").numbers).all()
    unreadable = {name: field.unreadable for name, field in report.fields.items() if field.unreadable}
    assert unreadable == {"attributes.v": 1, "attributes.old price": 2}


def test_without_a_currency_the_commonest_counts(tmp_path: Path) -> None:
    rows = [product(f"p{i}", price_micros=i + 1, currency=code) for i, code in enumerate(("USD", "EUR", "USD", None))]
    columns, _ = typed(tmp_path, rows, currency=None)
    price = columns.column("price")
    np.testing.assert_array_equal(price.numbers, [1, np.nan, 3, 4])
    assert price.unit == "USD"


def test_columns_of_other_products_do_not_pass_validation(tmp_path: Path) -> None:
    columns, _ = typed(tmp_path, [product("a", "x"), product("b", "y")])
    other = tmp_path / "other"
    other.mkdir()
    table = ProductTable(write_columns(other / "products.arrow", [product("a", "x"), product("b", "z")]))
    with pytest.raises(ReleaseError, match="product 'b' has another title in the typed columns"):
        validate_columns(columns, table)
