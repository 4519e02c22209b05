"""Fresh segments: products that came while a release is served, made searchable over its base segment."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from catalog.columns import Columns
from catalog.compaction import merge_kept_columns, merge_tables, merge_tokens
from catalog.patching import PATCHABLE, patch_columns, patch_table
from catalog.popularity import PopularityScale
from catalog.product import CATALOG_SCHEMA
from catalog.segment import Mask, Segment, make_segment
from catalog.table import ProductTable
from catalog.tokens import ProductTokens
from core.manifest import Manifest
from engine.lexical.index import LexicalIndex
from engine.protocol import Tokens
from engine.vector.fresh import make_exact_search, merge_searches
from engine.vector.index import VectorIndex
from indexer.fresh.columns import FreshColumns
from indexer.fresh.words import FreshWords


class FreshSegments:
    """Makes segments of products for views over one release's base segment. For any number of threads."""

    def __init__(self, base: Segment, manifest: Manifest, words: LexicalIndex | None = None) -> None:
        """`base` is the segment as it was published, `words` its lexical index, None where the release has none.

        Takes 8 bytes a product of the base with a popularity, to rank others among them.
        """
        self._base = base
        self._scale = PopularityScale(base.table.numbers("popularity"))
        self._words = None if words is None else FreshWords(words, manifest.language)
        self._columns: FreshColumns | None = None
        if base.columns is not None:
            report = manifest.snapshot.columns
            self._columns = FreshColumns(base.columns, report, manifest.language, manifest.currency)

    @property
    def left_out(self) -> Counter[str]:
        """How many values no typed column holds, by field; see `FreshColumns.left_out`."""
        return Counter() if self._columns is None else self._columns.left_out

    def build(
        self,
        rows: Sequence[Mapping[str, Any]],
        vectors: NDArray[np.float32] | NDArray[np.float16],
        tokens: Sequence[Tokens] | None = None,
    ) -> Segment:
        """A segment of n products: `rows` by the names of `CATALOG_SCHEMA`, `attributes` as pairs or None; their unit
        vectors, shape (n, d); and their tokens, where the release has a cross-encoder.

        Raises InvalidVector for a vector that cannot be searched, and ValueError where counts do not agree.
        """
        if len(vectors) != len(rows) or (tokens is not None and len(tokens) != len(rows)):
            raise ValueError(f"{len(rows)} products, {len(vectors)} vectors, {len(tokens or rows)} sequences of tokens")
        if (tokens is None) != (self._base.tokens is None):
            raise ValueError("a release with a cross-encoder needs tokens of its products, and no other does")
        search = make_exact_search(vectors)
        return make_segment(
            _table(rows),
            None if tokens is None else _token_table(tokens),
            search,
            None if self._words is None else self._words.build(rows),
            self._scale,
            None if self._columns is None else self._columns.build(rows),
        )

    def merge(self, segments: Sequence[Segment], kept: Sequence[Mask]) -> Segment:
        """One segment of the kept products of several fresh ones, in their order; `kept[i]` has shape (rows of i,).

        Nothing is analysed again. The work is numpy's, Arrow's and FAISS's, done in pieces, so that other threads run.
        """
        tokens = [segment.tokens for segment in segments]
        words = [segment.words for segment in segments]
        columns = [segment.columns for segment in segments]
        return Segment(
            merge_tables([segment.table for segment in segments], kept),
            _kept([segment.prices for segment in segments], kept),
            _kept([segment.popularity for segment in segments], kept),
            None if tokens[0] is None else merge_tokens(cast(list[ProductTokens], tokens), kept),
            merge_searches([cast(VectorIndex, segment.vectors) for segment in segments], kept),
            None if words[0] is None else LexicalIndex.merge(cast(list[LexicalIndex], words), kept),
            None if columns[0] is None else merge_kept_columns(cast(list[Columns], columns), kept),
        )

    def patch(self, segment: Segment, rows: NDArray[np.int64], changes: Sequence[Mapping[str, Any]]) -> Segment:
        """The segment with other values of r different rows; `changes` are by the names of `PATCHABLE`, None for none.

        Arrays of fields that change are copied, all others are shared. Raises ValueError for other fields.
        """
        fields = {name for change in changes for name in change}
        if wrong := sorted(fields - set(PATCHABLE)):
            raise ValueError(f"{', '.join(wrong)}: read by models or words; upsert the product")
        table = patch_table(segment.table, rows.tolist(), changes)
        prices, popularity = segment.prices, segment.popularity
        if "price_micros" in fields:
            prices = _replaced(prices, rows, changes, "price_micros", lambda values: values)
        if "popularity" in fields:
            popularity = _replaced(popularity, rows, changes, "popularity", self._scale.percentiles)
        columns = segment.columns
        if columns is not None and self._columns is not None:
            after = [table.row(row, PATCHABLE) for row in rows.tolist()]
            typed, count = self._columns, len(segment)
            columns = patch_columns(columns, rows, typed.changed(fields, after), lambda name: typed.empty(name, count))
        return replace(segment, table=table, prices=prices, popularity=popularity, columns=columns)


def _kept(parts: Sequence[NDArray[Any]], kept: Sequence[Mask]) -> NDArray[Any]:
    return np.concatenate([part[mask] for part, mask in zip(parts, kept, strict=True)])


def _replaced(
    array: NDArray[Any],
    rows: NDArray[np.int64],
    changes: Sequence[Mapping[str, Any]],
    name: str,
    convert: Callable[[NDArray[np.float64]], NDArray[Any]],
) -> NDArray[Any]:
    """A copy with the new values of a field in the rows that have one."""
    own = [(row, change[name]) for row, change in zip(rows.tolist(), changes, strict=True) if name in change]
    result = array.copy()
    result[[row for row, _ in own]] = convert(np.array([np.nan if v is None else v for _, v in own], np.float64))
    return result


def _table(rows: Sequence[Mapping[str, Any]]) -> ProductTable:
    columns = [pa.array([row[field.name] for row in rows], field.type) for field in CATALOG_SCHEMA]
    return ProductTable.made_of([pa.RecordBatch.from_arrays(columns, schema=CATALOG_SCHEMA)])


def _token_table(tokens: Sequence[Tokens]) -> ProductTokens:
    offsets = np.cumsum([0, *map(len, tokens)], dtype=np.int64)
    return ProductTokens.made_of(np.fromiter(chain.from_iterable(tokens), np.int32, int(offsets[-1])), offsets)
