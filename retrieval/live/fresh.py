"""Fresh segments: products that came while a release is served, made searchable over its base segment."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from catalog.popularity import PopularityScale
from catalog.product import CATALOG_SCHEMA
from catalog.segment import Segment, make_segment
from catalog.table import ProductTable
from catalog.tokens import ProductTokens
from core.manifest import Manifest
from engine.lexical.index import LexicalIndex
from engine.protocol import Tokens
from engine.vector.fresh import make_exact_search
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


def _table(rows: Sequence[Mapping[str, Any]]) -> ProductTable:
    columns = [pa.array([row[field.name] for row in rows], field.type) for field in CATALOG_SCHEMA]
    return ProductTable.made_of([pa.RecordBatch.from_arrays(columns, schema=CATALOG_SCHEMA)])


def _token_table(tokens: Sequence[Tokens]) -> ProductTokens:
    offsets = np.cumsum([0, *map(len, tokens)], dtype=np.int64)
    return ProductTokens.made_of(np.fromiter(chain.from_iterable(tokens), np.int32, int(offsets[-1])), offsets)
