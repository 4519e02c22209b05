"""Reads a feed in batches of rows, each row a dict by column, and keeps aside what is no row at all."""

import csv
import io
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import FeedError
from indexer.sniff import Format, delimiter_of, encoding_of, format_of, is_parquet, open_bytes, reading, refuse_foreign

Row = dict[str, Any]

_BATCH = 4096
_HEAD = 1 << 16
_SAMPLE_ROWS = 1000
_LINE_LIMIT = 1 << 24


@dataclass(frozen=True, slots=True)
class Broken:
    """What stands where a row should: its number, why it cannot be read, and its text."""

    number: int
    reason: str
    detail: str
    raw: str


@dataclass(slots=True)
class Batch:
    """Rows and their numbers in the feed, counted from 1; a CSV's header does not count."""

    numbers: list[int] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)


@dataclass(slots=True)
class Feed:
    """An opened feed. `columns` are all there are, or those of the first rows where `complete` is false (JSONL).

    `total` and `position()` tell the progress: bytes of the file, or rows for Parquet.
    """

    path: Path
    format: Format
    encoding: str
    columns: list[str]
    complete: bool
    total: int
    position: Callable[[], int]
    batches: Iterator[Batch]


def open_feed(path: Path) -> Feed:
    """Opens a Parquet, JSONL or CSV file, gzipped or not; what it is is told by its content.

    Raises FeedError, here or while its batches are read, for a file that cannot be used.
    """
    stream, _ = open_bytes(path)
    with stream, reading(path):
        head = stream.read(_HEAD)
        if is_parquet(head):
            return _open_parquet(path)
        refuse_foreign(path, head)
    stream, _ = open_bytes(path)
    with stream, reading(path):
        encoding = encoding_of(stream)
    kind = format_of(path, head, encoding)
    stream, raw = open_bytes(path)
    # What does not decode is kept as lone surrogates, so that the row can be named and quarantined.
    keeps = encoding.startswith(("utf-8", "cp125"))
    text = io.TextIOWrapper(stream, encoding, errors="surrogateescape" if keeps else "replace", newline="")
    lines = _Lines(path, text)
    size = path.stat().st_size
    position = lambda: size if raw.closed else raw.tell()  # noqa: E731
    if kind == "jsonl":
        sample, batches = _peek(_jsonl(lines))
        columns = list(dict.fromkeys(key for row in sample for key in row))
        return Feed(path, kind, encoding, columns, False, size, position, batches)
    columns, rows = _csv(lines)
    return Feed(path, kind, encoding, columns, True, size, position, _batched(rows))


class _Lines:
    """Lines of a text with their ends, some of which can be put back. Lines beyond the limit come cut."""

    def __init__(self, path: Path, text: IO[str]) -> None:
        self.path = path
        self._text = text
        self._returned: list[str] = []
        self.taken: list[str] = []

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._returned.pop() if self._returned else self._read()
        self.taken.append(line)
        return line

    def put_back(self, lines: list[str]) -> None:
        """Makes these lines the next ones."""
        self._returned.extend(reversed(lines))

    def peek(self, size: int) -> str:
        """About `size` characters ahead, in whole lines."""
        ahead: list[str] = []
        while sum(map(len, ahead)) < size and (line := next(self, "")):
            ahead.append(line)
        self.put_back(ahead)
        self.taken.clear()
        return "".join(ahead)

    def _read(self) -> str:
        if self._text.closed:
            raise StopIteration
        with reading(self.path):
            line = self._text.readline(_LINE_LIMIT)
            if len(line) == _LINE_LIMIT and not line.endswith(("\n", "\r")):
                while (rest := self._text.readline(_LINE_LIMIT)) and not rest.endswith(("\n", "\r")):
                    pass
            if not line:
                self._text.close()
                raise StopIteration
        return line


def _jsonl(lines: _Lines) -> Iterator[tuple[int, Row | Broken]]:
    for number, line in enumerate(lines, 1):
        lines.taken.clear()
        if line.isspace():
            continue
        yield number, _json_row(number, line)


def _json_row(number: int, line: str) -> Row | Broken:
    if len(line) >= _LINE_LIMIT:
        return Broken(number, "row_too_long", f"over {_LINE_LIMIT:,} characters", line[:_HEAD])
    if not _decoded(line):
        return _undecodable(number, line)
    try:
        row = json.loads(line.lstrip("\ufeff"))
    except RecursionError:
        return Broken(number, "malformed_json", "nested too deeply", line)
    except ValueError as error:
        return Broken(number, "malformed_json", str(error), line)
    if not isinstance(row, dict):
        return Broken(number, "malformed_json", f"not an object but {type(row).__name__}", line)
    return row


