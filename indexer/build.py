"""Builds the vector index: exact while that is fast, else the fastest kind whose recall reaches the target."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from core.errors import ReleaseError
from core.progress import Report, ignore
from engine.vector.filtering import FEW_ROWS
from engine.vector.index import VectorIndex, apply_settings
from indexer.index_kinds import (
    EXACT,
    Parameters,
    Vectors,
    candidate_kinds,
    fill_index,
    make_exact,
    make_index,
    private_bytes,
    search_settings,
    train_index,
)
from indexer.work import write_index

_TIMED_QUERIES = 64
_TIE = 1e-6
_CONFIDENCE = 1.645  # standard errors of a one-sided 95% bound
_FULL_RECALL = 0.999
# Trials of filters: shares that pass, how many times wider, products of a query, and the recall to reach.
_FILTER_SHARES = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002)
_FILTER_QUERIES = 48
_WIDENINGS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
_FILTERED, _FILTERED_RECALL = 10, 0.995
_MATCHING_SHARE, _SAMPLED_PRODUCTS, _SAMPLED_QUERIES = 0.001, 20_000, 256


class IndexSettings(BaseModel):
    """How an index is chosen. `kind` forces one and leaves only its search settings to be measured.

    The lower 95% bound of an approximate kind's recall, over held-out queries, has to reach `recall_target`. No further
    kind is tried that would take the build beyond `build_seconds`, if it takes as long as the one before.
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


class IndexTrial(BaseModel):
    """One kind and setting that was measured. Latency is the median of single queries on one thread.

    `recall_low` is the lower 95% bound of the recall, which has to reach the target.
    """

    kind: str
    settings: dict[str, int]
    recall_at_100: float
    recall_low: float
    latency_ms: float


class FilterTrial(BaseModel):
    """How a filter that a share of the products passes is searched: `widening` times as wide as without one, or, with
    none, by scoring all that pass; the latency is the median of single queries on one thread."""

    share: float
    widening: float | None
    recall_at_10: float
    latency_ms: float


class IndexReport(BaseModel):
    """The index that was built, and all that was measured; the manifest records it.

    Serving maps `file_bytes`, which processes share, and takes `private_bytes` of memory for each process.
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
    filter_plans: list[FilterTrial] | None = Field(
        default=None,
        description=(
            "How filtered searches of an approximate index run, by the share of products that pass; none of an exact "
            "one."
        ),
    )
    similarity_threshold: float | None = Field(
        default=None,
        description=(
            "Similarity that one in a thousand pairs of a held-out query and a product reaches: above it the "
            "bi-encoder counts a product as a match."
        ),
    )
    tried: list[IndexTrial] = Field(
        description="Every kind and setting that was measured, with its recall and latency."
    )


@dataclass(frozen=True, slots=True)
class _ExactResults:
    """The results of exact search: the k-th best score of each query, of which `k` are at least that good."""

    queries: NDArray[np.float32]
    kth: NDArray[np.float32]
    k: int
    latency_ms: float

    def recalls(self, vectors: Vectors, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Each query's recall of the k best, counting by score: a product as good as the k-th is as right."""
        shares = np.zeros(len(self.queries))
        for place, (query, kth, line) in enumerate(zip(self.queries, self.kth, rows, strict=True)):
            line = line[line >= 0]
            scores = vectors[np.sort(line)].astype(np.float32) @ query
            shares[place] = (scores >= kth - _TIE).sum() / self.k
        return shares


@dataclass(slots=True)
class _Choice:
    """The best index so far, which is on disk, and all trials."""

    best: IndexTrial
    trials: list[IndexTrial]
    private_bytes: int = 0


def build_index(
    vectors: Vectors,
    queries: NDArray[np.float32],
    output: Path,
    settings: IndexSettings | None = None,
    report: Report = ignore,
) -> IndexReport:
    """Builds and writes the index of unit vectors of shape (n, d); `queries`, shape (q, d), are held-out ones.

    Memory stays at one index and a chunk of vectors: the best so far is on disk.
    Raises ReleaseError when there is nothing to index, or the recall of the chosen kind is too low.
    """
    settings = settings or IndexSettings()
    if not len(vectors) or not len(queries):
        raise ReleaseError(f"{len(vectors)} products and {len(queries)} held-out queries: an index needs both")
    start = time.monotonic()
    candidates = candidate_kinds(len(vectors), settings.kind)
    total = len(vectors) * (1 + len(candidates))
    exact = _build_exact(vectors, queries, output, settings.k, lambda done, _: report(done, total))
    trial = IndexTrial(kind=EXACT, settings={}, recall_at_100=1.0, recall_low=1.0, latency_ms=exact.latency_ms)
    choice = _Choice(trial, [trial])
    if settings.kind != EXACT and (settings.kind or exact.latency_ms > settings.exact_budget_ms):
        _try_kinds(candidates, vectors, exact, output, settings, choice, start, report)
    best = choice.best
    if best.kind != (settings.kind or best.kind):
        recall = max(trial.recall_low for trial in choice.trials[1:])
        raise ReleaseError(
            f"{settings.kind}: recall@{exact.k}, lower 95% bound, is {recall:.3f}, below the target of "
            f"{settings.recall_target}; choose another --index-kind or a lower --recall-target"
        )
    report(total, total)
    return IndexReport(
        kind=best.kind,
        settings=best.settings,
        count=len(vectors),
        dimensions=vectors.shape[1],
        recall_at_100=best.recall_at_100,
        latency_ms=best.latency_ms,
        exact_latency_ms=exact.latency_ms,
        queries=len(queries),
        file_bytes=output.stat().st_size,
        private_bytes=choice.private_bytes,
        build_seconds=round(time.monotonic() - start, 2),
        filter_plans=None if best.kind == EXACT else _measure_filters(output, best, exact),
        similarity_threshold=_measure_threshold(vectors, queries, settings.seed),
        tried=choice.trials,
    )


