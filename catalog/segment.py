"""A segment: some products of a catalog, numbered from 0, and all that a request reads of them. It never changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from catalog.columns import Columns
from catalog.popularity import PopularityScale
from catalog.table import ProductTable
from core.errors import ReleaseError

Rows: TypeAlias = NDArray[np.int64]
Scores: TypeAlias = NDArray[np.float32]
Mask: TypeAlias = NDArray[np.bool_]


class TokenTable(Protocol):
    """The cross-encoder's tokens of each product; see `catalog.tokens.ProductTokens`."""

    def __len__(self) -> int: ...

    def take(self, rows: Rows) -> Sequence[NDArray[np.int32]]:
        """Token ids, shape (t,), of the products of r rows."""
        ...


class VectorSearch(Protocol):
    """The vectors of each product; see `engine.vector.index.VectorIndex`."""

    def search(self, vectors: Scores, k: int, allowed: Mask | None = None, exact: bool = False) -> tuple[Rows, Scores]:
        """Rows and scores, both (n, k), of vectors (n, d), best first, among the rows that the mask allows; row -1
        where there are no more. With `exact`, an approximate index scores every one of them."""
        ...

    def vectors(self, rows: Rows) -> Scores:
        """The vectors, shape (r, d), of r rows."""
        ...

    def similarities(self, vector: Scores, rows: Rows) -> Scores:
        """Scores, shape (r,), of rows against a vector of shape (d,)."""
        ...


class LexicalSearch(Protocol):
    """The words of each product, with the base segment's vocabulary and word statistics, so that scores compare; see
    `engine.lexical.index.LexicalIndex`, which defines the types that are Any here."""

    def search(self, terms: Any, weights: Any, k: int, synonyms: Any = (), allowed: Mask | None = None) -> Any:
        """The k best products for the terms, among the rows that the mask allows."""
        ...

    def matches(self, query: Any, weights: Any, terms: Any = None) -> tuple[Scores, Scores]:
        """How much of the query each product holds, and its score, by those of its terms; both of shape (n,)."""
        ...

    def evidence(self, query: Any, rows: Rows) -> Any:
        """What the products of r rows hold of the query."""
        ...


@dataclass(frozen=True, slots=True)
class Segment:
    """n products. `prices` are in millionths, `popularity` as shares of the base segment's products; both of shape
    (n,), NaN where a product has none.

    `tokens` is None where the release has no cross-encoder. `vectors` and `words` are None in the base segment: an
    engine and a lexical retriever own those, wherever they keep them. `columns` is None where the release has none.
    """

    table: ProductTable
    prices: NDArray[np.float64]
    popularity: NDArray[np.float32]
    tokens: TokenTable | None = None
    vectors: VectorSearch | None = None
    words: LexicalSearch | None = None
    columns: Columns | None = None

    def __len__(self) -> int:
        return len(self.table)


def make_segment(
    table: ProductTable,
    tokens: TokenTable | None = None,
    vectors: VectorSearch | None = None,
    words: LexicalSearch | None = None,
    scale: PopularityScale | None = None,
    columns: Columns | None = None,
) -> Segment:
    """A segment of a product table. `scale` is that of the base segment's products; without one, it is the base's.

    Raises ReleaseError where table and columns do not hold as many products."""
    if columns is not None and columns.rows != len(table):
        raise ReleaseError(f"the typed columns hold {columns.rows} products, and the product table {len(table)}")
    popularity = table.numbers("popularity")
    scale = scale or PopularityScale(popularity)
    return Segment(table, table.numbers("price_micros"), scale.percentiles(popularity), tokens, vectors, words, columns)
