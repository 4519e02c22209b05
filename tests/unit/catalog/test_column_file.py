from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from catalog.column_file import ColumnsFile, open_columns
from catalog.columns import Columns, Kind, make_columns
from core.errors import ReleaseError

COLUMNS = make_columns(
    {
        "brand": ["é", None, "b"],
        "none": [None, None, None],
        "color": [("x", "a"), None, ("a",)],
        "price": [19.99, None, 0.1],
        "attributes.New": [True, None, False],
        "attributes.Added": [datetime(2026, 1, 1), None, datetime(1969, 1, 1)],
        "link": ["x", None, ""],
    },
    {"price": Kind.money, "link": Kind.text, "none": Kind.strings},
    {"price": "EUR"},
)


def write(path: Path, columns: Columns) -> Path:
    with ColumnsFile(path, columns.rows) as file:
        for name in columns.names:
            file.add(name, columns.column(name))
    return path


def test_columns_survive_their_file_and_are_mapped(tmp_path: Path) -> None:
    before = pa.total_allocated_bytes()
    read = open_columns(write(tmp_path / "c.arrow", COLUMNS))
    assert read.names == COLUMNS.names and read.kinds == COLUMNS.kinds and read.rows == 3
    for name in COLUMNS.names:
        column, expected = read.column(name), COLUMNS.column(name)
        assert (column.unit, list(column.values)) == (expected.unit, list(expected.values))
        for array, values in expected.arrays.items():
            np.testing.assert_array_equal(column.arrays[array], values)
            assert column.arrays[array].dtype == values.dtype and not column.arrays[array].flags.writeable
    assert pa.total_allocated_bytes() - before < 4096  # the names alone


def test_a_file_is_written_again_as_it_is_read(tmp_path: Path) -> None:
    first = write(tmp_path / "a.arrow", COLUMNS)
    assert write(tmp_path / "b.arrow", open_columns(first)).read_bytes() == first.read_bytes()


@pytest.mark.parametrize("cut", [0, 100, 1000])
def test_damaged_files_are_refused_in_one_line(tmp_path: Path, cut: int) -> None:
    path = write(tmp_path / "c.arrow", COLUMNS)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ReleaseError, match=r"holds no typed columns: .*; run `tandem index` again") as error:
        open_columns(path)
    assert "\n" not in str(error.value)


def test_a_later_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from catalog import column_file
    from core.formats import Format

    monkeypatch.setattr(column_file, "TYPED_COLUMNS", Format("typed columns", 9))
    path = write(tmp_path / "c.arrow", COLUMNS)
    monkeypatch.undo()
    with pytest.raises(ReleaseError, match="the typed columns has format 9, and this version reads 1: upgrade Tandem"):
        open_columns(path)


def test_another_arrow_file_holds_no_typed_columns(tmp_path: Path) -> None:
    path = tmp_path / "x.arrow"
    with pa.ipc.new_file(str(path), pa.schema([("a", pa.int64())])):
        pass
    with pytest.raises(ReleaseError, match="holds no typed columns"):
        open_columns(path)
