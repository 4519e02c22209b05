"""Filtered search against brute force, whatever share passes, and the plan behind it."""

import faiss
import numpy as np
import pytest

from engine.vector.filtering import FilterPlan, plan_filter
from engine.vector.index import VectorIndex

_KINDS = ["Flat", "SQfp16", "IVF32,SQfp16", "IVF32,Flat", "HNSW16,SQfp16"]


_MEASURED = [{"share": 0.5, "widening": 1.0}, {"share": 0.1, "widening": 8.0}, {"share": 0.02, "widening": None}]


@pytest.mark.parametrize(
    ("exact_kind", "passing", "measured", "plan"),
    [
        (True, 90_000, None, FilterPlan(True)),
        (False, 2_000, _MEASURED, FilterPlan(True, by_row=True)),
        (False, 60_000, _MEASURED, FilterPlan(False, 1.0)),
        (False, 49_999, _MEASURED, FilterPlan(False, 8.0)),
        (False, 9_999, _MEASURED, FilterPlan(True)),
        (False, 2_001, [{"share": 0.5, "widening": 1.0}], FilterPlan(True)),
        (False, 60_000, None, FilterPlan(False, 16.0)),
        (False, 9_000, None, FilterPlan(True)),
    ],
)
def test_a_plan_is_that_of_the_next_narrower_filter_measured(
    exact_kind: bool, passing: int, measured: list | None, plan: FilterPlan
) -> None:
    assert plan_filter(exact_kind, 100_000, passing, measured) == plan


def test_a_plan_names_its_execution() -> None:
    assert [FilterPlan(True).execution, FilterPlan(False, 2).execution] == ["scan", "masked"]


def clustered(count: int) -> np.ndarray:
    """Forty clusters, so that a list or a neighbourhood can lie wholly outside a filter."""
    random = np.random.default_rng(0)
    centres = random.standard_normal((40, 16))
    vectors = (centres[np.arange(count) % 40] + 0.3 * random.standard_normal((count, 16))).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def made(kind: str, vectors: np.ndarray) -> VectorIndex:
    index = faiss.index_factory(16, kind, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    if isinstance(index, faiss.IndexIVF):
        index.make_direct_map()
    return VectorIndex(index)


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("share", [0.5, 0.2, 0.02, 0.002])
def test_the_best_that_pass_are_returned(kind: str, share: float) -> None:
    vectors = clustered(4000)
    index = made(kind, vectors)
    stored = index.vectors(np.arange(4000))
    allowed = np.random.default_rng(1).random(4000) < share
    queries = clustered(4000)[:20]
    rows, scores = index.search(queries, 10, allowed, exact=True)
    exact = np.where(allowed, queries @ stored.T, -np.inf)
    best = -np.sort(-exact, axis=1)[:, :10]
    np.testing.assert_allclose(scores[np.isfinite(best)], best[np.isfinite(best)], atol=1e-4)
    planned, _ = index.search(queries, 10, allowed)
    for answer in (rows, planned):
        assert allowed[answer[answer >= 0]].all()
        assert ((answer >= 0).sum(axis=1) == min(10, allowed.sum())).all()


@pytest.mark.parametrize("kind", ["IVF32,SQfp16", "HNSW16,SQfp16"])
def test_a_filter_far_from_the_query_still_fills_the_answer(kind: str) -> None:
    """The products that pass are in clusters that a search of the query's neighbourhood never visits."""
    vectors = clustered(10_000)
    index = VectorIndex(made(kind, vectors).inner, [{"share": 0.0, "widening": 1.0}])
    similar = vectors @ vectors[0]
    allowed = similar < np.quantile(similar, 0.3)
    assert (index.search_wider(vectors[:1], 10, allowed, 1.0)[0] < 0).any(), "the first search comes short"
    rows, scores = index.search(vectors[:1], 10, allowed)
    assert allowed[rows].all()
    np.testing.assert_allclose(scores[0], -np.sort(-similar[allowed])[:10], atol=2e-3)


@pytest.mark.parametrize("kind", _KINDS)
def test_an_exact_search_of_any_kind_scores_every_vector(kind: str) -> None:
    vectors = clustered(2000)
    index = made(kind, vectors)
    queries = clustered(2000)[:5]
    _, scores = index.search(queries, 50, exact=True)
    np.testing.assert_allclose(scores, -np.sort(-(queries @ index.vectors(np.arange(2000)).T))[:, :50], atol=1e-4)
