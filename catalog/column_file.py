"""The file of a segment's typed columns: Arrow IPC, uncompressed and memory-mapped, one record batch an array."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from catalog.arrow_file import first_line, open_batches
from catalog.columns import BOOLEANS, Column, Columns, Kind, SparseColumn, Texts, thin_column
from core.errors import ReleaseError
from core.formats import TYPED_COLUMNS

TYPED_COLUMNS_FILE = "columns.arrow"
_SCHEMA = pa.schema(
    [
        ("field", pa.string()),
        ("kind", pa.string()),
        ("unit", pa.string()),
        ("array", pa.string()),
        ("type", pa.string()),
        ("data", pa.large_binary()),
    ]
)
_TYPES = {
    "rows": "<i4",
    "codes": "<i4",
    "offsets": "<i8",
    "numbers": "<f8",
    "present": "|b1",
    "ends": "<i8",
    "utf8": "|u1",
}
_FORMAT, _ROWS = b"format", b"rows"


class ColumnsFile:
    """Writes columns one by one."""

    def __init__(self, path: Path, rows: int) -> None:
        metadata = {_FORMAT: str(TYPED_COLUMNS.number), _ROWS: str(rows)}
        self._writer = pa.ipc.new_file(str(path), _SCHEMA.with_metadata(metadata))

    def __enter__(self) -> "ColumnsFile":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._writer.close()

    def add(self, name: str, column: Column) -> None:
        """Appends a column, without the products that lack it where most do."""
        thin = thin_column(column)
        arrays: dict[str, NDArray[Any]] = {}
        if isinstance(thin, SparseColumn):
            arrays["rows"], column = thin.rows, thin.filled
        arrays |= column.arrays
        if column.kind in (Kind.string, Kind.strings):
            arrays |= _text_arrays(column.values)
        for array, values in arrays.items():
            block = np.ascontiguousarray(values, _TYPES[array])
            ends = pa.py_buffer(np.array([0, block.nbytes], np.int64))
            data = pa.Array.from_buffers(pa.large_binary(), 1, [None, ends, pa.py_buffer(block)])
            texts = [pa.array([text]) for text in (name, column.kind.value, column.unit, array, _TYPES[array])]
            self._writer.write_batch(pa.RecordBatch.from_arrays([*texts, data], schema=_SCHEMA))


def open_columns(path: Path) -> Columns:
    """The columns of a file, memory-mapped. Raises ReleaseError for what is none, or has another format."""
    try:
        schema, batches = open_batches(path)
        metadata = schema.metadata or {}
        if problem := TYPED_COLUMNS.problem(int(metadata[_FORMAT]), "run `tandem index`"):
            raise ReleaseError(f"{path}: {problem}")
        arrays: dict[str, dict[str, NDArray[Any]]] = {}
        types: dict[str, tuple[Kind, str]] = {}
        for batch in batches:
            field, kind, unit, array, _ = (batch.column(i)[0].as_py() for i in range(5))
            types[field] = Kind(kind), unit
            arrays.setdefault(field, {})[array] = _mapped(batch.column(5), _TYPES[array])
        rows = int(metadata[_ROWS])
        return Columns({name: _column(*types[name], parts, rows) for name, parts in arrays.items()}, rows)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReleaseError(f"{path} holds no typed columns: {first_line(error)}; run `tandem index` again") from None


def _text_arrays(values: Sequence[str]) -> dict[str, NDArray[Any]]:
    if isinstance(values, Texts):
        return {"ends": values.ends, "utf8": np.frombuffer(values.data, np.uint8) if len(values.data) else _EMPTY}
    encoded = [value.encode() for value in values]
    data = b"".join(encoded)
    return {
        "ends": np.cumsum([0, *map(len, encoded)], dtype=np.int64),
        "utf8": np.frombuffer(data, np.uint8) if data else _EMPTY,
    }


_EMPTY = np.empty(0, np.uint8)


def _mapped(data: pa.Array, kind: str) -> NDArray[Any]:
    """A view of the only value of an array of bytes."""
    buffer, dtype = data.buffers()[2], np.dtype(kind)
    size = len(data[0].as_buffer())
    return np.frombuffer(buffer if size else b"", dtype, size // dtype.itemsize)


def _column(kind: Kind, unit: str, arrays: dict[str, NDArray[Any]], size: int) -> Column | SparseColumn:
    rows = arrays.pop("rows", None)
    values: Sequence[str] = BOOLEANS if kind is Kind.boolean else ()
    if kind in (Kind.string, Kind.strings):
        values = Texts(arrays.pop("ends"), arrays.pop("utf8").data)
    column = Column(kind, unit, values=values, **arrays)
    if rows is None:
        return column
    if len(rows) != len(column) or (len(rows) and not 0 <= rows[0] <= rows[-1] < size):
        raise ValueError("rows and values do not fit together")
    return SparseColumn(size, rows, column)
