"""The files that cleaning writes: the catalog's columns, and the quarantine of rows that are not in it."""

import json
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.product import CATALOG_SCHEMA

BATCH_ROWS = 8192
QUARANTINE_SCHEMA = pa.schema(
    [
        ("row_number", pa.int64()),
        ("id", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("raw", pa.string()),
    ]
)
_RAW_LIMIT = 2000


class ColumnsWriter:
    """Writes record batches of `BATCH_ROWS` rows and counts them and the values in each field."""

    def __init__(self, path: Path) -> None:
        self.rows = 0
        self.filled: Counter[str] = Counter(dict.fromkeys(CATALOG_SCHEMA.names, 0))
        self._writer = pa.ipc.new_file(str(path), CATALOG_SCHEMA)
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = 0

    def __enter__(self) -> "ColumnsWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self._write(flush=True)
        self._writer.close()

    def add(self, batch: pa.RecordBatch) -> None:
        """Appends rows."""
        self.rows += batch.num_rows
        for name, column in zip(CATALOG_SCHEMA.names, batch.columns, strict=True):
            self.filled[name] += batch.num_rows - column.null_count
        self._pending.append(batch)
        self._pending_rows += batch.num_rows
        if self._pending_rows >= BATCH_ROWS:
            self._write()

    def _write(self, flush: bool = False) -> None:
        table = pa.Table.from_batches(self._pending, CATALOG_SCHEMA).combine_chunks()
        whole = len(table) if flush else len(table) - len(table) % BATCH_ROWS
        self._writer.write_table(table.slice(0, whole), BATCH_ROWS)
        self._pending = table.slice(whole).to_batches()
        self._pending_rows = len(table) - whole


class QuarantineWriter:
    """The Parquet file of rows that are not in the catalog. Written batch by batch, whole after any error."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer = pq.ParquetWriter(path, QUARANTINE_SCHEMA)
        self._rows: list[tuple[int, str | None, str, str, str]] = []

    def __enter__(self) -> "QuarantineWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._writer.close()

    def add(self, number: int, name: str | None, reason: str, detail: str, raw: str) -> None:
        """Appends one row; its text is cut."""
        self._rows.append((number, name, reason, encodable(detail), encodable(raw[:_RAW_LIMIT])))
        if len(self._rows) >= BATCH_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            names = QUARANTINE_SCHEMA.names
            arrays = [pa.array(c, QUARANTINE_SCHEMA.types[i]) for i, c in enumerate(zip(*self._rows, strict=True))]
            self._writer.write_batch(pa.record_batch(arrays, names))
            self._rows = []


def make_batch(products: list[tuple[Any, ...]]) -> pa.RecordBatch:
    """A record batch of products, each with its values in the order of `CATALOG_SCHEMA`."""
    arrays = [pa.array(c, CATALOG_SCHEMA.types[i]) for i, c in enumerate(zip(*products, strict=True))]
    return pa.RecordBatch.from_arrays(arrays, schema=CATALOG_SCHEMA)


def row_json(row: dict[str, Any]) -> str:
    """A row without its empty values, as JSON; long texts are cut, since only the beginning of all is kept."""
    short = {k: v[:_RAW_LIMIT] if isinstance(v, str) else v for k, v in row.items() if v is not None and v != ""}
    return json.dumps(short, ensure_ascii=False, default=str)


def encodable(text: str) -> str:
    """The text without what UTF-8 cannot hold."""
    return text.encode("utf-8", "replace").decode("utf-8")
