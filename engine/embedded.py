"""The embedded engine: ONNX Runtime and FAISS in this process, behind the micro-batcher."""

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.index import VectorIndex, use_one_thread
from engine.lanes import Kind, Lanes
from engine.onnx import OnnxModel
from engine.types import NO_FILTER, NO_OVERLAY, Candidates, EngineError, Pair, Tokens, Vectors

# Measured on two cores: beyond these a batch gains nothing and makes others wait.
_ENCODE_TOKENS = 256
_RESCORE_TOKENS = 512
_RETRIEVE_QUERIES = 32
_LEAST_RESCORE_TOKENS = 128
_PADDING_TOKENS = 16  # what a batch of its own costs beside its tokens: as long as 8 to 16 of them take


class EmbeddedEngine:
    """Runs a release's models on this machine's cores."""

    def __init__(
        self, query_tower: OnnxModel, index: VectorIndex, cross_encoder: OnnxModel | None, lanes: int | None = None
    ) -> None:
        """`lanes` is the number of worker threads, each bound to one core's worth of work; default: one a core."""
        self._index = index
        self._cross_encoder = cross_encoder
        kinds = [
            Kind("encode", query_tower.run, _ENCODE_TOKENS, padding=_PADDING_TOKENS),
            Kind("retrieve", self._search, _RETRIEVE_QUERIES),
            Kind("compare", self._compare, _RETRIEVE_QUERIES),
            Kind("rescore", self._score, _RESCORE_TOKENS, _LEAST_RESCORE_TOKENS, _PADDING_TOKENS),
        ]
        self._lanes = Lanes(kinds, lanes or os.cpu_count() or 1, prepare=use_one_thread)

    async def encode(self, queries: Sequence[Tokens], deadline: float | None) -> Vectors:
        """See `engine.types.Engine`."""
        return np.stack(await self._lanes.submit("encode", queries, [len(q) for q in queries], deadline))

    async def retrieve(
        self, vectors: Vectors, k: int, filter_reference: str, overlay_revision: int, deadline: float | None
    ) -> list[Candidates]:
        """See `engine.types.Engine`."""
        if filter_reference != NO_FILTER or overlay_revision != NO_OVERLAY:
            raise EngineError("this release has no filters and no fresh overlay")
        payloads = [(vector, k) for vector in vectors]
        return await self._lanes.submit("retrieve", payloads, [1] * len(payloads), deadline)

    async def compare(self, vector: Vectors, rows: NDArray[np.int64], deadline: float | None) -> Vectors:
        """See `engine.types.Engine`."""
        [similarities] = await self._lanes.submit("compare", [(vector, rows)], [1], deadline)
        return similarities

    async def rescore(self, pairs: Sequence[Pair], deadline: float | None) -> Vectors:
        """See `engine.types.Engine`."""
        costs = [len(pair.tokens) for pair in pairs]
        return np.array(await self._lanes.submit("rescore", pairs, costs, deadline), np.float32)

    def close(self) -> None:
        """See `engine.types.Engine`."""
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
