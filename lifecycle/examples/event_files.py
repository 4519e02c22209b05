"""Reads a log of events, Parquet, CSV or JSONL, in batches of Arrow columns; rows that cannot be read are counted."""

import codecs
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq
from numpy.typing import NDArray

from core.errors import FeedError
from core.plain import plain_text

LINE = "the line"  # begins the reason of a line that is in no batch
REPLACEMENT = "\ufffd"  # stands for bytes that are not UTF-8
MOST_FAULTY = 0.2  # of the rows, as of a feed's
_BATCH = 1 << 18
_BLOCK = 1 << 24
_DAMAGED = (pa.ArrowException, OSError, ValueError, RecursionError)


@dataclass(slots=True)
class ReadErrors:
    """Rows that could not be read: the count by reason, and the first of each."""

    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """The number of such rows."""
        return sum(self.counts.values())

    def add(self, reason: str, row: int, count: int = 1) -> None:
        """Counts rows with the same fault, the first of which has this number, from 1."""
        kind = reason.partition(" holds ")[0]
        self.first.setdefault(kind, f"row {row}: {reason}")
        self.counts[kind] = self.counts.get(kind, 0) + count

    def line(self) -> str:
        """A summary of the faults in one line; empty without faults."""
        kinds = self.counts.items()
        return "; ".join(f"{count:,} {'row' if count == 1 else 'rows'}, as {self.first[kind]}" for kind, count in kinds)


def open_events(
    path: Path, wanted: Sequence[str], check: Callable[[list[str]], None], faults: ReadErrors
) -> Iterator[pa.RecordBatch]:
    """The wanted columns, as far as there are any, a batch at a time.

    `check` is called with the names of the file's columns (of JSONL, those of the first line) before anything is read,
    and raises FeedError where they do not do. Raises FeedError for a file that cannot be read.
    """
    try:
        names, batches = _opener(path)(path, wanted, faults)
        check(names)
        yield from batches
    except _DAMAGED as error:
        raise _unreadable(path, error) from None


def column_names(path: Path) -> list[str]:
    """The names of the file's columns; of JSONL, those of the first line. Raises FeedError as `open_events` does."""
    try:
        return _opener(path)(path, (), ReadErrors())[0]
    except _DAMAGED as error:
        raise _unreadable(path, error) from None


def _opener(path: Path) -> "Callable[[Path, Sequence[str], ReadErrors], tuple[list[str], Iterable[pa.RecordBatch]]]":
    if not path.is_file():
        raise FeedError(f"{path}: no such file; give events as Parquet, CSV or JSONL")
    openers = {".parquet": _open_parquet, ".csv": _open_csv, ".jsonl": _open_jsonl}
    if path.suffix not in openers:
        raise FeedError(f"{path}: events are read from .parquet, .csv or .jsonl files")
    return openers[path.suffix]


def _unreadable(path: Path, error: Exception) -> FeedError:
    why = (str(error).splitlines() or [type(error).__name__])[0]
    return FeedError(f"{path}: cannot be read as {path.suffix[1:]}: {why}")


def read_values(
    batch: pa.RecordBatch,
    name: str,
    value: Callable[[str | None], Any],
    kind: pa.DataType,
    before: int,
    faults: ReadErrors,
    faulty: NDArray[np.bool_],
) -> pa.Array:
    """What a column's texts mean, each different one read once; null, and a fault, where `value` raises ValueError."""
    column = batch[name] if name in batch.schema.names else pa.nulls(len(batch))
    if pa.types.is_null(column.type) or pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = column.cast(pa.large_binary())  # it may not be UTF-8
    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    written = [*coded.dictionary.to_pylist(), None]
    places = pc.fill_null(coded.indices, len(written) - 1).to_numpy(zero_copy_only=False)
    values: list[Any] = []
    for place, one in enumerate(written):
        try:
            values.append(value(None if one is None else plain_text(one)))
        except ValueError as error:
            values.append(None)
            rows = np.flatnonzero((places == place) & ~faulty)
            if len(rows):
                reason = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
                faults.add(f"{name} {reason}", before + int(rows[0]) + 1, len(rows))
                faulty[rows] = True
    return pa.array(values, kind).take(pa.array(places))


