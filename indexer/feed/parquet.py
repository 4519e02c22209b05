"""Reads Parquet."""

import json
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import FeedError
from indexer.feed.arrow_values import python_values
from indexer.feed.batch import Batch, BrokenRow, Row, broken_row
from indexer.feed.source import FeedSource

# Python objects for so many cells at a time, of so many bytes as they are stored, and so many rows, since few of them
# may have most of the bytes.
_BATCH_CELLS, _BATCH_BYTES, _BATCH_ROWS = 1 << 20, 1 << 25, 1024
# What Arrow raises for a value that Python cannot hold: text that is not UTF-8, a date beyond the year 9999.
_UNREADABLE = (ValueError, OverflowError, KeyError)
# What it raises for a file that is damaged, its columns' names included.
_DAMAGED = (pa.ArrowException, OSError, UnicodeDecodeError)


def read_metadata(source: FeedSource) -> tuple[tuple[str, ...], pq.FileMetaData]:
    """The columns' names and the file's metadata.

    Raises FeedError for a file that is damaged, has no rows, or names two columns alike.
    """
    path = source.path
    try:
        file = pq.ParquetFile(source.seekable(), arrow_extensions_enabled=True)
        columns, metadata = tuple(file.schema_arrow.names), file.metadata
    except _DAMAGED as error:
        raise FeedError(f"{path}: damaged Parquet: {_first_line(error)}; fetch the file again") from None
    if not metadata.num_rows:
        raise FeedError(f"{path}: holds no rows")
    if len(set(columns)) < len(columns):
        raise FeedError(f"{path}: two columns have the same name; rename one")
    return columns, metadata


def read_parquet(source: FeedSource, metadata: pq.FileMetaData) -> Iterator[Batch]:
    """All rows in batches. Raises FeedError where the file is damaged.

    Texts that are stored once for many rows are not written out: they could fill any memory.
    """
    texts = [metadata.schema.column(place) for place in range(len(metadata.schema))]
    paths = [column.path for column in texts if column.physical_type == "BYTE_ARRAY"]
    number = 1
    try:
        file = pq.ParquetFile(
            source.seekable(), metadata=metadata, read_dictionary=paths, arrow_extensions_enabled=True
        )
        for record in file.iter_batches(_batch_size(metadata, len(file.schema_arrow))):
            yield _batch(record, number)
            number += record.num_rows
    except _DAMAGED as error:
        raise FeedError(
            f"{source.path}: damaged Parquet near row {number}: {_first_line(error)}; fetch the file again"
        ) from None


def _batch_size(metadata: pq.FileMetaData, columns: int) -> int:
    """How many rows to read at a time."""
    return max(1, min(_BATCH_ROWS, _BATCH_CELLS // max(1, columns), _BATCH_BYTES // _row_bytes(metadata)))


def _row_bytes(metadata: pq.FileMetaData) -> int:
    """The bytes of a row as they are stored, without compression, in the group of rows that has the longest."""
    groups = (metadata.row_group(place) for place in range(metadata.num_row_groups))
    return max(1, *(group.total_byte_size // max(1, group.num_rows) for group in groups))


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


def _row(record: pa.RecordBatch, number: int) -> Row | BrokenRow:
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
    return broken_row(number, "unreadable_value", "; ".join(faults), json.dumps(row, ensure_ascii=False, default=str))


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
