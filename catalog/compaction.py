"""Merges what several segments hold of their products, without those that are left out.

It is Arrow's and numpy's work, which other threads do not wait for; between two columns they get their turn.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from catalog.columns import BOOLEANS, NUMERIC, Column, Columns, Kind, Mask, Texts, take_column
from catalog.merging import missing_column
from catalog.product import CATALOG_SCHEMA
from catalog.table import ProductTable
from catalog.tokens import ProductTokens


def pause() -> None:
    """Lets other threads run before the next piece of work."""
    time.sleep(0)


def merge_tables(tables: Sequence[ProductTable], kept: Sequence[Mask]) -> ProductTable:
    """The kept rows of several tables, in their order; `kept[i]` has shape (rows of table i,)."""
    whole = pa.Table.from_batches([batch for table in tables for batch in table.batches()], CATALOG_SCHEMA)
    pause()
    columns = []
    rows = pa.array(np.flatnonzero(np.concatenate(kept)))
    for name in CATALOG_SCHEMA.names:
        columns.append(whole.column(name).combine_chunks().take(rows))
        pause()
    return ProductTable.made_of([pa.RecordBatch.from_arrays(columns, schema=CATALOG_SCHEMA)])


def merge_tokens(tables: Sequence[ProductTokens], kept: Sequence[Mask]) -> ProductTokens:
    """The tokens of the kept products."""
    parts, lengths = [], []
    for table, mask in zip(tables, kept, strict=True):
        own = np.diff(table.offsets)
        parts.append(table.tokens[np.repeat(mask, own)].astype(np.int32, copy=False))
        lengths.append(own[mask])
        pause()
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(lengths))])
    return ProductTokens.made_of(np.concatenate(parts), offsets)


def merge_kept_columns(parts: Sequence[Columns], kept: Sequence[Mask]) -> Columns:
    """The columns of the kept products; fields that none of them has are left out."""
    rows = [np.flatnonzero(mask) for mask in kept]
    names = dict.fromkeys(name for columns in parts for name in columns.names)
    merged: dict[str, Column] = {}
    for name in names:
        own = [columns.get(name) for columns in parts]
        like = next(column for column in own if column is not None)
        pieces = [
            missing_column(like, len(chosen)) if column is None else take_column(column, chosen)
            for column, chosen in zip(own, rows, strict=True)
        ]
        column = _join(pieces)
        if column.exists().any():
            merged[name] = column
        pause()
    return Columns(merged, sum(map(len, rows)))


def _join(pieces: Sequence[Column]) -> Column:
    """Columns one after the other, under the values that some product has."""
    first = pieces[0]
    if first.kind in NUMERIC:
        return replace(first, numbers=_frozen([piece.numbers for piece in pieces]))
    if first.kind is Kind.text:
        return replace(first, present=_frozen([piece.present for piece in pieces]))
    if first.kind is Kind.boolean:
        return replace(first, codes=_frozen([piece.codes for piece in pieces]), values=BOOLEANS)
    codes, values = _recoded(pieces)
    if first.kind is Kind.string:
        return replace(first, codes=codes, values=values)
    lengths = np.concatenate([np.diff(piece.offsets) for piece in pieces])
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    return replace(first, codes=codes, offsets=_frozen([offsets]), values=values)


def _recoded(pieces: Sequence[Column]) -> tuple[NDArray[np.int32], Texts]:
    """The codes of all pieces as places in one sorted list of the values that they have."""
    import pyarrow.compute as pc  # takes some 50 ms, and most processes merge nothing

    starts = np.cumsum([0, *(len(piece.values) for piece in pieces)])
    shifted = [
        np.where(piece.codes < 0, -1, piece.codes + start) for piece, start in zip(pieces, starts[:-1], strict=True)
    ]
    codes = np.concatenate(shifted)
    used, places = np.unique(codes[codes >= 0], return_inverse=True)
    texts = pa.concat_arrays([_text_array(piece.values) for piece in pieces]).take(pa.array(used))
    encoded = texts.dictionary_encode()
    order = pc.sort_indices(encoded.dictionary).to_numpy()
    ranks = np.empty(len(order), np.int32)
    ranks[order] = np.arange(len(order), dtype=np.int32)
    result = np.full(len(codes), -1, np.int32)
    result[codes >= 0] = ranks[encoded.indices.to_numpy()][places]
    return _frozen([result]), arrow_texts(encoded.dictionary.take(pa.array(order)))


def _text_array(values: Sequence[str]) -> pa.Array:
    if not isinstance(values, Texts):
        return pa.concat_arrays([*_pieces(values), pa.array([], pa.large_string())])
    if not len(values):
        return pa.array([], pa.large_string())
    ends = pa.py_buffer(np.ascontiguousarray(values.ends, np.int64))
    return pa.Array.from_buffers(pa.large_string(), len(values), [None, ends, pa.py_buffer(values.data)])


def _pieces(values: Sequence[str], size: int = 1024) -> Iterator[pa.Array]:
    for start in range(0, len(values), size):
        yield pa.array(values[start : start + size], pa.large_string())


def arrow_texts(values: pa.Array) -> Texts:
    """Texts over Arrow's own buffers; `values` begins at its buffers' start."""
    _, ends, data = values.buffers()
    if not len(values):
        return Texts(np.zeros(1, np.int64), memoryview(b""))
    return Texts(np.frombuffer(ends, np.int64, len(values) + 1), memoryview(data or b""))


def _frozen(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    array = np.concatenate(parts)
    array.setflags(write=False)
    return array
