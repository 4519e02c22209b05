"""An event log of impressions and actions, encoded as integers: one row per product shown."""

import codecs
import io
import json
from collections.abc import Callable, Iterable, Iterator
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
from core.strings import fold_text, query_key, quoted

REQUIRED = ("query", "product_id", "position", "clicked")
OPTIONAL = ("added", "purchased", "session")
# What a shopper did with a product shown: the last of these that holds. Its place is the `outcome`.
OUTCOMES = ("passed", "clicked", "added", "purchased")

_TEXTS = ("query", "product_id", "session")
_BATCH = 1 << 18
_BLOCK = 1 << 24
_REPLACEMENT = "\ufffd"  # stands for bytes that are not UTF-8
_MOST_FAULTY = 0.2  # of the rows, as of a feed's
# Shoppers do not look beyond it, so greater positions are treated as equal.
LAST_POSITION = 1000
_FLAGS = {"0": False, "false": False, "0.0": False, "1": True, "true": True, "1.0": True}
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


@dataclass(frozen=True, slots=True)
class Events:
    """Queries and products as numbers, in the order of their keys and ids, so that no order of rows matters.

    `rows` has `query`, `product`, `session` (null where none is known), `position` and `outcome`, all of them
    integers. `read` rows were read; `nameless` of them had no query or no product, and `faults` are those that could
    not be read; neither are among `rows`.
    """

    queries: list[str]
    products: pa.Array
    rows: pa.Table
    read: int
    nameless: int
    sessions: bool
    faults: ReadErrors = field(default_factory=ReadErrors)


def read_events(path: Path) -> Events:
    """Reads Parquet, CSV or JSONL with `query`, `product_id`, `position` (from 1) and `clicked` (true, false, 1 or 0).

    Optional: `added` and `purchased`, as `clicked`, and `session`, which identifies what was shown together. Queries
    that share a `query_key` are merged under their most frequent spelling. Rows that cannot be read are left out and
    counted. Memory: 17 bytes a row, and each text once. Raises FeedError, also where over a fifth of the rows cannot be
    read.
    """
    faults = ReadErrors()
    read, batches = 0, []
    for batch in _batches(path, faults):
        read += len(batch)
        batches.append(_encoded(batch, read - len(batch), faults, path))
    unread = faults.counts.get(_LINE, 0)  # unreadable lines are in no batch
    read += unread
    if not read:
        raise FeedError(f"{path}: holds no events")
    if faults.rows > _MOST_FAULTY * read:
        raise FeedError(f"{path}: cannot read {faults.rows:,} of {read:,} rows: {faults.line()}")
    table = pa.Table.from_batches(batches).unify_dictionaries()
    del batches
    written, query = _codes(table["query"])
    queries, numbers = _keyed(written, query)
    query = numbers[query]
    ids, product = _codes(table["product_id"])
    ids, product = _sorted(ids, product)
    columns = {"query": query, "product": product, "session": _codes(table["session"])[1]}
    columns |= {name: table[name].to_numpy() for name in ("position", "outcome")}
    rows = pa.table({name: pa.array(column) for name, column in columns.items()})
    del table, columns
    if query.min(initial=0) < 0:
        rows = rows.filter(pa.array(query >= 0))
    if not len(rows):
        raise FeedError(f"{path}: no row has both a query and a product_id")
    session = pc.if_else(pc.greater_equal(rows["session"], 0), rows["session"], pa.scalar(None, pa.int32()))
    rows = rows.set_column(2, "session", session)
    nameless = read - faults.rows - len(rows)
    return Events(queries, ids, rows, read, nameless, session.null_count < len(session), faults)