def _build_exact(vectors: Vectors, queries: NDArray[np.float32], output: Path, k: int, report: Report) -> _ExactResults:
    """Writes the exact index, and searches it for what approximate kinds are compared with."""
    index = fill_index(make_exact(vectors.shape[1]), vectors, 0, len(vectors), report)
    k = min(k, len(vectors))
    scores, _ = index.search(np.ascontiguousarray(queries, np.float32), k)
    results = _ExactResults(queries, scores[:, -1], k, _measure_latency(index, queries, k))
    write_index(index, output)
    return results


def _try_kinds(
    candidates: list[tuple[str, Parameters]],
    vectors: Vectors,
    exact: _ExactResults,
    output: Path,
    settings: IndexSettings,
    choice: _Choice,
    start: float,
    report: Report,
) -> None:
    """Builds and measures one kind after another, and writes each that is better than the best before."""
    total = len(vectors) * (1 + len(candidates))
    coarse = faiss.IndexFlatIP(vectors.shape[1])
    for number, (kind, parameters) in enumerate(candidates, 1):
        began = time.monotonic()
        index = make_index(kind, vectors.shape[1], parameters, coarse)
        train_index(index, vectors, parameters, settings.seed)
        fill_index(index, vectors, number * len(vectors), total, report)
        trials = list(_measure_settings(index, kind, parameters, vectors, exact))
        choice.trials += trials
        passing = [trial for trial in trials if trial.recall_low >= settings.recall_target]
        fastest = min(passing, key=lambda trial: trial.latency_ms, default=None)
        if fastest and (settings.kind == kind or fastest.latency_ms < choice.best.latency_ms):
            choice.best, choice.private_bytes = fastest, private_bytes(index)
            write_index(index, output)
        now = time.monotonic()
        if now - start + (now - began) > settings.build_seconds:
            return


def _measure_settings(
    index: faiss.Index, kind: str, parameters: Parameters, vectors: Vectors, exact: _ExactResults
) -> Iterator[IndexTrial]:
    """Measures ever wider searches until recall is nearly full."""
    name, values = search_settings(kind, parameters)
    for value in values:
        apply_settings(index, {name: value})
        rows = index.search(np.ascontiguousarray(exact.queries, np.float32), exact.k)[1]
        recalls = exact.recalls(vectors, rows)
        recall = float(recalls.mean())
        yield IndexTrial(
            kind=kind,
            settings={**parameters, name: value},
            recall_at_100=recall,
            recall_low=max(0.0, recall - _CONFIDENCE * float(recalls.std()) / len(recalls) ** 0.5),
            latency_ms=_measure_latency(index, exact.queries, exact.k),
        )
        if recall >= _FULL_RECALL:
            return


def _measure_filters(output: Path, best: IndexTrial, exact: _ExactResults) -> list[FilterTrial]:
    """For filters by chance: the fastest way that reaches the recall, of ever wider searches and scoring all."""
    index = VectorIndex.open(output, {"settings": best.settings})
    generator = np.random.default_rng(0)
    queries = exact.queries[:_FILTER_QUERIES].astype(np.float32)
    with _one_thread():
        return [
            _plan_share(index, queries, share, generator.random(index.count) < share)
            for share in _FILTER_SHARES
            if share * index.count > FEW_ROWS
        ]


def _plan_share(
    index: VectorIndex, queries: NDArray[np.float32], share: float, allowed: NDArray[np.bool_]
) -> FilterTrial:
    scanned = [index.search(query[None], _FILTERED, allowed, exact=True)[1][0] for query in queries]
    latency = _median_ms([partial(index.search, query[None], _FILTERED, allowed, exact=True) for query in queries])
    for widening in _WIDENINGS:
        search = partial(index.search_wider, k=_FILTERED, allowed=allowed, widening=widening)
        wider = _median_ms([partial(search, query[None]) for query in queries])
        if wider >= latency:
            break
        scores = [search(query[None])[1][0] for query in queries]
        recall = float(
            np.mean([(retrieved >= best[-1] - _TIE).mean() for retrieved, best in zip(scores, scanned, strict=True)])
        )
        if recall >= _FILTERED_RECALL:
            return FilterTrial(share=share, widening=widening, recall_at_10=recall, latency_ms=wider)
    return FilterTrial(share=share, widening=None, recall_at_10=1.0, latency_ms=latency)


def _median_ms(calls: Sequence[Callable[[], object]]) -> float:
    return round(float(np.median([_seconds(call) for call in calls])) * 1000, 3)


def _measure_threshold(vectors: Vectors, queries: NDArray[np.float32], seed: int) -> float:
    """See `IndexReport.similarity_threshold`; of a sample of both."""
    generator = np.random.default_rng(seed)
    rows = np.sort(generator.choice(len(vectors), min(len(vectors), _SAMPLED_PRODUCTS), replace=False))
    similarities = queries[:_SAMPLED_QUERIES].astype(np.float32) @ vectors[rows].astype(np.float32).T
    return round(float(np.quantile(similarities, 1 - _MATCHING_SHARE)), 6)


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _measure_latency(index: faiss.Index, queries: NDArray[np.float32], k: int) -> float:
    """The median milliseconds of one query on one thread."""
    with _one_thread():
        times = []
        for i in range(min(_TIMED_QUERIES, len(queries))):
            query = np.ascontiguousarray(queries[i : i + 1], np.float32)
            times.append(_seconds(partial(index.search, query, k)))
        return round(float(np.median(times)) * 1000, 3)
