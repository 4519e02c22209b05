"""A whole search through a view with a fresh segment and deleted products, with a real engine and a real lexical index.

A query's first word is a number t; its vector is that of product t, so product t is the most similar one.
"""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from builders import product
from doubles import make_release
from segments import Cut

from catalog.view import CatalogView
from core.plan import Plan
from engine.embedded import EmbeddedEngine
from retrieval.pipeline.lexical import LexicalRetriever
from retrieval.pipeline.result import SearchResult
from retrieval.pipeline.search import search
from retrieval.release.loaded import LoadedRelease
from retrieval.server.admission import Permit
from retrieval.wire import response as wire
from retrieval.wire.request import read_query
from tandem.v1 import search_pb2

_TITLES = [f"plain thing {i}" for i in range(8)] + ["scarlet hammock", "plain thing 9", "plain thing 10"]
_PLAN = Plan(candidates=4, lexical_candidates=4, rerank_depth=0)


class Tower:
    """The vector of a sequence is that of the product whose number is its first token."""

    def __init__(self, vectors: np.ndarray) -> None:
        self._vectors = vectors

    def run(self, tokens: Sequence[np.ndarray], segments: Sequence[np.ndarray] | None = None) -> np.ndarray:
        return self._vectors[[int(sequence[0]) for sequence in tokens]]


@pytest.fixture
def release(tmp_path: Path) -> Iterator[LoadedRelease]:
    """Products 0 to 7 are the release's, 8 to 10 the fresh segment's; 1 and 9 are deleted."""
    rows = [product(f"p{i}", title, price_micros=i * 1_000_000, popularity=1.0) for i, title in enumerate(_TITLES)]
    angles = np.arange(len(rows)) / 10
    vectors = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    cut = Cut(tmp_path, rows, vectors, [8])
    engine = EmbeddedEngine(Tower(vectors), cut.base.vectors, None, lanes=1)  # type: ignore[arg-type]
    words = LexicalRetriever(cut.base.words, "en", {"title": 1.0})  # type: ignore[arg-type]
    (tmp_path / "release").mkdir()
    release = make_release(tmp_path / "release", rows[:8], ranker=False, engine=engine, words=words)  # type: ignore[arg-type]
    deleted = np.isin(np.arange(len(rows)), [1, 9])
    release.view = CatalogView(release.view.base, cut.fresh, deleted, revision=7)
    yield release
    release.retire()


def ask(release: LoadedRelease, query: str) -> tuple[SearchResult, search_pb2.SearchResponse]:
    async def run() -> tuple[SearchResult, search_pb2.SearchResponse]:
        request = search_pb2.SearchRequest(query=query, top_k=5)
        result = await search(read_query(request), _PLAN, release, Permit(), None)
        return result, await wire.response(request, read_query(request), result, release, "id")

    return asyncio.run(run())


def test_a_fresh_product_is_retrieved_by_words_and_by_vectors(release: LoadedRelease) -> None:
    result, response = ask(release, "8 scarlet hammock")
    assert not result.degraded and response.overlay_revision == 7
    first = response.hits[0]
    assert (first.product_id, first.product.title, first.product.price.units) == ("p8", "scarlet hammock", 8)
    stages = {score.stage: score.rank for score in first.stage_scores}
    assert stages == {"retrieve": 1, "lexical": 1, "fuse": 1}


def test_neighbours_come_from_both_segments_and_never_the_deleted(release: LoadedRelease) -> None:
    result, response = ask(release, "8 plain thing")
    # The five nearest to 8 that are left: 8 itself, 7, then 10 and 6 at the same angle, and 5.
    dense = result.candidates.dense
    assert dense is not None and sorted(result.candidates.rows[dense.order()].tolist()) == [5, 6, 7, 8, 10]
    assert result.candidates.rows[dense.order()].tolist()[:2] == [8, 7]
    everything = ask(release, "1 plain thing 1")[1]
    actual = {hit.product_id for hit in (*response.hits, *everything.hits)}
    assert not actual & {"p1", "p9"} and "p0" in actual


def test_each_source_scores_what_the_other_retrieved_in_another_segment(release: LoadedRelease) -> None:
    result, _ = ask(release, "0 scarlet hammock")
    [fresh] = [hit for hit in result.hits if hit.row == 8]
    similarity = fresh.stage_score("retrieve")
    assert similarity is not None and similarity.rank == 0, "only words retrieved it"
    assert similarity.score == pytest.approx(np.cos(0.8), abs=1e-6)


def test_prices_of_a_query_hold_for_fresh_products(release: LoadedRelease) -> None:
    result, _ = ask(release, "8 plain thing over 8 euro")
    prices = release.view.prices(np.array([hit.row for hit in result.hits]))
    inside = prices >= 8_000_000
    assert inside.any() and inside.tolist() == sorted(inside.tolist(), reverse=True)
