"""Search on every device there is against brute force in numpy: filters, ties, shards and replicas, and wrong answers.

FAISS copies to a GPU are stood in for by FAISS's own index, where there is none: it knows no filter either.
"""

from pathlib import Path

import faiss
import numpy as np
import pytest
import torch

from core.errors import ReleaseError
from engine.gpu import index as gpu_index
from engine.gpu.clone import FaissClone
from engine.gpu.exact import ExactSearch, Mask, SearchResult
from engine.gpu.index import FilteredSearcher, GpuIndex, copy_to_gpus, exact_index
from engine.protocol import EngineError
from engine.vector.index import VectorIndex

COUNT, DIMENSIONS = 5_003, 48  # no whole number of groups or chunks


def unit(count: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, DIMENSIONS)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float16).astype(np.float32)


VECTORS, QUERIES = unit(COUNT, 0), unit(37, 1)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> VectorIndex:
    made = faiss.IndexScalarQuantizer(DIMENSIONS, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    made.train(VECTORS)
    made.add(VECTORS)
    path: Path = tmp_path_factory.mktemp("index") / "index.faiss"
    faiss.write_index(made, str(path))
    return VectorIndex.open(path, {})


def masks() -> dict[str, Mask | None]:
    """From everything to nothing; one allows what is found last without it."""
    random = np.random.default_rng(2)
    order = np.argsort(np.argsort(QUERIES[0] @ VECTORS.T))
    return {
        "none": None,
        "all": np.ones(COUNT, bool),
        "most": random.random(COUNT) < 0.9,
        "a tenth": random.random(COUNT) < 0.1,
        "few": random.random(COUNT) < 0.005,
        "the worst": order < 30,
        "the worse half": order < COUNT // 2,
        "one": np.arange(COUNT) == 4_999,
        "nothing": np.zeros(COUNT, bool),
    }


def brute_force(k: int, allowed: Mask | None) -> SearchResult:
    scores = QUERIES @ VECTORS.T
    if allowed is not None:
        scores[:, ~allowed] = -np.inf
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(scores, rows, 1)
    return np.where(np.isfinite(best), rows, -1), best


def searched(index: VectorIndex, kind: str, device: str) -> GpuIndex:
    if kind == "faiss":
        copy = FaissClone.to_devices(index.inner, [0], "replica") if device == "cuda" else FaissClone(index.inner, 2048)
        return GpuIndex(index, FilteredSearcher(index, copy))
    devices = {"one": [device], "replicas": [device] * 3, "shards": [device] * 3}[kind]
    return GpuIndex(
        index,
        ExactSearch(index.between, COUNT, DIMENSIONS, devices, "shard" if kind == "shards" else "replica", chunk=1_000),
    )


@pytest.mark.parametrize("name", masks())
@pytest.mark.parametrize("kind", ["faiss", "one", "replicas", "shards"])
def test_finds_what_brute_force_finds(index: VectorIndex, device: str, kind: str, name: str) -> None:
    if kind == "faiss" and device == "cuda" and not faiss.get_num_gpus():
        pytest.skip("this FAISS has no GPU")
    allowed = masks()[name]
    rows, scores = searched(index, kind, device).search(QUERIES, 40, allowed)
    exact_rows, exact_scores = brute_force(40, allowed)
    assert rows.dtype == np.int64 and scores.dtype == np.float32 and rows.shape == (len(QUERIES), 40)
    np.testing.assert_allclose(scores, exact_scores, atol=2e-3 if kind == "faiss" else 1e-5)
    if kind != "faiss":  # whose queries are rounded to half precision
        np.testing.assert_array_equal(rows, exact_rows)
    assert ((rows >= 0) == (exact_rows >= 0)).all()


def test_one_query_or_fewer_than_devices(index: VectorIndex, device: str) -> None:
    replicas = searched(index, "replicas", device)
    np.testing.assert_array_equal(replicas.search(QUERIES[:1], 5)[0], brute_force(5, None)[0][:1])
    np.testing.assert_array_equal(replicas.search(QUERIES[:2], 5)[0], brute_force(5, None)[0][:2])


def test_all_products_can_be_asked_for(index: VectorIndex, device: str) -> None:
    rows, _ = searched(index, "one", device).search(QUERIES[:2], COUNT + 1)
    assert [sorted(line) for line in rows.tolist()] == [list(range(COUNT))] * 2


def test_many_queries_at_great_k_are_gathered_in_parts(
    index: VectorIndex, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.gpu.exact._GATHERED_BYTES", 1)
    np.testing.assert_array_equal(searched(index, "one", device).search(QUERIES, 9)[0], brute_force(9, None)[0])


def test_equal_scores_stand_in_the_order_of_rows(device: str) -> None:
    same = faiss.IndexScalarQuantizer(DIMENSIONS, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    same.train(VECTORS)
    same.add(np.repeat(VECTORS[:1], 6, axis=0))
    rows, _ = exact_index(VectorIndex(same), [device]).search(VECTORS[:1], 6)
    assert rows[0].tolist() == [0, 1, 2, 3, 4, 5]


def test_rows_are_scored_as_a_search_that_finds_them_scores_them(index: VectorIndex, device: str) -> None:
    on_device = searched(index, "one", device)
    [rows], [scores] = on_device.search(QUERIES[:1], 20)
    np.testing.assert_allclose(on_device.similarities(QUERIES[0], rows), scores, atol=1e-5)


@pytest.mark.parametrize(("row", "message"), [(7, "the filter leaves out"), (COUNT, "found row 5003 of 5003")])
def test_an_answer_that_breaks_the_filter_does_not_leave(index: VectorIndex, row: int, message: str) -> None:
    class Blind:
        def search(self, queries: np.ndarray, k: int, allowed: Mask | None) -> SearchResult:
            return np.full((len(queries), k), row), np.ones((len(queries), k), np.float32)

    with pytest.raises(EngineError, match=message):
        GpuIndex(index, Blind()).search(QUERIES, 3, np.arange(COUNT) != 7)


def test_widening_asks_no_more_than_faiss_can_find(index: VectorIndex) -> None:
    class WatchedClone(FaissClone):
        asked: list[int] = []  # noqa: RUF012

        def search(self, queries: np.ndarray, k: int) -> SearchResult:
            self.asked.append(k)
            return super().search(queries, k)

    filtering = FilteredSearcher(index, WatchedClone(index.inner, 100))
    exact = brute_force(20, masks()["a tenth"])
    _, scores = filtering.search(QUERIES, 20, masks()["a tenth"])  # would take 300
    np.testing.assert_allclose(scores, exact[1], atol=1e-5)
    filtering.search(QUERIES, 20, masks()["most"])
    assert WatchedClone.asked == [34]  # 20 * 1.5 / .9, rounded up


def test_an_approximate_index_needs_faiss_on_a_gpu(device: str) -> None:
    made = faiss.index_factory(DIMENSIONS, "IVF4,SQ8", faiss.METRIC_INNER_PRODUCT)
    made.train(VECTORS)
    made.add(VECTORS)
    with pytest.raises(ReleaseError, match="install faiss-gpu"):
        exact_index(VectorIndex(made), [device])


def test_more_gpus_than_there_are_is_one_line(index: VectorIndex) -> None:
    with pytest.raises(ReleaseError, match=f"torch detects {torch.cuda.device_count()}; set `gpus`"):
        copy_to_gpus(index, gpus=64)


def test_an_index_beyond_memory_is_told_before_it_is_copied(
    index: VectorIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2 << 30, 80 << 30))
    with pytest.raises(ReleaseError, match=r"needs 2\.0 GiB of a GPU that has 2\.0 free.*ivf_pq.*shards"):
        copy_to_gpus(index)
    monkeypatch.setattr(gpu_index, "_SPARE_BYTES", (2 << 30) - COUNT * DIMENSIONS * 2 + 1)
    monkeypatch.setattr(gpu_index, "exact_index", lambda *given: given[1:])
    with pytest.raises(ReleaseError, match="needs"):
        copy_to_gpus(index, 2, "replica", "torch")
    assert copy_to_gpus(index, 2, "shard", "torch") == (["cuda:0", "cuda:1"], "shard")


def test_who_searches_is_chosen_by_what_there_is(index: VectorIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (80 << 30, 80 << 30))
    monkeypatch.setattr(gpu_index, "exact_index", lambda *given: "torch")
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    assert copy_to_gpus(index) == "torch"
    with pytest.raises(ReleaseError, match="this FAISS sees 0 GPUs: install faiss-gpu"):
        copy_to_gpus(index, library="faiss")
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(FaissClone, "to_devices", lambda index, *_: FaissClone(index))
    assert isinstance(copy_to_gpus(index)._searcher, FilteredSearcher)
    assert copy_to_gpus(index, library="torch") == "torch"

    def unknown(*_: object) -> FaissClone:
        raise ReleaseError("IndexScalarQuantizer cannot be searched on a GPU")

    monkeypatch.setattr(FaissClone, "to_devices", unknown)
    assert copy_to_gpus(index) == "torch"
    with pytest.raises(ReleaseError, match="cannot be searched on a GPU"):
        copy_to_gpus(index, library="faiss")
