"""Rows of search: exact over all vectors, by torch and by FAISS, with and without filters; IVF-PQ by FAISS."""

import importlib
import time
from collections.abc import Callable
from functools import cache, cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.gpu_rows.bench import Bench, attempts, ceilings
from engine.gpu.exact import ExactSearch, Mask, SearchResult

_K = 100
_CHECKED = 4
_READ = 1 << 18


class Vectors:
    """Random unit vectors in half precision on this side, the same each time; made on the device."""

    def __init__(self, bench: Bench, count: int) -> None:
        self.dimensions = bench.size.shape.width
        self.half = np.empty((count, self.dimensions), np.float16)
        generator = torch.Generator(bench.device).manual_seed(0)
        for start in range(0, count, _READ):
            self.half[start : start + _READ] = self._drawn(bench, min(_READ, count - start), generator).cpu().numpy()
        self.queries = self._drawn(bench, bench.size.queries, generator).float().cpu().numpy()

    def between(self, start: int, stop: int) -> NDArray[np.float32]:
        """From one row up to another."""
        return self.half[start:stop].astype(np.float32)

    @cached_property
    def scores(self) -> NDArray[np.float32]:
        """The first queries' scores of all vectors, by numpy."""
        starts = range(0, len(self.half), _READ)
        first = self.queries[:_CHECKED]
        return np.concatenate([first @ self.between(start, start + _READ).T for start in starts], 1)

    def best(self, k: int, allowed: Mask | None = None) -> SearchResult:
        """Rows and scores of the first queries' k best, best first; row -1 where fewer are allowed."""
        scores = self.scores if allowed is None else np.where(allowed, self.scores, -np.inf).astype(np.float32)
        rows = np.argpartition(-scores, min(k, scores.shape[1] - 1), axis=1)[:, :k]
        best = np.take_along_axis(scores, rows, 1)
        order = np.argsort(-best, axis=1, kind="stable")
        rows, best = np.take_along_axis(rows, order, 1), np.take_along_axis(best, order, 1)
        return np.where(np.isfinite(best), rows, -1), best

    def _drawn(self, bench: Bench, count: int, generator: torch.Generator) -> torch.Tensor:
        normals = torch.randn(count, self.dimensions, device=bench.device, generator=generator)
        return torch.nn.functional.normalize(normals, dim=1).half()


def exact_search(bench: Bench) -> dict[str, Any]:
    """Queries/s over `size.vectors` in half precision, top 100, batches of `size.queries`, as answers on this side."""
    vectors, top = Vectors(bench, bench.size.vectors), ceilings(bench)
    count = len(vectors.half)
    random = np.random.default_rng(1)
    masks = {f"{share:g} allowed": random.random(count) < share for share in (0.5, 0.01)}
    truths = {name: vectors.best(_K, mask) for name, mask in {"all": None, **masks}.items()}

    @cache
    def searcher(chunk: int) -> ExactSearch:
        return ExactSearch(lambda a, b: vectors.half[a:b], count, vectors.dimensions, [bench.device], chunk=chunk)

    def by_torch(chunk: int, mask: str | None = None) -> dict[str, Any]:
        run = partial(searcher(chunk).search, vectors.queries, _K, masks[mask] if mask else None)
        return _summarize(bench, run, truths[mask or "all"], top, count, vectors.dimensions)

    ways: dict[str, Callable[[], dict[str, Any]]] = {}
    ways |= {f"torch, {name}": partial(by_torch, bench.size.chunks[0], name) for name in masks}
    ways |= {f"torch, chunks of {chunk}": partial(by_torch, chunk) for chunk in bench.size.chunks}
    ways["faiss, exact fp16"] = lambda: _summarize(
        bench, _faiss_flat(bench, vectors), truths["all"], top, count, vectors.dimensions
    )
    return dict(attempts(ways))


def approximate_search(bench: Bench) -> dict[str, Any]:
    """IVF-PQ by FAISS over `size.codes`: recall and queries/s by how many lists are searched.

    Random vectors have no clusters, so recall here is the least there can be: a shop's is measured by the index job.
    """
    return dict(attempts({"faiss, ivf_pq": partial(_ivf_pq, bench), "faiss, cagra": partial(_cagra, bench)}))


