"""A release's models, asked through the caches."""

import asyncio
from collections.abc import Sequence

import numpy as np

from engine.cache import Caches, pair_key, tokens_key
from engine.types import Engine, Pair, Tokens, Vectors


class CachedModels:
    """The query tower and the cross-encoder of one engine."""

    def __init__(self, engine: Engine, caches: Caches, query_tower: str = "", cross_encoder: str = "") -> None:
        """`query_tower` and `cross_encoder` are the digests of the two models' files."""
        self._engine = engine
        self._caches = caches
        self._query_tower = query_tower
        self._cross_encoder = cross_encoder

    async def encode(self, tokens: Tokens, deadline: float | None) -> Vectors:
        """The vector, shape (d,), of a query's tokens. Raises DeadlineExceeded or EngineError."""

        async def compute(_: list[int]) -> Sequence[Vectors]:
            vectors = await self._engine.encode([tokens], deadline)
            vectors.setflags(write=False)  # others will be handed the same
            return [vectors[0]]

        [vector] = await self._caches.vectors.fetch([tokens_key(self._query_tower, tokens)], compute)
        return vector

    def rescoring(self, pairs: Sequence[Pair]) -> "Rescoring":
        """What there is to do for these pairs."""
        keys = [pair_key(self._cross_encoder, pair) for pair in pairs] if self._caches.scores.limit else []
        return Rescoring(self._engine, self._caches, pairs, keys)


class Rescoring:
    """The pairs of one request. `tokens` and `seconds` are of what it had computed, not of what was there already."""

    def __init__(self, engine: Engine, caches: Caches, pairs: Sequence[Pair], keys: Sequence[bytes]) -> None:
        """Use `CachedModels.rescoring`."""
        self.tokens = 0
        self.seconds = 0.0
        self._engine = engine
        self._scores = caches.scores
        self._pairs = pairs
        self._keys = keys or [b""] * len(pairs)

    def costs(self) -> list[int]:
        """Tokens to compute for each pair: none where its score is there."""
        pairs = zip(self._pairs, self._keys, strict=True)
        return [0 if self._scores.holds(key) else len(pair.tokens) for pair, key in pairs]

    async def logits(self, depth: int, deadline: float | None) -> Vectors:
        """Of the first pairs, shape (depth,). Raises DeadlineExceeded or EngineError."""

        async def compute(places: list[int]) -> Sequence[float]:
            loop = asyncio.get_running_loop()
            start = loop.time()
            pairs = [self._pairs[place] for place in places]
            self.tokens += sum(len(pair.tokens) for pair in pairs)
            try:
                return (await self._engine.rescore(pairs, deadline)).tolist()
            finally:
                self.seconds += loop.time() - start

        return np.array(await self._scores.fetch(self._keys[:depth], compute), np.float32)