def _batches(path: Path, faults: ReadErrors) -> Iterator[pa.RecordBatch]:
    """The required and optional columns, a batch at a time."""
    if not path.is_file():
        raise FeedError(f"{path}: no such file; give events as Parquet, CSV or JSONL")
    openers = {".parquet": _open_parquet, ".csv": _open_csv, ".jsonl": _open_jsonl}
    if path.suffix not in openers:
        raise FeedError(f"{path}: events are read from .parquet, .csv or .jsonl files")
    try:
        names, batches = openers[path.suffix](path, faults)
        missing = [name for name in REQUIRED if name not in names]
        if missing:
            raise FeedError(f"{path}: no column {', '.join(missing)}; it has {', '.join(names)}")
        yield from batches
    except _DAMAGED as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise FeedError(f"{path}: cannot be read as {path.suffix[1:]}: {why}") from None


def _open_parquet(path: Path, faults: ReadErrors) -> tuple[list[str], Iterable[pa.RecordBatch]]:
    file = pq.ParquetFile(path)
    names = file.schema_arrow.names
    return names, file.iter_batches(_BATCH, columns=[name for name in (*REQUIRED, *OPTIONAL) if name in names])


def _open_csv(path: Path, faults: ReadErrors) -> tuple[list[str], Iterable[pa.RecordBatch]]:
    """Bytes as they are written: an id such as 00123 is no number, and one that is not UTF-8 spoils its row alone."""
    skipping = pyarrow.csv.ParseOptions(invalid_row_handler=lambda _: "skip")
    with pyarrow.csv.open_csv(_utf8(path), parse_options=skipping) as it:
        names = it.schema.names
    names_read = [name for name in (*REQUIRED, *OPTIONAL) if name in names]

    def skip(row: pyarrow.csv.InvalidRow) -> str:
        number = 0 if row.number is None else row.number - 1  # which counts the header
        faults.add(f"{_LINE} holds {row.actual_columns} fields where the header has {row.expected_columns}", number)
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


_LINE = "the line"


def _open_jsonl(path: Path, faults: ReadErrors) -> tuple[list[str], Iterable[pa.RecordBatch]]:
    """Lines by the block: one that Arrow does not read is read line by line."""
    with path.open("rb") as file:
        first = file.readline()
    try:
        row = json.loads(first.decode("utf-8-sig"))
    except _DAMAGED as error:
        raise FeedError(f"{path}: the first line is no JSON: {error}") from None
    if not isinstance(row, dict):
        raise FeedError(f"{path}: the first line is no object with {', '.join(REQUIRED)}")
    # What is text in the first line is text in all: a query such as 2020-01-02 is no date.
    texts = [(name, pa.string()) for name in (*REQUIRED, *OPTIONAL) if isinstance(row.get(name), str)]
    return list(row), _json_blocks(path, pa.schema(texts), faults)


def _json_blocks(path: Path, texts: pa.Schema, faults: ReadErrors) -> Iterator[pa.RecordBatch]:
    parsing = pyarrow.json.ParseOptions(explicit_schema=texts if len(texts) else None)
    done = 0
    with path.open("rb") as file:
        while lines := file.readlines(_BLOCK):
            block = b"".join(lines)
            try:
                whole = pyarrow.json.ReadOptions(block_size=len(block) + 1)
                table = pyarrow.json.read_json(io.BytesIO(block), whole, parsing)
            except pa.ArrowException:
                table = _by_line(lines, done, faults)
            done += len(lines)
            names_read = [name for name in (*REQUIRED, *OPTIONAL) if name in table.column_names]
            yield from table.select(names_read).combine_chunks().to_batches()


def _by_line(lines: list[bytes], before: int, faults: ReadErrors) -> pa.Table:
    """The lines that are JSON objects, all values as text; the others are faults."""
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines, before + 1):
        try:
            row = json.loads(line.decode("utf-8-sig")) if line.strip() else None
            if row is not None:
                rows.append({name: None if row.get(name) is None else plain_text(row[name]) for name in row})
        except (*_DAMAGED, AttributeError, TypeError) as error:
            faults.add(f"{_LINE} holds no JSON object of plain values ({error})", number)
    names = (*REQUIRED, *OPTIONAL)
    return pa.table({name: pa.array([row.get(name) for row in rows], pa.string()) for name in names})


