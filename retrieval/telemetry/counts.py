"""Counts what happens, where it happens: in this process, or in the memory that several processes share.

Each sample's place is looked up once and kept, so that counting takes one to two microseconds.
"""

from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, Summary

from engine.cache import Caches
from retrieval.pipeline.result import SearchResult
from retrieval.telemetry.names import COUNTED, Metric

_CLASSES: dict[str, Callable[..., Any]] = {"counter": Counter, "summary": Summary}
# Labels come from the program alone; a fault there must not fill the memory of whoever scrapes.
_MOST_CHILDREN = 500
_OTHER = "other"
_NOT_SOURCES = frozenset({"encode", "fuse", "prerank", "rescore", "final", "arrange", "explain"})


class Counts:
    """Every metric of `COUNTED`, ready to count."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Registers the metrics."""
        self.registry = registry
        self._metrics = {metric.name: _make(metric, registry) for metric in COUNTED}
        self._children: dict[tuple[str, ...], Any] = {}
        self._cached: dict[tuple[str, str], int] = {}

    def add(self, name: str, *labels: str, amount: float = 1.0) -> None:
        """Adds to a counter."""
        self._child(name, *labels).inc(amount)

    def observe(self, name: str, value: float, *labels: str) -> None:
        """Adds a value to a histogram or a summary."""
        self._child(name, *labels).observe(value)

    def note_answer(self, catalog: str, answer: SearchResult) -> None:
        """Counts an answer's stages, candidates, what it lacks, and its first score."""
        for stage in answer.stages:
            self.observe("tandem_stage_duration_seconds", stage.seconds, stage.name)
            if stage.name not in _NOT_SOURCES:
                self.observe("tandem_candidates", stage.candidates_out, stage.name)
        for reason in {entry.reason for entry in answer.degraded}:
            self.add("tandem_degraded_total", reason)
        if not answer.hits:
            self.add("tandem_empty_answers_total", catalog)
        elif not answer.offset and not answer.degraded:
            self.observe("tandem_top_score", answer.hits[0].score, catalog)

    def note_batch(self, call: str, size: int, waited: float, took: float) -> None:
        """Counts a batch of an engine; `waited` is how long its first item did, in seconds."""
        self.observe("tandem_engine_batch_size", size, call)
        self.observe("tandem_engine_queue_seconds", waited, call)
        self.observe("tandem_engine_batch_duration_seconds", took, call)

    def note_changes(self, outcomes: Iterable[str]) -> None:
        """Counts what became of changes."""
        for outcome in outcomes:
            self.add("tandem_changes_total", outcome)

    def read_caches(self, caches: Caches) -> None:
        """Adds what the caches counted since the last time."""
        for name, cache in (("vectors", caches.vectors), ("candidates", caches.candidates), ("scores", caches.scores)):
            counts = cache.counts
            for result, count in (("hit", counts.hits), ("miss", counts.misses), ("shared", counts.shared)):
                new = count - self._cached.get((name, result), 0)
                if new > 0:
                    self.add("tandem_cache_requests_total", name, result, amount=new)
                    self._cached[name, result] = count

    def _child(self, name: str, *labels: str) -> Any:
        key = (name, *labels)
        child = self._children.get(key)
        if child is None:
            metric = self._metrics[name]
            if len(self._children) >= _MOST_CHILDREN:
                return metric.labels(*(_OTHER for _ in labels)) if labels else metric
            child = self._children[key] = metric.labels(*labels) if labels else metric
        return child


def open_counts() -> Counts:
    """The counts of this process, in a registry of their own."""
    return Counts(CollectorRegistry())


def _make(metric: Metric, registry: CollectorRegistry) -> Any:
    if metric.kind == "histogram":
        return Histogram(metric.name, metric.help, metric.labels, registry=registry, buckets=metric.buckets)
    return _CLASSES[metric.kind](metric.name, metric.help, metric.labels, registry=registry)
