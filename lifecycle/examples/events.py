"""An event log of impressions and actions, encoded as integers: one row per product shown."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from core.errors import FeedError
from core.strings import fold_text, query_key, quoted
from lifecycle.examples.event_files import LINE, MOST_FAULTY, REPLACEMENT, ReadErrors, open_events, read_values

REQUIRED = ("query", "product_id", "position", "clicked")
OPTIONAL = ("added", "purchased", "session")
# What a shopper did with a product shown: the last of these that holds. Its place is the `outcome`.
OUTCOMES = ("passed", "clicked", "added", "purchased")

_TEXTS = ("query", "product_id", "session")
# Shoppers do not look beyond it, so greater positions are treated as equal.
LAST_POSITION = 1000
_FLAGS = {"0": False, "false": False, "0.0": False, "1": True, "true": True, "1.0": True}


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
    for batch in open_events(path, (*REQUIRED, *OPTIONAL), partial(_check_columns, path), faults):
        read += len(batch)
        batches.append(_encoded(batch, read - len(batch), faults, path))
    unread = faults.counts.get(LINE, 0)  # unreadable lines are in no batch
    read += unread
    if not read:
        raise FeedError(f"{path}: holds no events")
    if faults.rows > MOST_FAULTY * read:
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


def _check_columns(path: Path, names: list[str]) -> None:
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise FeedError(f"{path}: no column {', '.join(missing)}; it has {', '.join(names)}")


def _encoded(batch: pa.RecordBatch, before: int, faults: ReadErrors, path: Path) -> pa.RecordBatch:
    """The batch in numbers, each text kept once, without rows that lack query or product or cannot be read."""
    faulty = np.zeros(len(batch), bool)

    def read(name: str, value: Callable[[str | None], Any], kind: pa.DataType) -> pa.Array:
        try:
            return read_values(batch, name, value, kind, before, faults, faulty)
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


def _query(text: str | None) -> str | None:
    """As it is written: the most frequent way is kept."""
    if text and REPLACEMENT in text:
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
