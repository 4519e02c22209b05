"""Models that return what is no number, and an index that holds such a vector, behind the embedded engine."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.embedded import EmbeddedEngine
from engine.protocol import EngineError, Pair
from engine.vector.index import VectorIndex

NAN, INFINITY = float("nan"), float("inf")
TOKENS = [np.array([1, 2, 3], np.int32)]


class Fixed:
    """Returns this for each sequence."""

    def __init__(self, value: object) -> None:
        self._value = value

    def run(
        self, tokens: Sequence[NDArray[np.int32]], segments: Sequence[NDArray[np.int32]] | None = None
    ) -> NDArray[np.float32]:
        return np.array([self._value] * len(tokens), np.float32)


@asynccontextmanager
async def engine_of(vector: object = (1.0, 0.0), logit: float = 0.5) -> AsyncIterator[EmbeddedEngine]:
    """Products 0 to 2 lie at 0°, 90° and 180° of the query (1, 0), and those of rows 3 and 4 have no direction."""
    flat = faiss.IndexFlatIP(2)
    flat.add(np.array([[1, 0], [0, 1], [-1, 0], [NAN, 0], [INFINITY, 0]], np.float32))
    engine = EmbeddedEngine(Fixed(vector), VectorIndex(flat), Fixed(logit), lanes=1)
    try:
        yield engine
    finally:
        engine.close()


@pytest.mark.parametrize("vector", [(NAN, 0), (0, INFINITY), (-INFINITY, 1), (0, 0)])
async def test_a_query_without_a_direction_is_an_error(vector: tuple[float, float]) -> None:
    async with engine_of(vector) as engine:
        with pytest.raises(EngineError, match="without a direction"):
            await engine.encode(TOKENS, None)


@pytest.mark.parametrize("logit", [NAN, INFINITY, -INFINITY])
async def test_logits_that_are_no_numbers_are_an_error(logit: float) -> None:
    async with engine_of(logit=logit) as engine:
        with pytest.raises(EngineError, match="not numbers"):
            await engine.rescore([Pair(TOKENS[0], TOKENS[0])], None)


@pytest.mark.parametrize("exact", [False, True])
async def test_a_product_without_a_direction_is_in_no_list_and_unlike_everything(exact: bool) -> None:
    async with engine_of() as engine:
        query = await engine.encode(TOKENS, None)
        [candidates] = await engine.retrieve(query, 5, None, exact=exact)
        assert candidates.rows.tolist() == [0, 1, 2] and candidates.scores.tolist() == [1, 0, -1]
        assert (await engine.score_rows(query[0], np.array([3, 4, 0, 1]), None)).tolist() == [-1, -1, 1, 0]


async def test_a_vector_that_is_no_number_retrieves_nothing() -> None:
    async with engine_of() as engine:
        [candidates] = await engine.retrieve(np.array([[NAN, 0]], np.float32), 4, None)
        assert not len(candidates.rows)
