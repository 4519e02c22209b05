"""The embedded engine: models and index in this process, behind the micro-batcher.

On processors they are ONNX Runtime's and FAISS's; on a GPU those of `engine.gpu`, which one lane owns.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from catalog.segment import VectorSearch
from catalog.selection import Selection
from catalog.view import CatalogView
from core.cores import available_cores
from engine.lanes import Lanes, ObserveBatch, WorkQueue, ignore_batch
from engine.protocol import Candidates, EngineError, Pair, Tokens, Vectors
from engine.soundness import check_directions, check_logits, finite_candidates, finite_scores
from engine.vector.index import use_one_thread
from engine.vector.segments import score_view_rows, search_view, view_vectors


class Model(Protocol):
    """What runs a tower or a cross-encoder; see `engine.onnx.session.OnnxModel`."""

    def run(self, tokens: Sequence[Tokens], segments: Sequence[Tokens] | None = None) -> Vectors:
        """Vectors, shape (n, d), or logits, shape (n,), of n sequences of shape (t,)."""
        ...


@dataclass(frozen=True, slots=True)
class Batches:
    """The most tokens or queries of a batch, and how few tokens are not divided among free lanes.

    `padding` is the most tokens of a batch that may be padding: about what one more batch costs. `score_at_once` is
    the most rows that are scored in the caller's own thread, which takes less than a way to a lane and back. `urgent`
    are the calls that do not wait for running batches where their deadline is near.
    """

    encode: int
    rescore: int
    retrieve: int
    least_rescore: int
    padding: int
    score_at_once: int = 0
    urgent: tuple[str, ...] = ()


# A search for so many products takes longer than one for fewer, which does not wait for it.
_WIDE = 1000
# Measured on two cores: beyond these a batch gains nothing and makes others wait.
CPU_BATCHES = Batches(
    encode=256,
    rescore=512,
    retrieve=32,
    least_rescore=128,
    padding=16,
    score_at_once=256,
    urgent=("encode", "retrieve", "score_rows"),
)
# A GPU is idle below a few thousand tokens, and through these in some milliseconds. It pads nothing: any lengths go.
GPU_BATCHES = Batches(encode=8_192, rescore=65_536, retrieve=256, least_rescore=65_536, padding=65_536)


@dataclass(frozen=True, slots=True, eq=False)
class _Lookup:
    """One vector to search with, as `Engine.retrieve` takes it."""

    vector: Vectors
    k: int
    view: CatalogView | None
    selection: Selection | None
    exact: bool

    @property
    def likeness(self) -> Hashable:
        """What lookups that are searched together have in common."""
        return id(self.view), id(self.selection), self.exact, self.k > _WIDE


class EmbeddedEngine:
    """Runs a release's models in this process."""

    def __init__(
        self,
        query_tower: Model,
        index: VectorSearch,
        cross_encoder: Model | None,
        lanes: int | None = None,
        batches: Batches = CPU_BATCHES,
        observe: ObserveBatch = ignore_batch,
    ) -> None:
        """`index` has the base segment's vectors. `lanes` is the number of worker threads, each bound to one core's
        worth of work; default: one a core. `observe` is called after each batch."""
        self._index = index
        self._at_once = batches.score_at_once
        self._cross_encoder = cross_encoder
        kinds = [
            WorkQueue("encode", query_tower.run, batches.encode, padding=batches.padding),
            WorkQueue("retrieve", self._search, batches.retrieve),
            WorkQueue("score_rows", self._score_rows, batches.retrieve),
            WorkQueue("rescore", self._rescore, batches.rescore, batches.least_rescore, batches.padding),
        ]
        self._lanes = Lanes(kinds, lanes or available_cores(), use_one_thread, batches.urgent, observe)

    async def encode(self, queries: Sequence[Tokens], deadline: float | None) -> Vectors:
        """See `engine.protocol.Engine`."""
        costs = [len(query) for query in queries]
        return check_directions(np.stack(await self._lanes.submit("encode", queries, costs, deadline)))

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
        payloads = [_Lookup(vector, k, view, selection, exact) for vector in vectors]
        return await self._lanes.submit("retrieve", payloads, [1] * len(payloads), deadline)

    async def score_rows(
        self, vector: Vectors, rows: NDArray[np.int64], deadline: float | None, view: CatalogView | None = None
    ) -> Vectors:
        """See `engine.protocol.Engine`."""
        if len(rows) <= self._at_once:
            try:
                return finite_scores(score_view_rows(self._index, view, vector, rows))
            except Exception as error:
                raise EngineError(f"{type(error).__name__}: {error}") from error
        [similarities] = await self._lanes.submit("score_rows", [(vector, rows, view)], [1], deadline)
        return finite_scores(similarities)

    async def vectors(
        self, rows: NDArray[np.int64], deadline: float | None, view: CatalogView | None = None
    ) -> Vectors:
        """See `engine.protocol.Engine`. A few hundred rows are looked up in the caller's own thread."""
        try:
            return view_vectors(self._index, view, rows)
        except Exception as error:
            raise EngineError(f"{type(error).__name__}: {error}") from error

    async def rescore(self, pairs: Sequence[Pair], deadline: float | None) -> Vectors:
        """See `engine.protocol.Engine`."""
        costs = [len(pair.tokens) for pair in pairs]
        return check_logits(np.array(await self._lanes.submit("rescore", pairs, costs, deadline), np.float32))

    def close(self) -> None:
        """See `engine.protocol.Engine`."""
        self._lanes.close()

    def _search(self, payloads: list["_Lookup"]) -> list[Candidates]:
        """Lookups in one view, of one selection and about as wide are searched together."""
        result: dict[int, Candidates] = {}
        alike: dict[Hashable, list[int]] = {}
        for place, lookup in enumerate(payloads):
            alike.setdefault(lookup.likeness, []).append(place)
        for places in alike.values():
            one = payloads[places[0]]
            widest = max(payloads[place].k for place in places)
            queries = np.stack([payloads[place].vector for place in places])
            rows, scores = search_view(self._index, one.view, queries, widest, one.selection, one.exact)
            for i, place in enumerate(places):
                k = payloads[place].k
                result[place] = finite_candidates(rows[i, :k], scores[i, :k])
        return [result[place] for place in range(len(payloads))]

    def _score_rows(self, payloads: list[tuple[Vectors, NDArray[np.int64], CatalogView | None]]) -> list[Vectors]:
        return [score_view_rows(self._index, view, vector, rows) for vector, rows, view in payloads]

    def _rescore(self, pairs: list[Pair]) -> Vectors:
        if self._cross_encoder is None:
            raise EngineError("this release has no cross-encoder")
        return self._cross_encoder.run([pair.tokens for pair in pairs], [pair.segments for pair in pairs])