def _open_parquet(path: Path, wanted: Sequence[str], faults: ReadErrors) -> tuple[list[str], Iterable[pa.RecordBatch]]:
    file = pq.ParquetFile(path)
    names = file.schema_arrow.names
    return names, file.iter_batches(_BATCH, columns=[name for name in wanted if name in names])


def _open_csv(path: Path, wanted: Sequence[str], faults: ReadErrors) -> tuple[list[str], Iterable[pa.RecordBatch]]:
    """Bytes as they are written: an id such as 00123 is no number, and one that is not UTF-8 spoils its row alone."""
    skipping = pyarrow.csv.ParseOptions(invalid_row_handler=lambda _: "skip")
    with pyarrow.csv.open_csv(_utf8(path), parse_options=skipping) as it:
        names = it.schema.names
    names_read = [name for name in wanted if name in names]

    def skip(row: pyarrow.csv.InvalidRow) -> str:
        number = 0 if row.number is None else row.number - 1  # which counts the header
        faults.add(f"{LINE} holds {row.actual_columns} fields where the header has {row.expected_columns}", number)
        return "skip"

    options = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(names_read, pa.binary()), include_columns=names_read
    )
    parsing = pyarrow.csv.ParseOptions(invalid_row_handler=skip)
    reading = pyarrow.csv.ReadOptions(block_size=_BLOCK, use_threads=False)  # threads do not count rows
    return names, pyarrow.csv.open_csv(_utf8(path), reading, parsing, options)


def _utf8(path: Path) -> pa.NativeFile:
    """The file with U+FFFD for bytes that are not UTF-8, which pyarrow must not meet in a row that it refuses."""
    return pa.PythonFile(_Replacing(path.open("rb")), mode="r")


class _Replacing:
    """A file to read, decoded and encoded again."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._left = b""

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._file.closed

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def read(self, size: int = -1) -> bytes:
        """At most so many bytes; all without a size, none at the end."""
        while not self._left or size < 0:
            data = self._file.read(size)
            self._left += self._decoder.decode(data, final=not data).encode()
            if not data:
                break
        size = len(self._left) if size < 0 else size
        data, self._left = self._left[:size], self._left[size:]
        return data


def _open_jsonl(path: Path, wanted: Sequence[str], faults: ReadErrors) -> tuple[list[str], Iterable[pa.RecordBatch]]:
    """Lines by the block: one that Arrow does not read is read line by line."""
    with path.open("rb") as file:
        first = file.readline()
    try:
        row = json.loads(first.decode("utf-8-sig"))
    except _DAMAGED as error:
        raise FeedError(f"{path}: the first line is no JSON: {error}") from None
    if not isinstance(row, dict):
        raise FeedError(f"{path}: the first line is no object with {', '.join(wanted)}")
    # What is text in the first line is text in all: a query such as 2020-01-02 is no date.
    texts = [(name, pa.string()) for name in wanted if isinstance(row.get(name), str)]
    return list(row), _json_blocks(path, pa.schema(texts), wanted, faults)


def _json_blocks(path: Path, texts: pa.Schema, wanted: Sequence[str], faults: ReadErrors) -> Iterator[pa.RecordBatch]:
    parsing = pyarrow.json.ParseOptions(explicit_schema=texts if len(texts) else None)
    done = 0
    with path.open("rb") as file:
        while lines := file.readlines(_BLOCK):
            block = b"".join(lines)
            try:
                whole = pyarrow.json.ReadOptions(block_size=len(block) + 1)
                table = pyarrow.json.read_json(io.BytesIO(block), whole, parsing)
            except pa.ArrowException:
                table = _by_line(lines, done, wanted, faults)
            done += len(lines)
            names_read = [name for name in wanted if name in table.column_names]
            yield from table.select(names_read).combine_chunks().to_batches()


def _by_line(lines: list[bytes], before: int, wanted: Sequence[str], faults: ReadErrors) -> pa.Table:
    """The lines that are JSON objects, all values as text; the others are faults."""
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines, before + 1):
        try:
            row = json.loads(line.decode("utf-8-sig")) if line.strip() else None
            if row is not None:
                rows.append({name: None if row.get(name) is None else plain_text(row[name]) for name in row})
        except (*_DAMAGED, AttributeError, TypeError) as error:
            faults.add(f"{LINE} holds no JSON object of plain values ({error})", number)
    return pa.table({name: pa.array([row.get(name) for row in rows], pa.string()) for name in wanted})
