from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from builders import product, write_columns

from catalog.product import ADDED_COLUMNS, CATALOG_SCHEMA
from catalog.table import ProductTable
from core.errors import ReleaseError
from core.formats import PRODUCT_TABLE


@pytest.fixture
def columns(tmp_path: Path) -> ProductTable:
    rows = [product(f"p{i}", f"title {i}", price_micros=i, attributes=[("n", str(i))]) for i in range(7)]
    return ProductTable(write_columns(tmp_path / "c.arrow", rows, batch=3))  # batches of 3, 3 and 1


def test_rows_are_found_across_batches(columns: ProductTable) -> None:
    assert len(columns) == 7
    assert [columns.id(row) for row in range(7)] == columns.ids() == [f"p{i}" for i in range(7)]
    for row in (0, 2, 3, 5, 6):
        assert columns.row(row, ["title", "price_micros"]) == {"title": f"title {row}", "price_micros": row}


def test_a_file_that_is_cut_or_changed_is_refused_or_read(tmp_path: Path) -> None:
    """Nothing else than ReleaseError, wherever the file is damaged. What Arrow cannot see, digests do."""
    path = write_columns(tmp_path / "c.arrow", [product(f"p{i}", f"title {i}") for i in range(7)], batch=3)
    data = path.read_bytes()
    refused = 0
    for place in range(0, len(data), 29):
        for damaged in (data[:place], data[:place] + bytes([data[place] ^ 0x80]) + data[place + 1 :]):
            path.write_bytes(damaged)
            try:
                ProductTable(path)
            except ReleaseError as error:
                assert "\n" not in str(error)
                refused += 1
    assert refused > len(data) // 29  # every cut one, at least


def test_a_whole_row_has_every_column(columns: ProductTable) -> None:
    row = columns.row(4)
    assert row == product("p4", "title 4", price_micros=4, attributes=[("n", "4")])


@pytest.mark.parametrize("batch", [3, 64])
def test_values_are_those_that_arrow_reads(tmp_path: Path, batch: int) -> None:
    """Present, missing in places and missing throughout; empty, and of several bytes a character."""
    words = ("", "é", "日本語", "plain", None, "a" * 300)
    rows = [
        product(f"p{i}", words[i % 4] or "-", brand=words[i % 6], color="", price_micros=i if i % 3 else None)
        for i in range(50)
    ]
    path = write_columns(tmp_path / "c.arrow", rows, batch=batch)
    columns = ProductTable(path)
    assert [columns.row(row) for row in range(50)] == pa.ipc.open_file(str(path)).read_all().to_pylist()


@pytest.mark.parametrize("batch", [3, 64])
def test_attributes_are_those_that_arrow_reads(tmp_path: Path, batch: int) -> None:
    """Missing, none, many; of several bytes a character; the first of them where so many are asked for."""
    given = [None, [], [("é", "日本")], [(f"n{i}", "x" * i) for i in range(9)], [("a", ""), ("b", "c")]]
    rows = [product(f"p{i}", attributes=given[i % 5]) for i in range(23)]
    path = write_columns(tmp_path / "c.arrow", rows, batch=batch)
    columns = ProductTable(path)
    read = [row["attributes"] for row in pa.ipc.open_file(str(path)).read_all().to_pylist()]
    assert [columns.row(row, ["attributes"])["attributes"] for row in range(23)] == read
    for most in (0, 1, 4, 100):
        assert [columns.attributes(row, most) for row in range(23)] == [(pairs or [])[:most] for pairs in read]


def test_numbers_come_in_row_order_and_what_is_missing_is_nan(tmp_path: Path) -> None:
    given = [3.5, None, -1.0, None, None, None, 7.0]  # the second batch has none
    rows = [product(f"p{i}", popularity=value) for i, value in enumerate(given)]
    numbers = ProductTable(write_columns(tmp_path / "c.arrow", rows, batch=3)).numbers("popularity")
    assert numbers.dtype == np.float64
    assert [None if np.isnan(value) else value for value in numbers.tolist()] == given


def test_batches_come_in_row_order(columns: ProductTable) -> None:
    assert [batch.num_rows for batch in columns.batches()] == [3, 3, 1]


def test_what_is_no_arrow_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.arrow"
    with pytest.raises(ReleaseError, match="is not a catalog's columns"):
        ProductTable(path)
    path.write_bytes(b"hello, this is no Arrow file at all")
    with pytest.raises(ReleaseError, match="is not a catalog's columns") as error:
        ProductTable(path)
    assert "\n" not in str(error.value)


def write_as(path: Path, schema: pa.Schema, count: int = 5) -> Path:
    rows = [product(f"p{i}", f"title {i}", price_micros=i) | {"mood": "good"} for i in range(count)]
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for start in range(0, count, 2):
            writer.write_batch(pa.RecordBatch.from_pylist(rows[start : start + 2], schema))
    return path


def test_columns_that_the_format_before_lacks_are_missing_for_every_product(tmp_path: Path) -> None:
    [number] = set(ADDED_COLUMNS.values())
    assert number == PRODUCT_TABLE.number, "else a format between them may lack some and not others"
    schema = pa.schema([field for field in CATALOG_SCHEMA if field.name not in ADDED_COLUMNS])
    columns = ProductTable(write_as(tmp_path / "c.arrow", schema))
    assert columns.row(4) == product("p4", "title 4", price_micros=4)
    assert np.isnan(columns.numbers("popularity")).all() and columns.numbers("price_micros").tolist() == [0, 1, 2, 3, 4]
    assert all(batch.schema.equals(CATALOG_SCHEMA) for batch in columns.batches())


def test_columns_of_a_newer_format_are_refused(tmp_path: Path) -> None:
    newer = CATALOG_SCHEMA.append(pa.field("mood", pa.string()))
    with pytest.raises(ReleaseError, match=r"does not know the columns mood: upgrade Tandem, or run `tandem index`"):
        ProductTable(write_as(tmp_path / "c.arrow", newer))
    changed = CATALOG_SCHEMA.set(CATALOG_SCHEMA.get_field_index("price_micros"), pa.field("price_micros", pa.int32()))
    with pytest.raises(ReleaseError, match="does not know the columns price_micros"):
        ProductTable(write_as(tmp_path / "c.arrow", changed))


def test_a_table_without_a_column_that_was_always_there_is_refused(tmp_path: Path) -> None:
    schema = pa.schema([field for field in CATALOG_SCHEMA if field.name not in ("brand", "link")])
    with pytest.raises(ReleaseError, match="lacks the columns brand, link: run `tandem index` again"):
        ProductTable(write_as(tmp_path / "c.arrow", schema))
