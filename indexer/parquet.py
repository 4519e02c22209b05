"""Reads Parquet."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import FeedError
from indexer.batch import BATCH_ROWS, Batch, Broken, Row, broken
from indexer.sniff import open_bytes, reading

# Python objects for so many cells at a time.
_BATCH_CELLS = 1 << 20
# What Arrow raises for a value that Python cannot hold: text that is not UTF-8, a date beyond the year 9999.
_UNREADABLE = (ValueError, OverflowError, KeyError)
# What it raises for a file that is damaged, its columns' names included.
_DAMAGED = (pa.ArrowException, OSError, UnicodeDecodeError)


class ParquetFeed:
    """An opened Parquet file; `done` counts the rows read so far."""

    def __init__(self, path: Path) -> None:
        """Raises FeedError for a file that is damaged, has no rows, or names two columns alike."""
        self.path = path
        self.done = 0
        try:
            self._file = pq.ParquetFile(_seekable(path))
            self.columns: list[str] = self._file.schema_arrow.names
        except _DAMAGED as error:
            raise FeedError(f"{path}: damaged Parquet: {_first_line(error)}; fetch the file again") from None
        self.total: int = self._file.metadata.num_rows
        if not self.total:
            raise FeedError(f"{path}: holds no rows")
        if len(set(self.columns)) < len(self.columns):
            raise FeedError(f"{path}: two columns have the same name; rename one")

    def batches(self) -> Iterator[Batch]:
        """All rows. Raises FeedError where the file is damaged."""
        size = max(1, min(BATCH_ROWS, _BATCH_CELLS // max(1, len(self.columns))))
        try:
            for record in self._file.iter_batches(size):
                first = self.done + 1
                self.done += record.num_rows
                yield _batch(_eased(record), first)
        except _DAMAGED as error:
            raise FeedError(
                f"{self.path}: damaged Parquet near row {self.done + 1}: {_first_line(error)}; fetch the file again"
            ) from None


def _seekable(path: Path) -> object:
    """The file's bytes, unpacked on disk where they are gzipped, since Parquet is read from its end."""
    stream, raw = open_bytes(path)
    if stream is raw:
        return stream
    unpacked = tempfile.TemporaryFile()  # noqa: SIM115  closed with the reader
    with stream, reading(path):
        while block := stream.read(1 << 20):
            unpacked.write(block)
    return unpacked


def _eased(record: pa.RecordBatch) -> pa.RecordBatch:
    """The same values in types that Python can hold: 39.99 instead of 39.9900016784668, microseconds."""
    for place, column in enumerate(record.columns):
        if pa.types.is_float32(column.type):
            eased = column.cast(pa.string()).cast(pa.float64())
        elif pa.types.is_timestamp(column.type) and column.type.unit == "ns":
            eased = column.cast(pa.timestamp("us", column.type.tz), safe=False)
        else:
            continue
        record = record.set_column(place, record.schema.names[place], eased)
    return record


def _batch(record: pa.RecordBatch, first: int) -> Batch:
    try:
        return Batch(list(range(first, first + record.num_rows)), record.to_pylist())
    except _UNREADABLE:
        batch = Batch()
        for place in range(record.num_rows):
            batch.add(first + place, _row(record.slice(place, 1), first + place))
        return batch


def _row(record: pa.RecordBatch, number: int) -> Row | Broken:
    """The one row of a record batch; broken, with the values that can be read, where one cannot."""
    row: Row = {}
    faults: list[str] = []
    for name, column in zip(record.schema.names, record.columns, strict=True):
        try:
            row[name] = column[0].as_py()
        except _UNREADABLE as error:
            faults.append(f"{name}: {_first_line(error)}")
    if not faults:
        return row
    return broken(number, "unreadable_value", "; ".join(faults), json.dumps(row, ensure_ascii=False, default=str))


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