def _csv(lines: _Lines) -> tuple[list[str], Iterator[tuple[int, Row | Broken]]]:
    """The header's names and the rows. Raises FeedError for a file without a usable header."""
    delimiter = delimiter_of(lines.peek(_HEAD))
    try:
        header = next((row for row in csv.reader(lines, delimiter=delimiter) if any(row)), [])
    except csv.Error as error:
        raise FeedError(f"{lines.path}: the first line is no CSV header: {error}") from None
    if len(header) < 2:
        raise FeedError(
            f"{lines.path}: neither Parquet nor JSONL, and as CSV its first line names fewer than two columns"
        )
    columns = _unique([name.strip().lstrip("\ufeff") or f"column_{i}" for i, name in enumerate(header, 1)])
    return columns, _csv_rows(lines, columns, delimiter)


def _csv_rows(lines: _Lines, columns: list[str], delimiter: str) -> Iterator[tuple[int, Row | Broken]]:
    """The rows; one with another number of fields than the header is broken.

    Where such a row runs over several lines, an open quote has swallowed its neighbours: only its first line is given
    up, and reading goes on with the next.
    """
    number, width = 0, len(columns)
    reader = csv.reader(lines, delimiter=delimiter)
    while True:
        lines.taken.clear()
        try:
            values = next(reader, None)
            problem = f"{len(values)} fields where the header has {width}" if values else ""
        except csv.Error as error:
            values, problem = [], str(error)
        if values is None:
            return
        if not values and not problem:
            continue  # an empty line
        number += 1
        if not problem or len(values) == width:
            text = "".join(values)
            yield number, dict(zip(columns, values, strict=True)) if _decoded(text) else _undecodable(number, text)
            continue
        yield number, Broken(number, "malformed_csv", problem, lines.taken[0])
        lines.put_back(lines.taken[1:])
        reader = csv.reader(lines, delimiter=delimiter)


def _open_parquet(path: Path) -> Feed:
    stream, raw = open_bytes(path)
    if stream is not raw:
        unpacked = tempfile.TemporaryFile()  # noqa: SIM115  Parquet is read from its end; closed with the reader
        with stream, reading(path):
            while block := stream.read(1 << 20):
                unpacked.write(block)
        stream = unpacked
    try:
        file = pq.ParquetFile(stream)
    except (pa.ArrowException, OSError) as error:
        raise FeedError(f"{path}: damaged Parquet: {_first_line(error)}") from None
    if not file.metadata.num_rows:
        raise FeedError(f"{path}: holds no rows")
    columns = file.schema_arrow.names
    if len(set(columns)) < len(columns):
        raise FeedError(f"{path}: two columns have the same name; rename one")
    done = [0]
    batches = _parquet_batches(path, file, done)
    return Feed(path, "parquet", "utf-8", columns, True, file.metadata.num_rows, lambda: done[0], batches)


def _parquet_batches(path: Path, file: pq.ParquetFile, done: list[int]) -> Iterator[Batch]:
    try:
        for record in file.iter_batches(_BATCH):
            numbers = range(done[0] + 1, done[0] + record.num_rows + 1)
            done[0] += record.num_rows
            yield Batch(list(numbers), record.to_pylist())
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise FeedError(f"{path}: damaged Parquet near row {done[0] + 1}: {_first_line(error)}") from None


def _batched(rows: Iterator[tuple[int, Row | Broken]]) -> Iterator[Batch]:
    while part := list(islice(rows, _BATCH)):
        batch = Batch()
        for number, row in part:
            if isinstance(row, Broken):
                batch.broken.append(row)
            else:
                batch.numbers.append(number)
                batch.rows.append(row)
        yield batch


def _peek(rows: Iterator[tuple[int, Row | Broken]]) -> tuple[list[Row], Iterator[Batch]]:
    """The first rows, and batches of all."""
    ahead = list(islice(rows, _SAMPLE_ROWS))

    def whole() -> Iterator[tuple[int, Row | Broken]]:
        yield from ahead
        ahead.clear()
        yield from rows

    return [row for _, row in ahead if isinstance(row, dict)], _batched(whole())


def _decoded(text: str) -> bool:
    """Whether every byte of the text could be decoded."""
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _undecodable(number: int, text: str) -> Broken:
    shown = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return Broken(number, "undecodable", "holds bytes that are not of the feed's encoding", shown)


def _unique(names: list[str]) -> list[str]:
    """Names with a number added to those that came before: `image`, `image_2`."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        while name in seen:
            seen[name] += 1
            name = f"{name}_{seen[name]}"
        seen[name] = 1
        result.append(name)
    return result


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
