"""Reads Parquet."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import FeedError
from indexer.feed.arrow_values import python_values
from indexer.feed.batch import Batch, Broken, Row, broken
from indexer.feed.sniff import open_bytes, reading

# Python objects for so many cells at a time, of so many bytes as they are stored, and so many rows, since few of them
# may have most of the bytes.
_BATCH_CELLS, _BATCH_BYTES, _BATCH_ROWS = 1 << 20, 1 << 25, 1024
# A gzipped file may unpack to so many bytes, or to so many times its own: Parquet is packed already.
_UNPACKED, _UNPACKED_TIMES = 1 << 28, 20
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
            self._file = _open(_seekable(path))
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
        size = max(1, min(_BATCH_ROWS, _BATCH_CELLS // max(1, len(self.columns)), _BATCH_BYTES // self._row_bytes()))
        try:
            for record in self._file.iter_batches(size):
                first = self.done + 1
                self.done += record.num_rows
                yield _batch(record, first)
        except _DAMAGED as error:
            raise FeedError(
                f"{self.path}: damaged Parquet near row {self.done + 1}: {_first_line(error)}; fetch the file again"
            ) from None

    def _row_bytes(self) -> int:
        """The bytes of a row as they are stored, without compression, in the group of rows that has the longest."""
        groups = (self._file.metadata.row_group(place) for place in range(self._file.metadata.num_row_groups))
        return max(1, *(group.total_byte_size // max(1, group.num_rows) for group in groups))


def _open(source: Any) -> pq.ParquetFile:
    """The file, read without writing out texts that are stored once for many rows: they could fill any memory."""
    schema = pq.ParquetFile(source).schema
    texts = [schema.column(place) for place in range(len(schema))]
    paths = [column.path for column in texts if column.physical_type == "BYTE_ARRAY"]
    return pq.ParquetFile(source, read_dictionary=paths, arrow_extensions_enabled=True)


def _seekable(path: Path) -> Any:
    """The file's bytes, unpacked on disk where they are gzipped, since Parquet is read from its end."""
    stream, raw = open_bytes(path)
    if stream is raw:
        return stream
    unpacked = tempfile.TemporaryFile()  # noqa: SIM115  closed with the reader
    most = max(_UNPACKED, _UNPACKED_TIMES * path.stat().st_size)
    with stream, reading(path):
        while block := stream.read(1 << 20):
            if unpacked.tell() > most:
                unpacked.close()
                raise FeedError(f"{path}: unpacks to over {most:,} bytes, more than Parquet does; unpack it first")
            unpacked.write(block)
    return unpacked


def _batch(record: pa.RecordBatch, first: int) -> Batch:
    try:
        columns = [python_values(column) for column in record.columns]
        names, rows = record.schema.names, zip(*columns, strict=True)
        numbers = list(range(first, first + record.num_rows))
        return Batch(numbers, [dict(zip(names, row, strict=True)) for row in rows])
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
            row[name] = python_values(column)[0]
        except _UNREADABLE as error:
            faults.append(f"{name}: {_first_line(error)}")
    if not faults:
        return row
    return broken(number, "unreadable_value", "; ".join(faults), json.dumps(row, ensure_ascii=False, default=str))


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
