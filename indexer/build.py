"""Builds the vector index: exact while that is fast, else the fastest kind that finds what exact search finds.

Kinds: `ivf_fp16` and `ivf_sq8` keep vectors in lists and scan those nearest to the query, `ivf_pq` codes of two bits a
dimension in their place; `hnsw_fp16` is a graph.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from core.errors import ReleaseError
from core.progress import Report, ignore
from engine.vector.index import apply_settings
from indexer.work import write_index

EXACT = "exact_fp16"
_CHUNK = 65_536
_TIMED_QUERIES = 64
_TIE = 1e-6
_TRAINING_PER_LIST = 64
_CONFIDENCE = 1.645  # standard errors: 19 of 20 other samples of such queries find more
_HNSW_LINKS = 32
# Bytes of product quantisation that FAISS knows on a GPU, the most first.
_PQ_LEAST = 2_560
_PQ_BYTES = (96, 64, 56, 48, 40, 32, 28, 24, 20, 16, 12, 8, 4, 3, 2, 1)
_HNSW_MOST = 200_000  # beyond, two cores take longer to link the graph than a nightly job has

_HALF, _EIGHT, _INNER = faiss.ScalarQuantizer.QT_fp16, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT

Vectors = NDArray[np.float16] | NDArray[np.float32]


class IndexSettings(BaseModel):
    """How an index is chosen. `kind` forces one and leaves only its search settings to be measured.

    An approximate kind has to find `recall_target` of what exact search finds, not on the held-out queries alone but,
    by their spread, on others like them. No further kind is tried that would take the build beyond `build_seconds`, if
    it takes as long as the one before.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    recall_target: float = Field(
        default=0.98,
        ge=0.5,
        le=1,
        description="Recall@k against exact search that an approximate index has to reach, at the lower bound.",
    )
    k: int = Field(default=100, ge=1, le=1000, description="Products of a query that recall counts.")
    exact_budget_ms: float = Field(
        default=10.0, ge=0, description="Milliseconds of a query below which search stays exact."
    )
    kind: str | None = Field(
        default=None,
        pattern="^(exact_fp16|ivf_fp16|ivf_sq8|ivf_pq|hnsw_fp16)$",
        description=(
            "Kind of index, as `tandem index --index-kind` lists them; none: the fastest that reaches the target."
        ),
    )
    build_seconds: float = Field(default=1800.0, ge=0, description="Seconds after which no further kind is tried.")
    seed: int = Field(default=0, description="Seed of all random choices.")


class Tried(BaseModel):
    """One kind and setting that was measured. Latency is the median of single queries on one thread.

    `recall_low` is the lower bound that the target is held against.
    """

    kind: str
    settings: dict[str, int]
    recall_at_100: float
    recall_low: float
    latency_ms: float


class IndexReport(BaseModel):
    """What was built and what was seen on the way; the manifest keeps it.

    Who serves it maps `file_bytes`, which processes share, and takes `private_bytes` of memory of its own.
    """

    kind: str = Field(description="Kind of the index.")
    settings: dict[str, int] = Field(description="Search settings of the kind, such as nprobe.")
    count: int = Field(description="Number of vectors.")
    dimensions: int = Field(description="Dimensions of a vector.")
    recall_at_100: float = Field(description="Mean recall@100 of held-out queries against exact search, 0 to 1.")
    latency_ms: float = Field(description="Median latency of a single query on one thread, in milliseconds.")
    exact_latency_ms: float = Field(description="The same of exact search, in milliseconds.")
    queries: int = Field(description="Held-out queries that were measured.")
    file_bytes: int = Field(description="Size of the index file, which serving maps and processes share, in bytes.")
    private_bytes: int = Field(description="Memory of its own that a serving process needs, in bytes.")
    build_seconds: float = Field(description="Seconds that building took.")
    tried: list[Tried] = Field(description="Every kind and setting that was measured, with its recall and latency.")