def _summarize(
    bench: Bench, run: Any, truth: Any, top: dict[str, float], count: int, dimensions: int
) -> dict[str, Any]:
    rows, scores = run()
    seconds = bench.seconds_each(run, warm=2)
    queries, real = bench.size.queries, np.isfinite(truth[1])
    differences = np.abs(np.sort(scores[:_CHECKED])[:, ::-1][real] - truth[1][real])
    return {
        "queries_per_s": round(queries / seconds),
        "ms_a_batch": round(1000 * seconds, 3),
        "bandwidth_share": round(count * dimensions * 2 / seconds / top["bytes_per_s"], 4),
        "matrix_rate_share": round(2 * queries * count * dimensions / seconds / top["flops_per_s"], 4),
        "found_of_exact": _share(rows, truth[0]),
        "largest_difference": float(differences.max()),
    }


def _share(rows: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    """The share of the first queries' true rows that was retrieved."""
    lines = zip(rows[:_CHECKED].tolist(), truth.tolist(), strict=True)
    pairs = [(set(retrieved), set(true) - {-1}) for retrieved, true in lines]
    return sum(len(retrieved & true) for retrieved, true in pairs) / sum(len(true) for _, true in pairs)


def _faiss_flat(bench: Bench, vectors: Vectors) -> Any:
    import faiss

    from engine.gpu.clone import FaissClone

    flat: Any
    keep: list[Any]
    kind, dimensions = faiss.METRIC_INNER_PRODUCT, vectors.dimensions
    if bench.on_gpu:  # at once: what a clone of an index in memory comes to as well
        config = faiss.GpuIndexFlatConfig()
        config.useFloat16 = True
        resources = faiss.StandardGpuResources()
        flat, keep = faiss.GpuIndexFlat(resources, dimensions, kind, config), [resources]
    else:
        flat, keep = faiss.IndexScalarQuantizer(dimensions, faiss.ScalarQuantizer.QT_fp16, kind), []
        flat.train(vectors.between(0, 1))
    for start in range(0, len(vectors.half), _READ):
        flat.add(vectors.between(start, start + _READ))
    return partial(FaissClone(flat, keep=keep).search, vectors.queries, _K)


def _ivf_pq(bench: Bench) -> dict[str, Any]:
    import faiss

    from engine.gpu.clone import FaissClone
    from indexer.index_kinds import pq_bytes

    vectors = Vectors(bench, bench.size.codes)
    codes = pq_bytes(vectors.dimensions)
    index: Any = faiss.index_factory(
        vectors.dimensions, f"IVF{bench.size.lists},PQ{codes}np", faiss.METRIC_INNER_PRODUCT
    )
    index.cp.min_points_per_centroid = 1
    start = time.monotonic()
    if bench.on_gpu:  # where lists are trained in seconds
        resources = faiss.StandardGpuResources()
        trained = faiss.index_cpu_to_gpu(resources, 0, index)
        trained.train(vectors.between(0, 64 * bench.size.lists))
        index = faiss.index_gpu_to_cpu(trained)
    else:
        index.train(vectors.between(0, 64 * bench.size.lists))
    index.add(vectors.between(0, len(vectors.half)))
    built = time.monotonic() - start
    truth = vectors.best(_K)[0]
    results: dict[str, Any] = {"bytes_a_vector": codes, "build_seconds": round(built, 1)}
    for probes in (8, 64):
        index.nprobe = probes
        copy = FaissClone.to_devices(index, [0], "replica") if bench.on_gpu else FaissClone(index)
        rows, _ = copy.search(vectors.queries, _K)
        seconds = bench.seconds_each(partial(copy.search, vectors.queries, _K), warm=2)
        results[f"{probes} lists"] = {
            "queries_per_s": round(bench.size.queries / seconds),
            "found": _share(rows, truth),
        }
    return results


def _cagra(bench: Bench) -> dict[str, Any]:
    faiss: Any = importlib.import_module("faiss")
    if not hasattr(faiss, "GpuIndexCagra"):
        return {"not_measured": "this FAISS was built without cuVS"}
    vectors = Vectors(bench, bench.size.codes)
    resources = faiss.StandardGpuResources()
    config = faiss.GpuIndexCagraConfig()
    index = faiss.GpuIndexCagra(resources, vectors.dimensions, faiss.METRIC_INNER_PRODUCT, config)
    start = time.monotonic()
    index.train(vectors.between(0, len(vectors.half)))
    built = time.monotonic() - start
    truth = vectors.best(_K)[0]
    _, rows = index.search(vectors.queries, _K)
    seconds = bench.seconds_each(lambda: index.search(vectors.queries, _K), warm=2)
    return {
        "build_seconds": round(built, 1),
        "queries_per_s": round(bench.size.queries / seconds),
        "found": _share(rows, truth),
    }
