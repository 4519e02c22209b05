"""All metrics of the service: one table. What rules, dashboards and tests refer to is checked against it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "histogram", "summary", "gauge"]
Merge = Literal["sum", "max", "min"]

# Seconds. 0.6 is the bound of the latency objective (deploy/monitoring/alerts.yaml).
_CALL_SECONDS = (0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.45, 0.6, 1.0, 2.0, 5.0)
_STAGE_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_QUEUE_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_COUNTS = (0, 1, 5, 10, 25, 50, 100, 200, 500, 1000, 5000)
_SCORES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.5, 10.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric. `merge` is how the values of several processes make one, of gauges alone: the others are summed."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: Sequence[float] = ()
    merge: Merge = "sum"


_CATALOG = ("catalog",)

COUNTED = (
    Metric("tandem_calls_total", "counter", "Calls that ended, by status code.", ("method", "code")),
    Metric("tandem_refused_total", "counter", "Calls refused before their requests were read.", ("method", "reason")),
    Metric(
        *("tandem_call_duration_seconds", "histogram", "From a call's arrival to its end."),
        ("method",),
        _CALL_SECONDS,
    ),
    Metric(
        *("tandem_stage_duration_seconds", "histogram", "What each stage of a request took."),
        ("stage",),
        _STAGE_SECONDS,
    ),
    Metric(
        *("tandem_engine_queue_seconds", "histogram", "How long the first of each batch waited for a lane."),
        ("call",),
        _QUEUE_SECONDS,
    ),
    Metric(*("tandem_engine_batch_size", "histogram", "Sequences or lookups of each batch."), ("call",), _BATCH_SIZES),
    Metric(
        *("tandem_engine_batch_duration_seconds", "histogram", "What each batch took to run."),
        ("call",),
        _STAGE_SECONDS,
    ),
    Metric("tandem_cache_requests_total", "counter", "Values asked of the caches.", ("cache", "result")),
    Metric("tandem_candidates", "histogram", "Products that each source of candidates returned.", ("source",), _COUNTS),
    Metric("tandem_degraded_total", "counter", "Answers with less than the plan asks for, by reason.", ("reason",)),
    Metric("tandem_top_score", "histogram", "Score of the first hit of whole first pages.", _CATALOG, _SCORES),
    Metric("tandem_empty_answers_total", "counter", "Answers without a hit.", _CATALOG),
    Metric("tandem_changes_total", "counter", "Changes of products, by what became of them.", ("outcome",)),
    Metric(
        *("tandem_recall_ratio", "summary", "Share of the exact nearest products that a search returned, by probes."),
        ("catalog", "selectivity"),
    ),
    Metric("tandem_recall_probes_total", "counter", "Searches chosen for a probe, by what came of it.", ("outcome",)),
    Metric("tandem_request_log_dropped_total", "counter", "Lines of the request log that were not written."),
)
"""Written where they happen, in the memory that the processes share."""

GAUGES = (
    Metric("tandem_in_flight", "gauge", "Calls at work, or whose answers are being sent.", ("priority",)),
    Metric("tandem_in_flight_limit", "gauge", "Calls that may be at work at once."),
    Metric("tandem_pressure", "gauge", "How full the service is, 0 to 1; the fullest process.", merge="max"),
    Metric("tandem_bulk_waiting", "gauge", "Searches of batches that wait for a place."),
    Metric("tandem_cache_bytes", "gauge", "Memory in use by each cache.", ("cache",)),
    Metric("tandem_release_info", "gauge", "1 for each release in service.", ("catalog", "release"), merge="max"),
    Metric(
        *("tandem_release_timestamp_seconds", "gauge", "When the release in service was published; Unix time."),
        _CATALOG,
        merge="min",
    ),
    Metric("tandem_release_products", "gauge", "Products in service.", _CATALOG, merge="min"),
    Metric("tandem_release_refused", "gauge", "1 while a published release is refused.", _CATALOG, merge="max"),
    Metric("tandem_revision", "gauge", "Last change that every process serves.", _CATALOG, merge="min"),
    Metric(
        *("tandem_revision_lag_seconds", "gauge", "How long the log has had changes that are not served yet."),
        _CATALOG,
        merge="max",
    ),
    Metric("tandem_fresh_products", "gauge", "Products in fresh segments.", _CATALOG, merge="max"),
    Metric("tandem_fresh_products_limit", "gauge", "Fresh products that a catalog may hold.", merge="min"),
    Metric(
        *("tandem_score_drift", "gauge", "Population stability index of first scores against the first ones served."),
        _CATALOG,
        merge="max",
    ),
    Metric("tandem_engine_up", "gauge", "0 while the engine of a release answers nothing.", _CATALOG, merge="min"),
    Metric(
        *("tandem_certificate_expiry_timestamp_seconds", "gauge", "When the certificate expires; Unix time."),
        merge="min",
    ),
    Metric("tandem_disk_free_bytes", "gauge", "Free on the disk of the releases.", merge="min"),
    Metric("tandem_disk_size_bytes", "gauge", "Size of the disk of the releases.", merge="min"),
    Metric("tandem_resident_memory_bytes", "gauge", "Resident memory of the serving processes."),
)
"""Sent by each process every second, and gone with it."""

SUPERVISED = (
    Metric("tandem_processes", "gauge", "Serving processes that accept calls."),
    Metric("tandem_processes_expected", "gauge", "Serving processes that ought to."),
    Metric("tandem_process_restarts_total", "counter", "Serving processes that ended and were started again."),
    Metric("tandem_build_info", "gauge", "1, with the version.", ("version",)),
)
"""Known to the process that answers the scrape."""

METRICS = (*COUNTED, *GAUGES, *SUPERVISED)


def exposed_names() -> set[str]:
    """Every name that a scrape can hold."""
    endings = {
        "counter": ("",),
        "gauge": ("",),
        "summary": ("_sum", "_count"),
        "histogram": ("_bucket", "_sum", "_count"),
    }
    return {metric.name + ending for metric in METRICS for ending in endings[metric.kind]}
