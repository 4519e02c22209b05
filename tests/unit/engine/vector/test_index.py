"""The index against brute force in numpy."""

import threading

import faiss
import numpy as np
import pytest

from core.errors import ReleaseError
from engine.vector.index import VectorIndex, use_one_thread


def unit(count: int, dimensions: int = 16, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, dimensions)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def flat(tmp_path):
    vectors = unit(500)
    index = faiss.IndexFlatIP(16)
    index.add(vectors)
    path = tmp_path / "index.faiss"
    faiss.write_index(index, str(path))
    return vectors, path


def test_finds_what_brute_force_finds(flat):
    vectors, path = flat
    queries = unit(7, seed=1)
    rows, scores = VectorIndex.open(path, {}).search(queries, 5)
    exact = queries @ vectors.T
    expected = np.argsort(-exact, axis=1, kind="stable")[:, :5]
    assert (rows == expected).all()
    np.testing.assert_allclose(scores, np.take_along_axis(exact, expected, 1), atol=1e-6)


def test_k_beyond_the_count_gives_every_row_once(flat):
    vectors, path = flat
    rows, scores = VectorIndex.open(path, {}).search(vectors[:1], 10_000)
    assert sorted(rows[0].tolist()) == list(range(500))
    assert scores.shape == (1, 500)


def test_equal_scores_stand_in_the_order_of_rows(tmp_path):
    same = np.repeat(unit(1), 6, axis=0)
    index = faiss.IndexFlatIP(16)
    index.add(same)
    faiss.write_index(index, str(tmp_path / "index.faiss"))
    rows, _ = VectorIndex.open(tmp_path / "index.faiss", {}).search(same[:1], 6)
    assert rows[0].tolist() == [0, 1, 2, 3, 4, 5]


def test_search_settings_of_the_report_are_set(tmp_path):
    vectors = unit(2000)
    index = faiss.index_factory(16, "IVF32,Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    faiss.write_index(index, str(tmp_path / "index.faiss"))
    queries = unit(20, seed=2)
    exact = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]

    def recall(nprobe: int) -> float:
        rows, _ = VectorIndex.open(tmp_path / "index.faiss", {"settings": {"nprobe": nprobe}}).search(queries, 10)
        return float(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(rows, exact, strict=True)]))

    assert recall(32) == 1.0
    assert recall(1) < 0.9


def test_threads_share_one_index(flat):
    vectors, path = flat
    index = VectorIndex.open(path, {})
    expected, _ = index.search(vectors[:50], 5)
    wrong = []

    def work() -> None:
        use_one_thread()
        for _ in range(20):
            rows, _ = index.search(vectors[:50], 5)
            if not (rows == expected).all():
                wrong.append(rows)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("content", [b"", b"not an index", b"IxSQ" + bytes(40)])
def test_a_file_that_is_no_index_is_one_line(tmp_path, content):
    path = tmp_path / "index.faiss"
    path.write_bytes(content)
    with pytest.raises(ReleaseError) as error:
        VectorIndex.open(path, {})
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_an_index_over_distances_is_refused(tmp_path):
    index = faiss.IndexFlatL2(16)
    index.add(unit(3))
    faiss.write_index(index, str(tmp_path / "index.faiss"))
    with pytest.raises(ReleaseError, match="another metric"):
        VectorIndex.open(tmp_path / "index.faiss", {})


def _built(kind: str, vectors: np.ndarray) -> faiss.Index:
    index = faiss.index_factory(vectors.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    return index


@pytest.mark.parametrize("kind", ["Flat", "SQfp16", "SQ8", "HNSW8,SQfp16", "IVF4,SQfp16", "IVF4,SQ8"])
def test_rows_are_scored_as_a_search_that_finds_them_scores_them(tmp_path, kind):
    faiss.write_index(_built(kind, unit(300)), str(tmp_path / "index.faiss"))
    index = VectorIndex.open(tmp_path / "index.faiss", {"settings": {"nprobe": 4} if "IVF" in kind else {}})
    queries = unit(1, seed=3)
    [rows], [scores] = index.search(queries, 20)
    given = np.sort(rows)
    np.testing.assert_allclose(index.similarities(queries[0], given), scores[np.argsort(rows)], atol=1e-5)
    assert index.similarities(queries[0], np.zeros(0, np.int64)).shape == (0,)


@pytest.mark.parametrize("kind", ["SQfp16", "IVF16,SQ8"])
def test_faiss_searches_each_kind_under_a_filter(kind):
    vectors = unit(4000)
    index = _built(kind, vectors)
    allowed = faiss.IDSelectorBatch(np.arange(0, 4000, 7))
    asked = faiss.SearchParameters(sel=allowed)
    if "IVF" in kind:
        asked = faiss.SearchParametersIVF(sel=allowed, nprobe=16)
    queries = unit(10, seed=2)
    rows = index.search(queries, 10, params=asked)[1]
    expected = 7 * np.argsort(-(queries @ vectors[::7].T), axis=1)[:, :10]
    assert (rows % 7 == 0).all()
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(rows, expected, strict=True)]) > 0.9
