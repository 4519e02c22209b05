from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from builders import product, write_columns

from catalog.table import ProductTable
from core.errors import ReleaseError


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


def test_other_columns_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.arrow"
    table = pa.table({"id": ["1"]})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(ReleaseError, match="other columns"):
        ProductTable(path)