@dataclass(frozen=True, slots=True)
class _Truth:
    """What exact search finds: the k-th best score of each query, of which `k` are at least that good."""

    queries: NDArray[np.float32]
    kth: NDArray[np.float32]
    k: int

    def recalls(self, vectors: Vectors, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Each query's share found of the k best, counting by score: a product as good as the k-th is as right."""
        shares = np.zeros(len(self.queries))
        for place, (query, kth, line) in enumerate(zip(self.queries, self.kth, rows, strict=True)):
            line = line[line >= 0]
            scores = vectors[np.sort(line)].astype(np.float32) @ query
            shares[place] = (scores >= kth - _TIE).sum() / self.k
        return shares


def build_index(
    vectors: Vectors,
    queries: NDArray[np.float32],
    output: Path,
    settings: IndexSettings | None = None,
    report: Report = ignore,
) -> IndexReport:
    """Builds and writes the index of unit vectors of shape (n, d); `queries`, shape (q, d), are held-out ones.

    The exact kind scans half-precision vectors. Memory stays at one index and a chunk of vectors: the best so far is
    on disk.
    Raises ReleaseError when there is nothing to index, or the kind asked for finds too little.
    """
    settings = settings or IndexSettings()
    if not len(vectors) or not len(queries):
        raise ReleaseError(f"{len(vectors)} products and {len(queries)} held-out queries: an index needs both")
    start = time.monotonic()
    candidates = _candidates(len(vectors), settings)
    total = len(vectors) * (1 + len(candidates))
    exact = _filled(faiss.IndexScalarQuantizer(vectors.shape[1], _HALF, _INNER), vectors, 0, total, report)
    k = min(settings.k, len(vectors))
    truth = _truth(exact, queries, k)
    exact_ms = _latency(exact, queries, k)
    write_index(exact, output)
    del exact
    best = Tried(kind=EXACT, settings={}, recall_at_100=1.0, recall_low=1.0, latency_ms=exact_ms)
    tried, private = [best], 0
    if settings.kind != EXACT and (settings.kind or exact_ms > settings.exact_budget_ms):
        coarse = faiss.IndexFlatIP(vectors.shape[1])  # of all IVF kinds: the first one trains it
        for number, (kind, made) in enumerate(candidates, 1):
            began = time.monotonic()
            index = _new(kind, vectors.shape[1], made, coarse)
            _train(index, vectors, made, settings.seed)
            _filled(index, vectors, number * len(vectors), total, report)
            swept = list(_sweep(index, kind, made, vectors, truth))
            tried += swept
            fit = [entry for entry in swept if entry.recall_low >= settings.recall_target]
            fastest = min(fit, key=lambda entry: entry.latency_ms, default=None)
            if fastest and (settings.kind == kind or fastest.latency_ms < best.latency_ms):
                best, private = fastest, _private_bytes(index)
                write_index(index, output)
            now = time.monotonic()
            if now - start + (now - began) > settings.build_seconds:
                break
    if best.kind != (settings.kind or best.kind):
        found = max(entry.recall_low for entry in tried[1:])
        raise ReleaseError(
            f"{settings.kind} surely finds {found:.3f} of what exact search finds, under {settings.recall_target}; "
            "take another --index-kind or a lower --recall-target"
        )
    report(total, total)
    return IndexReport(
        kind=best.kind,
        settings=best.settings,
        count=len(vectors),
        dimensions=vectors.shape[1],
        recall_at_100=best.recall_at_100,
        latency_ms=best.latency_ms,
        exact_latency_ms=exact_ms,
        queries=len(queries),
        file_bytes=output.stat().st_size,
        private_bytes=private,
        build_seconds=round(time.monotonic() - start, 2),
        tried=tried,
    )


def _candidates(count: int, settings: IndexSettings) -> list[tuple[str, dict[str, int]]]:
    """Kinds worth trying for so many vectors, with what they are made with."""
    lists = {"nlist": int(np.clip(4 * np.sqrt(count), 1, max(1, count // 39)))}
    kinds = [("ivf_fp16", lists), ("ivf_sq8", lists)]
    if settings.kind == "ivf_pq":  # only if asked for: what it saves is memory, which is not weighed here
        if count < _PQ_LEAST:
            raise ReleaseError(
                f"ivf_pq learns its codes of {_PQ_LEAST} products or more, not {count}; index them exactly"
            )
        kinds.append(("ivf_pq", lists))
    if count <= _HNSW_MOST or settings.kind == "hnsw_fp16":
        kinds.append(("hnsw_fp16", {"links": _HNSW_LINKS}))
    return [(kind, made) for kind, made in kinds if settings.kind in (None, kind)]


def _new(kind: str, dimensions: int, made: dict[str, int], coarse: faiss.Index) -> faiss.Index:
    if kind == "hnsw_fp16":
        return faiss.IndexHNSWSQ(dimensions, _HALF, made["links"], _INNER)  # type: ignore[arg-type]
    if kind == "ivf_pq":
        return faiss.IndexIVFPQ(coarse, dimensions, made["nlist"], pq_bytes(dimensions), 8, _INNER)
    return faiss.IndexIVFScalarQuantizer(
        coarse, dimensions, made["nlist"], _HALF if kind == "ivf_fp16" else _EIGHT, _INNER, False
    )


def pq_bytes(dimensions: int) -> int:
    """Into how many parts a vector is cut, a byte each: a quarter of its dimensions, or the next that divide it."""
    return next(count for count in _PQ_BYTES if dimensions % count == 0 and count <= max(1, dimensions // 4))


def _train(index: faiss.Index, vectors: Vectors, made: dict[str, int], seed: int) -> None:
    """Trains on a sample; the seed makes the same index of the same vectors."""
    wanted = min(len(vectors), _TRAINING_PER_LIST * made.get("nlist", 16))
    rows = np.sort(np.random.default_rng(seed).choice(len(vectors), wanted, replace=False))
    if isinstance(index, faiss.IndexIVF):
        index.cp.seed = seed + 1
        index.cp.spherical = True
        index.cp.min_points_per_centroid = 1  # else FAISS complains of small catalogs on stderr
    index.train(vectors[rows].astype(np.float32))


def _filled(index: faiss.Index, vectors: Vectors, done: int, total: int, report: Report) -> faiss.Index:
    if not index.is_trained:
        index.train(np.zeros((1, vectors.shape[1]), np.float32))
    for chunk in _chunks(vectors):
        index.add(chunk)
        done += len(chunk)
        report(done, total)
    return index


def _chunks(vectors: Vectors) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(vectors), _CHUNK):
        yield np.ascontiguousarray(vectors[start : start + _CHUNK], np.float32)


def _truth(exact: faiss.Index, queries: NDArray[np.float32], k: int) -> _Truth:
    scores, _ = exact.search(np.ascontiguousarray(queries, np.float32), k)
    return _Truth(queries, scores[:, -1], k)


def _sweep(index: faiss.Index, kind: str, made: dict[str, int], vectors: Vectors, truth: _Truth) -> Iterator[Tried]:
    """Measures ever wider searches until nearly everything is found."""
    name, values = _widths(kind, made)
    for value in values:
        apply_settings(index, {name: value})
        rows = index.search(np.ascontiguousarray(truth.queries, np.float32), truth.k)[1]
        shares = truth.recalls(vectors, rows)
        recall = float(shares.mean())
        yield Tried(
            kind=kind,
            settings={**made, name: value},
            recall_at_100=recall,
            recall_low=max(0.0, recall - _CONFIDENCE * float(shares.std()) / len(shares) ** 0.5),
            latency_ms=_latency(index, truth.queries, truth.k),
        )
        if recall >= 0.999:
            return


def _widths(kind: str, made: dict[str, int]) -> tuple[str, list[int]]:
    if kind == "hnsw_fp16":
        return "ef_search", [128, 192, 256, 384, 512, 768]
    lists = made["nlist"]  # all of them are searched last, so that few products have a width too
    return "nprobe", [n for n in (2, 4, 8, 16, 32, 48, 64, 96, 128, 192, 256, 384) if n < lists] + [min(lists, 384)]


def _private_bytes(index: faiss.Index) -> int:
    """What is made beside the mapped file: the map from rows to places in lists, by which rows are looked up."""
    return 8 * int(index.ntotal) if isinstance(index, faiss.IndexIVF) else 0


def _latency(index: faiss.Index, queries: NDArray[np.float32], k: int) -> float:
    """The median milliseconds of one query on one thread."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        times = []
        for i in range(min(_TIMED_QUERIES, len(queries))):
            query = np.ascontiguousarray(queries[i : i + 1], np.float32)
            start = time.perf_counter()
            index.search(query, k)
            times.append(time.perf_counter() - start)
        return round(float(np.median(times)) * 1000, 3)
    finally:
        faiss.omp_set_num_threads(threads)
