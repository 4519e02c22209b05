"""An engine whose model server searches the index whole: what needs more of the index is searched in this process."""

import asyncio
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from catalog.segment import VectorSearch
from catalog.selection import Selection
from catalog.view import CatalogView
from engine.embedded import CPU_BATCHES, EmbeddedEngine
from engine.protocol import Candidates, Engine, EngineError, Pair, Tokens, Vectors


class LocalSearchEngine:
    """Asks `remote`, but searches here among a selection, through fresh segments, or exactly."""

    def __init__(self, remote: Engine, open_index: Callable[[], VectorSearch], lanes: int | None = None) -> None:
        """`open_index` maps the release's index; it is called at the first search that needs it, and `lanes` is the
        number of threads that search."""
        self.remote = remote
        self._open_index = open_index
        self._lanes = lanes
        self._local: EmbeddedEngine | None = None
        self._opening = asyncio.Lock()

    async def encode(self, queries: Sequence[Tokens], deadline: float | None) -> Vectors:
        """See `engine.protocol.Engine`."""
        return await self.remote.encode(queries, deadline)

    async def retrieve(
        self,
        vectors: Vectors,
        k: int,
        deadline: float | None,
        view: CatalogView | None = None,
        selection: Selection | None = None,
        exact: bool = False,
    ) -> list[Candidates]:
        """See `engine.protocol.Engine`."""
        if selection is None and not exact and (view is None or view.is_base_alone):
            return await self.remote.retrieve(vectors, k, deadline, view)
        return await (await self._search_here()).retrieve(vectors, k, deadline, view, selection, exact)

    async def score_rows(
        self, vector: Vectors, rows: NDArray[np.int64], deadline: float | None, view: CatalogView | None = None
    ) -> Vectors:
        """See `engine.protocol.Engine`."""
        if view is None or view.is_base_alone:
            return await self.remote.score_rows(vector, rows, deadline, view)
        return await (await self._search_here()).score_rows(vector, rows, deadline, view)

    async def vectors(
        self, rows: NDArray[np.int64], deadline: float | None, view: CatalogView | None = None
    ) -> Vectors:
        """See `engine.protocol.Engine`."""
        return await (await self._search_here()).vectors(rows, deadline, view)

    async def rescore(self, pairs: Sequence[Pair], deadline: float | None) -> Vectors:
        """See `engine.protocol.Engine`."""
        return await self.remote.rescore(pairs, deadline)

    @property
    def trouble(self) -> str | None:
        """Why the remote engine answers nothing; None while it does, or does not say."""
        return getattr(self.remote, "trouble", None)

    def close(self) -> None:
        """See `engine.protocol.Engine`."""
        self.remote.close()
        if self._local is not None:
            self._local.close()

    async def _search_here(self) -> EmbeddedEngine:
        async with self._opening:
            if self._local is None:
                index = await asyncio.to_thread(self._open_index)
                self._local = EmbeddedEngine(_NoModel(), index, None, self._lanes, CPU_BATCHES)
            return self._local


class _NoModel:
    """In the place of a tower, which the remote engine runs."""

    def run(self, tokens: Sequence[Tokens], segments: Sequence[Tokens] | None = None) -> Vectors:
        raise EngineError("the towers are run by the model server")
