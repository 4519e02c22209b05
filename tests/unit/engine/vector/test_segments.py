"""Vector search through a view of several segments, by hand; and filters of each kind of index."""

from pathlib import Path

import faiss
import numpy as np
import pytest
from builders import product, write_columns
from segments import vector_index

from catalog.segment import Segment, make_segment
from catalog.table import ProductTable
from catalog.view import CatalogView
from engine.vector.index import VectorIndex
from engine.vector.segments import score_view_rows, search_view

# On a half circle: the cosine with (1, 0) falls from row to row of the base, and fresh ones lie between.
_BASE, _FIRST, _SECOND = [0.0, 0.4, 0.8, 1.2], [0.2, 1.0], [0.8]


def circle(angles: list[float]) -> np.ndarray:
    return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


def segment(folder: Path, name: str, angles: list[float], vectors: bool = True) -> Segment:
    rows = [product(f"{name}{i}") for i in range(len(angles))]
    table = ProductTable(write_columns(folder / f"{name}.arrow", rows))
    return make_segment(table, vectors=vector_index(circle(angles)) if vectors else None)


def view_of(folder: Path, deleted: list[int] = []) -> CatalogView:  # noqa: B006
    fresh = [segment(folder, "b", _FIRST), segment(folder, "c", _SECOND)]
    mask = np.isin(np.arange(7), deleted) if deleted else None
    return CatalogView(segment(folder, "a", _BASE, vectors=False), fresh, mask, revision=1)


@pytest.mark.parametrize(
    ("deleted", "k", "expected"),
    [
        ([], 7, [0, 4, 1, 2, 6, 5, 3]),  # rows 2 and 6 are equal: the lower one is first
        ([], 3, [0, 4, 1]),
        ([0, 6], 3, [4, 1, 2]),
        ([4, 5], 9, [0, 1, 2, 6, 3]),  # a segment without products left
        (list(range(7)), 2, []),
    ],
)
def test_segments_are_merged_by_score(tmp_path: Path, deleted: list[int], k: int, expected: list[int]) -> None:
    base = vector_index(circle(_BASE))
    rows, scores = search_view(base, view_of(tmp_path, deleted), circle([0.0, 0.0]), k)
    assert [[row for row in line if row >= 0] for line in rows.tolist()] == [expected] * 2
    angles = np.array([*_BASE, *_FIRST, *_SECOND])
    kept = rows[0] >= 0
    np.testing.assert_allclose(scores[0][kept], np.cos(angles[rows[0][kept]]), atol=1e-6)
    assert (rows[0][~kept] == -1).all() and not kept[len(expected) :].any()


def test_rows_of_all_segments_are_scored_in_the_order_asked_for(tmp_path: Path) -> None:
    rows = np.array([6, 0, 5, 3, 4])
    scores = score_view_rows(vector_index(circle(_BASE)), view_of(tmp_path, [0]), circle([0.2])[0], rows)
    np.testing.assert_allclose(scores, np.cos(np.array([0.8, 0.0, 1.0, 1.2, 0.2]) - 0.2), atol=1e-6)
    assert score_view_rows(vector_index(circle(_BASE)), view_of(tmp_path), circle([0.2])[0], rows[:0]).shape == (0,)


class Counting(VectorIndex):
    """Notes with which masks it is searched."""

    masks: tuple = ()

    def search(self, vectors, k, allowed=None, exact=False):
        self.masks += (allowed,)
        return super().search(vectors, k, allowed, exact)


def test_the_base_alone_is_searched_as_without_a_view(tmp_path: Path) -> None:
    index = Counting(vector_index(circle(_BASE)).inner)
    alone = CatalogView(segment(tmp_path, "a", _BASE, vectors=False))
    for view in (None, alone):
        assert search_view(index, view, circle([0.9]), 2)[0].tolist() == [[2, 3]]
    assert index.masks == (None, None)


@pytest.mark.parametrize("kind", ["Flat", "SQfp16", "IVF8,Flat", "HNSW16,SQfp16", "IVF8,SQfp16"])
def test_each_kind_of_index_searches_among_the_rows_of_a_mask(kind: str) -> None:
    random = np.random.default_rng(0)
    vectors = random.standard_normal((600, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = faiss.index_factory(16, kind, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    if isinstance(index, faiss.IndexIVF):
        index.nprobe = 8  # all of them: exact
    if isinstance(index, faiss.IndexHNSW):
        index.hnsw.efSearch = 400
    allowed = random.random(600) < 0.3
    rows, _ = VectorIndex(index).search(vectors[:20], 10, allowed)
    assert allowed[rows].all()
    exact = np.where(allowed, vectors[:20] @ vectors.T, -np.inf)
    overlap = [len({*line} & {*best}) for line, best in zip(rows, np.argsort(-exact, 1)[:, :10], strict=True)]
    assert np.mean(overlap) > 9.5
    few = np.isin(np.arange(600), [3, 500])
    rows, _ = VectorIndex(index).search(vectors[:1], 10, few)
    assert sorted(rows[0].tolist()) == [-1] * 8 + [3, 500]


@pytest.mark.parametrize("near", [False, True])
@pytest.mark.parametrize("kind", ["SQfp16", "HNSW16,SQfp16", "IVF8,SQfp16"])
def test_an_index_is_searched_past_deleted_products(tmp_path: Path, kind: str, near: bool) -> None:
    """Few are deleted, here and there or all around the query: none of them comes, and k others do."""
    random = np.random.default_rng(0)
    vectors = random.standard_normal((600, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = faiss.index_factory(16, kind, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    if isinstance(index, faiss.IndexIVF):
        index.nprobe = 8
    if isinstance(index, faiss.IndexHNSW):
        index.hnsw.efSearch = 400
    order = np.argsort(-(vectors @ vectors[0]))
    deleted = np.isin(np.arange(600), order[:50] if near else random.choice(600, 50, replace=False))
    rows = [product(f"p{i}") for i in range(600)]
    base = make_segment(ProductTable(write_columns(tmp_path / "a.arrow", rows)))
    counting = Counting(index)
    view = CatalogView(base, [segment(tmp_path, "b", [])], deleted)
    result, scores = search_view(counting, view, vectors[:1], 10)
    expected = [row for row in order.tolist() if not deleted[row]][:10]
    assert result.shape == (1, 10) and len({*result[0].tolist()} & {*expected}) >= 9
    assert [mask is None for mask in counting.masks] == ([True, False] if near else [True])
    np.testing.assert_allclose(scores[0], vectors[result[0]] @ vectors[0], atol=2e-3)
