"""The embedded engine: models and index in this process, behind the micro-batcher.

On processors they are ONNX Runtime's and FAISS's; on a GPU those of `engine.gpu`, which one lane owns.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.lanes import Lanes, WorkQueue
from engine.protocol import NO_FILTER, NO_OVERLAY, Candidates, EngineError, Pair, Tokens, Vectors
from engine.vector.index import use_one_thread


class Model(Protocol):
    """What runs a tower or a cross-encoder; see `engine.onnx.session.OnnxModel`."""

    def run(self, tokens: Sequence[Tokens], segments: Sequence[Tokens] | None = None) -> Vectors:
        """Vectors, shape (n, d), or logits, shape (n,), of n sequences of shape (t,)."""
        ...


class Index(Protocol):
    """What searches products; see `engine.vector.index.VectorIndex`."""

    def search(self, vectors: Vectors, k: int) -> tuple[NDArray[np.int64], Vectors]:
        """Rows and scores, both (n, k), of vectors (n, d), best first; row -1 where there are no more."""
        ...

    def similarities(self, vector: Vectors, rows: NDArray[np.int64]) -> Vectors:
        """Scores, shape (r,), of rows against a vector of shape (d,)."""
        ...


@dataclass(frozen=True, slots=True)
class Batches:
    """The most tokens or queries of a batch, and how few tokens are not divided among free lanes.

    `padding` is the most tokens of a batch that may be padding: about what one more batch costs. `compare_at_once` is
    the most rows that are compared where they are asked for, which takes less than a way to a lane and back. `urgent`
    are the calls that do not wait for running batches where their deadline is near.
    """

    encode: int
    rescore: int
    retrieve: int
    least_rescore: int
    padding: int
    compare_at_once: int = 0
    urgent: tuple[str, ...] = ()


# Measured on two cores: beyond these a batch gains nothing and makes others wait.
CPU_BATCHES = Batches(
    encode=256,
    rescore=512,
    retrieve=32,
    least_rescore=128,
    padding=16,
    compare_at_once=256,
    urgent=("encode", "retrieve", "score_rows"),
)
# A GPU is idle below a few thousand tokens, and through these in some milliseconds. It pads nothing: any lengths go.
GPU_BATCHES = Batches(encode=8_192, rescore=65_536, retrieve=256, least_rescore=65_536, padding=65_536)


class EmbeddedEngine:
    """Runs a release's models in this process."""

    def __init__(
        self,
        query_tower: Model,
        index: Index,
        cross_encoder: Model | None,
        lanes: int | None = None,
        batches: Batches = CPU_BATCHES,
    ) -> None:
        """`lanes` is the number of worker threads, each bound to one core's worth of work; default: one a core."""
        self._index = index
        self._at_once = batches.compare_at_once
        self._cross_encoder = cross_encoder
        kinds = [
            WorkQueue("encode", query_tower.run, batches.encode, padding=batches.padding),
            WorkQueue("retrieve", self._search, batches.retrieve),
            WorkQueue("score_rows", self._compare, batches.retrieve),
            WorkQueue("rescore", self._score, batches.rescore, batches.least_rescore, batches.padding),
        ]
        self._lanes = Lanes(kinds, lanes or len(os.sched_getaffinity(0)), use_one_thread, batches.urgent)

    async def encode(self, queries: Sequence[Tokens], deadline: float | None) -> Vectors:
        """See `engine.protocol.Engine`."""
        return np.stack(await self._lanes.submit("encode", queries, [len(q) for q in queries], deadline))

    async def retrieve(
        self, vectors: Vectors, k: int, filter_reference: str, overlay_revision: int, deadline: float | None
    ) -> list[Candidates]:
        """See `engine.protocol.Engine`."""
        if filter_reference != NO_FILTER or overlay_revision != NO_OVERLAY:
            raise EngineError("this release has no filters and no fresh overlay")
        payloads = [(vector, k) for vector in vectors]
        return await self._lanes.submit("retrieve", payloads, [1] * len(payloads), deadline)

    async def score_rows(self, vector: Vectors, rows: NDArray[np.int64], deadline: float | None) -> Vectors:
        """See `engine.protocol.Engine`."""
        if len(rows) <= self._at_once:
            try:
                return self._index.similarities(vector, rows)
            except Exception as error:
                raise EngineError(f"{type(error).__name__}: {error}") from error
        [similarities] = await self._lanes.submit("score_rows", [(vector, rows)], [1], deadline)
        return similarities

    async def rescore(self, pairs: Sequence[Pair], deadline: float | None) -> Vectors:
        """See `engine.protocol.Engine`."""
        costs = [len(pair.tokens) for pair in pairs]
        return np.array(await self._lanes.submit("rescore", pairs, costs, deadline), np.float32)

    def close(self) -> None:
        """See `engine.protocol.Engine`."""
        self._lanes.close()

    def _search(self, payloads: list[tuple[Vectors, int]]) -> list[Candidates]:
        widest = max(k for _, k in payloads)
        rows, scores = self._index.search(np.stack([vector for vector, _ in payloads]), widest)
        return [_candidates(rows[i, :k], scores[i, :k]) for i, (_, k) in enumerate(payloads)]

    def _compare(self, payloads: list[tuple[Vectors, NDArray[np.int64]]]) -> list[Vectors]:
        return [self._index.similarities(vector, rows) for vector, rows in payloads]

    def _score(self, pairs: list[Pair]) -> Vectors:
        if self._cross_encoder is None:
            raise EngineError("this release has no cross-encoder")
        return self._cross_encoder.run([pair.tokens for pair in pairs], [pair.segments for pair in pairs])


def _candidates(rows: np.ndarray, scores: np.ndarray) -> Candidates:
    found = rows >= 0  # an approximate index may find fewer than k
    return Candidates(rows[found], scores[found])
