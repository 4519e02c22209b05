"""A release's models, called through the caches."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from catalog.selection import Selection
from catalog.view import CatalogView
from engine.cache import Caches, candidates_key, pair_keys, tokens_key
from engine.protocol import Candidates, Engine, Pair, Tokens, Vectors

Pack: TypeAlias = Callable[[Tokens, Sequence[Tokens]], list[Pair]]


class CachedModels:
    """The query tower, the index and the cross-encoder of one engine."""

    def __init__(
        self, engine: Engine, caches: Caches, query_tower: str = "", index: str = "", cross_encoder: str = ""
    ) -> None:
        """The digests are of the query tower's file, the index's, and the cross-encoder's with its tokenizer's."""
        self._engine = engine
        self._caches = caches
        self._query_tower = query_tower
        self._index = index
        self._cross_encoder = cross_encoder

    async def encode(self, tokens: Tokens, deadline: float | None) -> Vectors:
        """The vector, shape (d,), of a query's tokens. Raises DeadlineExceeded or EngineError."""

        async def compute(_: list[int]) -> Sequence[Vectors]:
            vectors = await self._engine.encode([tokens], deadline)
            vectors.setflags(write=False)  # others get the same array
            return [vectors[0]]

        [vector] = await self._caches.vectors.fetch([tokens_key(self._query_tower, tokens)], compute)
        return vector

    async def retrieve(
        self,
        vector: Vectors,
        k: int,
        deadline: float | None,
        view: CatalogView | None = None,
        selection: Selection | None = None,
        exact: bool = False,
    ) -> Candidates:
        """The k products of the view, or of a selection of it, most similar to a vector of shape (d,); see
        `Engine.retrieve`. Raises DeadlineExceeded or EngineError."""

        async def compute(_: list[int]) -> Sequence[Candidates]:
            [candidates] = await self._engine.retrieve(vector[None], k, deadline, view, selection, exact)
            return [_read_only(candidates.rows, candidates.scores)]

        selected = "" if selection is None else selection.key
        key = candidates_key(self._index, vector, "retrieve", k, _serial(view), selected, exact)
        [candidates] = await self._caches.candidates.fetch([key], compute)
        return candidates

    async def score_rows(
        self, vector: Vectors, rows: NDArray[np.int64], deadline: float | None, view: CatalogView | None = None
    ) -> Vectors:
        """The similarity, shape (r,), of r products of the view to a vector of shape (d,); raises as `retrieve`."""

        async def compute(_: list[int]) -> Sequence[Candidates]:
            return [_read_only(rows, await self._engine.score_rows(vector, rows, deadline, view))]

        key = candidates_key(self._index, vector, "score_rows", _serial(view), rows.tobytes())
        [compared] = await self._caches.candidates.fetch([key], compute)
        return compared.scores

    def rescoring(self, query: Tokens, products: Sequence[Tokens], pack: Pack) -> "Rescoring":
        """The work of rescoring these products for a query; `pack` makes pairs of them."""
        keys = pair_keys(self._cross_encoder, query, products) if self._caches.scores.limit else []
        return Rescoring(
            self._engine, self._caches, keys or [b""] * len(products), partial(_packed, query, products, pack)
        )


class Rescoring:
    """The pairs of one request. `tokens` and `seconds` are of the scores it computed, not of those in the cache."""

    def __init__(
        self, engine: Engine, caches: Caches, keys: list[bytes], pack: Callable[[list[int]], list[Pair]]
    ) -> None:
        """Use `CachedModels.rescoring`."""
        self.tokens = 0
        self.seconds = 0.0
        self._engine = engine
        self._scores = caches.scores
        self._keys = keys
        self._pack = pack
        self._pairs: dict[int, Pair] = {}

    def costs(self) -> list[int]:
        """Tokens to compute for each pair: none where its score is there."""
        pairs = self._pairs_of([place for place, key in enumerate(self._keys) if not self._scores.holds(key)])
        return [len(pairs[place].tokens) if place in pairs else 0 for place in range(len(self._keys))]

    async def logits(self, depth: int, deadline: float | None) -> Vectors:
        """The logits of the first pairs, shape (depth,). Raises DeadlineExceeded or EngineError."""

        async def compute(places: list[int]) -> Sequence[float]:
            loop = asyncio.get_running_loop()
            start = loop.time()
            made = self._pairs_of(places)
            pairs = [made[place] for place in places]
            self.tokens += sum(len(pair.tokens) for pair in pairs)
            try:
                return (await self._engine.rescore(pairs, deadline)).tolist()
            finally:
                self.seconds += loop.time() - start

        return np.array(await self._scores.fetch(self._keys[:depth], compute), np.float32)

    def _pairs_of(self, places: list[int]) -> dict[int, Pair]:
        """All pairs packed so far, these among them; one whose score is cached is not even packed."""
        missing = [place for place in places if place not in self._pairs]
        self._pairs |= zip(missing, self._pack(missing), strict=True)
        return self._pairs


def _serial(view: CatalogView | None) -> int:
    """What numbers the rows that an answer names: 0 for the base alone, whatever the view."""
    return 0 if view is None or view.is_base_alone else view.serial


def _read_only(rows: NDArray[np.int64], scores: Vectors) -> Candidates:
    """Others get the same arrays."""
    for values in (rows, scores):
        values.setflags(write=False)
    return Candidates(rows, scores)


def _packed(query: Tokens, products: Sequence[Tokens], pack: Pack, places: list[int]) -> list[Pair]:
    return pack(query, [products[place] for place in places])
