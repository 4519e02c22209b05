"""A log of what shoppers were shown and did, read into numbers: one row a product shown."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq
from numpy.typing import NDArray

from core.decimals import plain_texts
from core.errors import FeedError
from core.text import fold_text, query_key

REQUIRED = ("query", "product_id", "position", "clicked")
OPTIONAL = ("added", "purchased", "session")
# What a shopper did with a product shown: the last of these that holds. Its place is the `outcome`.
OUTCOMES = ("passed", "clicked", "added", "purchased")

_TEXTS = ("query", "product_id", "session")
_BATCH = 1 << 18
_BLOCK = 1 << 24
# Beyond it nobody looks, and a position is as good as another.
LAST_POSITION = 1000
_FLAGS = {"0": False, "false": False, "0.0": False, "1": True, "true": True, "1.0": True}
_DAMAGED = (pa.ArrowException, OSError, UnicodeDecodeError)


@dataclass(frozen=True, slots=True)
class Events:
    """Queries and products as numbers, in the order of their keys and ids, so that no order of rows matters.

    `rows` has `query`, `product`, `session` (null where none is known), `position` and `outcome`, all of them
    integers. `read` rows were read; `nameless` of them had no query or no product, and are not among `rows`.
    """

    queries: list[str]
    products: pa.Array
    rows: pa.Table
    read: int
    nameless: int
    sessions: bool


def read_events(path: Path) -> Events:
    """Reads Parquet, CSV or JSONL with `query`, `product_id`, `position` (from 1) and `clicked` (true, false, 1 or 0).

    Optional: `added` and `purchased`, as `clicked`, and `session`, which tells what was shown together. Queries are
    one that share a `query_key`, under the way they are written most often. Memory: 17 bytes a row, and each text
    once. Raises FeedError.
    """
    read, batches = 0, []
    for batch in _batches(path):
        read += len(batch)
        batches.append(_encoded(batch, path))
    if not read:
        raise FeedError(f"{path}: holds no events")
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
    return Events(queries, ids, rows, read, read - len(rows), session.null_count < len(session))


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    """The columns known here, a batch at a time."""
    if not path.is_file():
        raise FeedError(f"{path}: no such file; give events as Parquet, CSV or JSONL")
    openers = {".parquet": _open_parquet, ".csv": _open_csv, ".jsonl": _open_jsonl}
    if path.suffix not in openers:
        raise FeedError(f"{path}: events are read from .parquet, .csv or .jsonl files")
    try:
        names, batches = openers[path.suffix](path)
        missing = [name for name in REQUIRED if name not in names]
        if missing:
            raise FeedError(f"{path}: no column {', '.join(missing)}; it has {', '.join(names)}")
        for batch in batches:
            batch.validate(full=True)
            yield batch
    except _DAMAGED as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise FeedError(f"{path}: cannot be read as {path.suffix[1:]}: {why}") from None


def _open_parquet(path: Path) -> tuple[list[str], Iterable[pa.RecordBatch]]:
    file = pq.ParquetFile(path)
    names = file.schema_arrow.names
    return names, file.iter_batches(_BATCH, columns=[name for name in (*REQUIRED, *OPTIONAL) if name in names])


def _open_csv(path: Path) -> tuple[list[str], Iterable[pa.RecordBatch]]:
    """Texts as they are written: an id such as 00123 is no number."""
    with pyarrow.csv.open_csv(path) as reader:
        names = reader.schema.names
    types = {name: pa.string() for name in (*REQUIRED, *OPTIONAL)} | {"position": pa.float64()}
    known = [name for name in (*REQUIRED, *OPTIONAL) if name in names]
    options = pyarrow.csv.ConvertOptions(column_types=types, include_columns=known)
    return names, pyarrow.csv.open_csv(path, pyarrow.csv.ReadOptions(block_size=_BLOCK), convert_options=options)


def _open_jsonl(path: Path) -> tuple[list[str], Iterable[pa.RecordBatch]]:
    """What is text in the first line is text in all: a query such as 2020-01-02 is no date."""
    with path.open("rb") as file:
        try:
            first = json.loads(file.readline())
        except ValueError as error:
            raise FeedError(f"{path}: the first line is no JSON: {error}") from None
    texts = [(name, pa.string()) for name in _TEXTS if isinstance(first, dict) and isinstance(first.get(name), str)]
    options = pyarrow.json.ParseOptions(explicit_schema=pa.schema(texts) if texts else None)
    reader = pyarrow.json.open_json(path, pyarrow.json.ReadOptions(block_size=_BLOCK), options)
    return reader.schema.names, reader


def _encoded(batch: pa.RecordBatch, path: Path) -> pa.RecordBatch:
    """The batch in numbers, each text kept once, without rows that lack query or product."""
    columns = {name: _text(batch, name, path) for name in ("query", "product_id", "session")}
    columns["position"] = _position(batch["position"], path)
    outcome = np.zeros(len(batch), np.int8)
    for level, name in enumerate(OUTCOMES[1:], 1):
        outcome[_flags(batch, name, path)] = level
    columns["outcome"] = pa.array(outcome)
    named = pc.and_(*(pc.fill_null(pc.not_equal(columns[name], ""), False) for name in ("query", "product_id")))
    kept = pa.RecordBatch.from_pydict(columns).filter(named)
    columns = {name: kept[name].dictionary_encode() if name in _TEXTS else kept[name] for name in columns}
    return pa.RecordBatch.from_pydict(columns)


def _text(batch: pa.RecordBatch, name: str, path: Path) -> pa.Array:
    if name not in batch.schema.names:
        return pa.nulls(len(batch), pa.string())
    try:
        column = plain_texts(batch[name]).cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise FeedError(f"{path}: column {name} holds {batch[name].type}, which cannot be read as string") from None
    return pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column) if name == "session" else column


def _position(column: pa.Array, path: Path) -> pa.Array:
    try:
        numbers = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise FeedError(f"{path}: column position holds {column.type}, which cannot be read as numbers") from None
    wrong = ~((numbers >= 1) & (np.floor(numbers) == numbers))
    if wrong.any():
        value = column[int(wrong.argmax())].as_py()
        raise FeedError(f"{path}: position holds {value}; positions are whole numbers from 1, the first shown")
    return pa.array(np.minimum(numbers, LAST_POSITION).astype(np.int32))


def _flags(batch: pa.RecordBatch, name: str, path: Path) -> NDArray[np.bool_]:
    """Shape (rows,). A column that is missing, and a missing value of another than `clicked`, mean no."""
    if name not in batch.schema.names:
        return np.zeros(len(batch), bool)
    column = batch[name].dictionary_encode()
    given = column.dictionary.to_pylist()
    known = [_FLAGS.get(str(value).strip().lower()) for value in given]
    if name != "clicked":
        known = [False if value in ("", None) else flag for value, flag in zip(given, known, strict=True)]
    elif column.null_count:
        raise FeedError(f"{path}: {name} is missing in some row; it must be true or false, 1 or 0")
    if None in known:
        value = given[known.index(None)]
        raise FeedError(f"{path}: {name} holds {value!r}; it must be true or false, 1 or 0")
    places = pc.fill_null(column.indices, len(known)).to_numpy(zero_copy_only=False)
    return np.array([*known, False], bool)[places]


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
    """The queries by key, each as it is written most often, and the place of each text's; -1 where nothing is left."""
    texts = written.to_pylist()
    counts = np.bincount(codes, minlength=len(texts)).tolist()
    keys = list(map(query_key, texts))
    best: dict[str, tuple[int, str]] = {}
    for key, count, text in zip(keys, counts, texts, strict=True):
        if key:
            best[key] = min(best.get(key, (0, "")), (-count, fold_text(text)))
    places = {key: place for place, key in enumerate(sorted(best))}
    return [best[key][1] for key in places], np.array([places.get(key, -1) for key in keys], np.int32)