def _encoded(batch: pa.RecordBatch, before: int, faults: ReadErrors, path: Path) -> pa.RecordBatch:
    """The batch in numbers, each text kept once, without rows that lack query or product or cannot be read."""
    faulty = np.zeros(len(batch), bool)

    def read(name: str, value: Callable[[str | None], Any], kind: pa.DataType) -> pa.Array:
        try:
            return _values(batch, name, value, kind, before, faults, faulty)
        except pa.ArrowException:
            raise FeedError(f"{path}: column {name} holds {batch[name].type}, which cannot be read") from None

    columns = {name: read(name, _query if name == "query" else _name, pa.string()) for name in _TEXTS}
    columns["position"] = pc.fill_null(read("position", _position, pa.int32()), 1)
    outcome = np.zeros(len(batch), np.int8)
    for level, name in enumerate(OUTCOMES[1:], 1):
        flags = read(name, _clicked if name == "clicked" else _flag, pa.bool_())
        outcome[pc.fill_null(flags, False).to_numpy(zero_copy_only=False)] = level
    columns["outcome"] = pa.array(outcome)
    named = pc.and_(*(pc.is_valid(columns[name]) for name in ("query", "product_id")))
    rows = pa.RecordBatch.from_pydict(columns).filter(pc.and_(named, pa.array(~faulty)))
    columns = {name: rows[name].dictionary_encode() if name in _TEXTS else rows[name] for name in columns}
    return pa.RecordBatch.from_pydict(columns)


def _values(
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


def _query(text: str | None) -> str | None:
    """As it is written: the most frequent way is kept."""
    if text and _REPLACEMENT in text:
        raise ValueError("is not UTF-8")
    return text or None


def _name(text: str | None) -> str | None:
    return (_query(text) or "").strip() or None


def _position(text: str | None) -> int:
    try:
        number = float(text or "nan")
    except ValueError:
        number = float("nan")
    if not (number >= 1 and number == number // 1):
        raise ValueError(f"holds {quoted(text or '')}; positions are whole numbers from 1, the first shown")
    return int(min(number, LAST_POSITION))


def _clicked(text: str | None) -> bool:
    flag = _FLAGS.get((text or "").strip().lower())
    if flag is None:
        raise ValueError(f"holds {quoted(text or '')}; it must be true or false, 1 or 0")
    return flag


def _flag(text: str | None) -> bool:
    """As `_clicked`, but what is missing means no."""
    return bool(text) and _clicked(text)


def _codes(column: pa.ChunkedArray) -> tuple[pa.Array, NDArray[np.int32]]:
    """The texts of a column, whose chunks share them, and the place of each row's, -1 for none."""
    chunks = [pc.fill_null(chunk.indices, -1).to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return column.chunk(0).dictionary, np.concatenate(chunks).astype(np.int32)


def _sorted(texts: pa.Array, codes: NDArray[np.int32]) -> tuple[pa.Array, NDArray[np.int32]]:
    order = pc.sort_indices(texts)
    places = np.empty(len(texts), np.int32)
    places[order.to_numpy()] = np.arange(len(texts), dtype=np.int32)
    return texts.take(order), places[codes]


def _keyed(written: pa.Array, codes: NDArray[np.int32]) -> tuple[list[str], NDArray[np.int32]]:
    """The queries by key, in their most frequent spelling, and the place of each text's query; -1 for an empty key."""
    texts = written.to_pylist()
    counts = np.bincount(codes, minlength=len(texts)).tolist()
    keys = list(map(query_key, texts))
    best: dict[str, tuple[int, str]] = {}
    for key, count, text in zip(keys, counts, texts, strict=True):
        if key:
            best[key] = min(best.get(key, (0, "")), (-count, fold_text(text)))
    places = {key: place for place, key in enumerate(sorted(best))}
    return [best[key][1] for key in places], np.array([places.get(key, -1) for key in keys], np.int32)
