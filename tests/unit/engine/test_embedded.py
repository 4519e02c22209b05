"""The embedded engine around models that remember what they were run on: what shares a batch, and what comes back."""

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from builders import product, write_columns
from numpy.typing import NDArray
from segments import vector_index

from catalog.segment import make_segment
from catalog.table import ProductTable
from catalog.view import CatalogView
from engine.embedded import EmbeddedEngine
from engine.protocol import EngineError, Pair
from engine.vector.index import VectorIndex

_LENGTHS = np.random.default_rng(0).integers(12, 48, 100)


class Remembering:
    """Gives each sequence its length and first token, or their sum as a logit. `shapes` are of the batches run."""

    def __init__(self, logits: bool) -> None:
        self.shapes: list[tuple[int, int]] = []
        self.tokens = 0
        self._logits = logits

    def run(
        self, tokens: Sequence[NDArray[np.int32]], segments: Sequence[NDArray[np.int32]] | None = None
    ) -> NDArray[np.float32]:
        """See `engine.onnx.session.OnnxModel`."""
        lengths = list(map(len, tokens))
        assert segments is None or list(map(len, segments)) == lengths
        self.shapes.append((len(lengths), max(lengths)))
        self.tokens += sum(lengths)
        sums = np.array([[len(sequence), sequence[0]] for sequence in tokens], np.float32)
        return sums.sum(axis=1) if self._logits else sums

    @property
    def padded(self) -> int:
        """Tokens computed, padding included."""
        return sum(count * longest for count, longest in self.shapes)


class Held(Remembering):
    """Begins its first batch, and goes on when it is let."""

    def __init__(self, logits: bool) -> None:
        super().__init__(logits)
        self.began, self.go = threading.Event(), threading.Event()

    def run(self, *given: Any) -> NDArray[np.float32]:
        self.began.set()
        assert self.go.wait(10)
        return super().run(*given)


@asynccontextmanager
async def engine_of(tower: Remembering, ranker: Remembering, lanes: int) -> AsyncIterator[EmbeddedEngine]:
    flat = faiss.IndexFlatIP(2)
    flat.add(np.eye(2, dtype=np.float32)[np.arange(300) % 2])
    index = VectorIndex(flat)
    engine = EmbeddedEngine(tower, index, ranker, lanes)  # type: ignore[arg-type]
    try:
        yield engine
    finally:
        engine.close()


def sequences(lengths: NDArray[np.int64]) -> list[NDArray[np.int32]]:
    return [np.full(length, place, np.int32) for place, length in enumerate(lengths)]


@pytest.mark.parametrize("lanes", [1, 2])
async def test_pairs_are_rescored_among_those_of_their_length(lanes: int) -> None:
    ranker = Remembering(logits=True)
    async with engine_of(Remembering(logits=False), ranker, lanes) as engine:
        logits = await engine.rescore([Pair(ids, ids) for ids in sequences(_LENGTHS)], deadline=None)
    assert (logits == _LENGTHS + np.arange(100)).all()
    assert ranker.tokens == _LENGTHS.sum()
    # In a batch or two they would be 40% padding; in one batch each, not worth their calls.
    assert ranker.padded <= ranker.tokens + 16 * len(ranker.shapes)
    assert len(ranker.shapes) < 20
    assert all(count * longest <= 512 for count, longest in ranker.shapes)


async def test_queries_of_several_requests_share_batches_of_like_length() -> None:
    tower = Held(logits=False)
    queries = sequences(_LENGTHS)
    async with engine_of(tower, Remembering(logits=True), 1) as engine:
        calls = [asyncio.ensure_future(engine.encode([queries[0]], deadline=None))]
        await asyncio.to_thread(tower.began.wait, 10)
        calls += [asyncio.ensure_future(engine.encode([query], deadline=None)) for query in queries[1:]]
        await asyncio.sleep(0)  # all of them wait now
        tower.go.set()
        vectors = await asyncio.gather(*calls)
    assert [vector.tolist() for vector in vectors] == [[[len(q), q[0]]] for q in queries]
    assert tower.shapes[0] == (1, _LENGTHS[0]) and len(tower.shapes) < 30
    assert tower.padded < 1.04 * tower.tokens  # 1.054 if any padding were allowed
    assert all(count * longest <= 256 for count, longest in tower.shapes)


async def test_few_products_are_compared_without_waiting_for_a_lane() -> None:
    tower = Held(logits=False)
    vector = np.array([3, 4], np.float32)
    async with engine_of(tower, Remembering(logits=True), 1) as engine:
        encoding = asyncio.ensure_future(engine.encode(sequences(_LENGTHS[:1]), deadline=None))
        await asyncio.to_thread(tower.began.wait, 10)
        assert (await engine.score_rows(vector, np.array([0, 3, 2]), deadline=None)).tolist() == [3, 4, 3]
        with pytest.raises(EngineError):
            await engine.score_rows(vector, np.array([999]), deadline=None)
        many = asyncio.ensure_future(engine.score_rows(vector, np.arange(300), deadline=None))
        await asyncio.sleep(0)
        assert not many.done() and not encoding.done()
        tower.go.set()
        assert (await many).tolist() == [3, 4] * 150
        await encoding


async def test_a_closed_engine_is_freed_at_once_with_its_models() -> None:
    tower, cross_encoder = Remembering(logits=False), Remembering(logits=True)
    engine = EmbeddedEngine(tower, VectorIndex(faiss.IndexFlatIP(2)), cross_encoder, lanes=2)
    await engine.encode([np.zeros(3, np.int32)], None)
    held = [weakref.ref(part) for part in (engine, tower, cross_encoder)]
    gc.collect()
    gc.disable()
    try:
        engine.close()
        del engine, tower, cross_encoder
        assert [part() for part in held] == [None] * 3
    finally:
        gc.enable()


async def test_calls_of_two_revisions_may_share_a_batch(tmp_path: Path) -> None:
    """While a new revision takes over, requests of both wait; each gets the products of its own."""
    table = ProductTable(write_columns(tmp_path / "base.arrow", [product(f"a{i}") for i in range(300)]))
    extra = ProductTable(write_columns(tmp_path / "fresh.arrow", [product("b0")]))
    fresh = make_segment(extra, vectors=vector_index(np.array([[2, 0]], np.float32)))
    base = make_segment(table)
    old = CatalogView(base)
    new = CatalogView(base, [fresh], np.arange(301) == 0, revision=1)
    vector, tower = np.array([[1, 0]], np.float32), Held(logits=False)
    async with engine_of(tower, Remembering(logits=True), 1) as engine:
        encoding = asyncio.ensure_future(engine.encode(sequences(_LENGTHS[:1]), deadline=None))
        await asyncio.to_thread(tower.began.wait, 10)
        requests = ((2, old), (3, new), (1, None), (1, new))
        calls = [asyncio.ensure_future(engine.retrieve(vector, k, None, view)) for k, view in requests]
        scoring = asyncio.ensure_future(engine.score_rows(vector[0], np.array([300, 1, 2]), None, new))
        await asyncio.sleep(0)
        tower.go.set()
        results = [candidates for [candidates] in await asyncio.gather(*calls)]
        await encoding
    assert [candidates.rows.tolist()[:1] for candidates in results] == [[0], [300], [0], [300]]
    assert [len(candidates.rows) for candidates in results] == [2, 3, 1, 1] and 0 not in results[1].rows
    assert results[1].scores.tolist() == [2, 1, 1]
    assert (await scoring).tolist() == [2, 0, 1]
