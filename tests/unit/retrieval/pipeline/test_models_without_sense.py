"""Searches by models that return what is no number: the answer names what failed, and every score in it is a number."""

import math
from collections.abc import Sequence
from pathlib import Path

import faiss
import numpy as np
import pytest
from doubles import COUNT, FixedLexicalRetriever, make_release
from numpy.typing import NDArray

from core.plan import Plan
from engine.embedded import EmbeddedEngine
from engine.vector.index import VectorIndex
from retrieval.pipeline.result import DENSE_FAILED, RERANK_FAILED, SearchResult
from retrieval.pipeline.search import search
from retrieval.server.admission import Permit
from retrieval.wire.request import Query

NAN, INFINITY = float("nan"), float("inf")


class Fixed:
    """Returns this for each sequence."""

    def __init__(self, value: object) -> None:
        self._value = value

    def run(
        self, tokens: Sequence[NDArray[np.int32]], segments: Sequence[NDArray[np.int32]] | None = None
    ) -> NDArray[np.float32]:
        return np.array([self._value] * len(tokens), np.float32)


async def answer(folder: Path, vector: tuple[float, float], logit: float, lost: Sequence[int] = ()) -> SearchResult:
    """Of a search in products of equal vectors, but for those `lost`, which have none."""
    vectors = np.tile(np.array([[1, 0]], np.float32), (COUNT, 1))
    vectors[list(lost)] = NAN
    flat = faiss.IndexFlatIP(2)
    flat.add(vectors)
    engine = EmbeddedEngine(Fixed(vector), VectorIndex(flat), Fixed(logit), lanes=1)  # type: ignore[arg-type]
    release = make_release(folder, engine=engine, words=FixedLexicalRetriever([3, 2, 1]))  # type: ignore[arg-type]
    try:
        return await search(Query("1 lamp"), Plan(), release, Permit(), None)
    finally:
        engine.close()


def all_finite(result: SearchResult) -> bool:
    scores = [score.score for hit in result.hits for score in hit.stage_scores]
    return bool(result.hits) and all(map(math.isfinite, [*scores, *(hit.score for hit in result.hits)]))


@pytest.mark.parametrize("vector", [(NAN, 0), (INFINITY, 0), (0, 0)])
async def test_words_answer_for_a_tower_without_sense(tmp_path: Path, vector: tuple[float, float]) -> None:
    result = await answer(tmp_path, vector, 1.0)
    assert DENSE_FAILED in {entry.reason for entry in result.degraded}
    assert {hit.row for hit in result.hits} == {1, 2, 3} and all_finite(result)


@pytest.mark.parametrize("logit", [NAN, INFINITY])
async def test_retrieval_ranks_for_a_cross_encoder_without_sense(tmp_path: Path, logit: float) -> None:
    result = await answer(tmp_path, (1, 0), logit)
    assert [entry.reason for entry in result.degraded] == [RERANK_FAILED] and all_finite(result)


async def test_products_without_a_vector_are_found_by_words_alone(tmp_path: Path) -> None:
    result = await answer(tmp_path, (1, 0), 1.0, lost=[2, 9])
    rows = {hit.row for hit in result.hits}
    assert 2 in rows and 9 not in rows and all_finite(result) and not result.degraded
