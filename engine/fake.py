"""An engine for tests: answers follow from the tokens by a stated rule, at once or after a set delay."""

import asyncio
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from catalog.selection import Selection
from catalog.view import CatalogView
from engine.protocol import Candidates, DeadlineExceeded, EngineError, Pair, Tokens, Vectors


class FakeEngine:
    """A catalog of `count` products; the query whose first token is t finds products t, t + 1, ... (modulo count).

    Similarity falls by 0.01 a place. A pair's logit is its last product token's id, so tests choose the reranked
    order by choosing tokens. `delays` holds the seconds each call takes; a call named in `broken` raises EngineError.
    """

    def __init__(self, count: int, delays: dict[str, float] | None = None, broken: Sequence[str] = ()) -> None:
        self.count = count
        self.delays = delays or {}
        self.broken = set(broken)
        self.closed = False
        self.calls: list[tuple[str, int]] = []

    async def encode(self, queries: Sequence[Tokens], deadline: float | None) -> Vectors:
        """Vectors of shape (n, 1): each query's first token."""
        await self._work("encode", len(queries), deadline)
        return np.array([[query[0]] for query in queries], np.float32)

    async def retrieve(
        self,
        vectors: Vectors,
        k: int,
        deadline: float | None,
        view: CatalogView | None = None,
        selection: Selection | None = None,
        exact: bool = False,
    ) -> list[Candidates]:
        """The k products from the one that the vector names on, of those selected; of no fresh segment."""
        await self._work("retrieve", len(vectors), deadline)
        places = np.arange(self.count)
        scores = (1 - places * 0.01).astype(np.float32)
        results = []
        for vector in vectors:
            rows = (places + int(vector[0])) % self.count
            chosen = places if selection is None else np.flatnonzero(selection.mask[rows])
            results.append(Candidates(rows[chosen[:k]], scores[chosen[:k]]))
        return results

    async def score_rows(
        self, vector: Vectors, rows: NDArray[np.int64], deadline: float | None, view: CatalogView | None = None
    ) -> Vectors:
        """What `retrieve` returns for them."""
        await self._work("score_rows", len(rows), deadline)
        return (1 - (rows - int(vector[0])) % self.count * 0.01).astype(np.float32)

    async def vectors(
        self, rows: NDArray[np.int64], deadline: float | None, view: CatalogView | None = None
    ) -> Vectors:
        """A direction for each remainder of a row by 4, shape (r, 4): rows a multiple of 4 apart are equal."""
        await self._work("vectors", len(rows), deadline)
        return np.eye(4, dtype=np.float32)[rows % 4]

    async def rescore(self, pairs: Sequence[Pair], deadline: float | None) -> Vectors:
        """Each pair's last token but the closing one."""
        await self._work("rescore", len(pairs), deadline)
        return np.array([pair.tokens[-2] for pair in pairs], np.float32)

    def close(self) -> None:
        """Remembers that it was closed."""
        self.closed = True

    async def _work(self, call: str, size: int, deadline: float | None) -> None:
        self.calls.append((call, size))
        if call in self.broken:
            raise EngineError(f"{call} is broken")
        await asyncio.sleep(self.delays.get(call, 0))
        if deadline is not None and asyncio.get_running_loop().time() >= deadline:
            raise DeadlineExceeded
