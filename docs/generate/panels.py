"""The panels of the dashboard: a title, a unit, and the queries to Prometheus. Grafana's file and pictures are made of
them."""

import re
from dataclasses import dataclass

_SEARCHES = 'method=~".*/(Search|Recommend)"'
_CODES = 'code=~"UNKNOWN|DEADLINE_EXCEEDED|INTERNAL|UNAVAILABLE|DATA_LOSS|RESOURCE_EXHAUSTED"'
_FROM_CACHE = 'result=~"hit|shared"'
WINDOW = "$__rate_interval"
"""Stands for the window of rates, which Grafana chooses by what it shows."""


@dataclass(frozen=True, slots=True)
class Query:
    """A query of Prometheus, and what each of its series is called; `{{label}}` stands for a label's value."""

    expression: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """Series over time. `unit` is Grafana's name of one; `row` is the heading that it stands under."""

    row: str
    title: str
    unit: str
    queries: tuple[Query, ...]
    note: str = ""


def _quantiles(metric: str, by: str, legend: str, matching: str = "") -> tuple[Query, ...]:
    rates = f"sum by (le{', ' + by if by else ''}) (rate({metric}_bucket{{{matching}}}[{WINDOW}]))"
    return tuple(
        Query(f"histogram_quantile({share / 100:g}, {rates})", f"p{share} {legend}".strip()) for share in (50, 95, 99)
    )


def _rate(metric: str, by: str, matching: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{{{matching}}}[{WINDOW}]))"


PANELS = (
    Panel("Calls", "Calls by method", "reqps", (Query(_rate("tandem_calls_total", "method"), "{{method}}"),)),
    Panel("Calls", "Calls by status", "reqps", (Query(_rate("tandem_calls_total", "code"), "{{code}}"),)),
    Panel(
        *("Calls", "Searches and recommendations: how long", "s"),
        _quantiles("tandem_call_duration_seconds", "", "", _SEARCHES),
        "99 of 100 are to end within 0.6 s.",
    ),
    Panel(
        *("Calls", "Share of calls that fail or are refused", "percentunit"),
        (
            Query(
                f"(sum(rate(tandem_calls_total{{{_CODES}}}[{WINDOW}])) or vector(0)) "
                f"/ sum(rate(tandem_calls_total[{WINDOW}]))",
                "failed or refused",
            ),
        ),
        "One in a thousand is allowed over 30 days.",
    ),
    Panel(
        *("Load", "Calls at work", "short"),
        (
            Query("sum by (priority) (tandem_in_flight)", "{{priority}}"),
            Query("sum(tandem_in_flight_limit)", "limit"),
            Query("sum(tandem_bulk_waiting)", "batches waiting"),
        ),
    ),
    Panel("Load", "Pressure", "percentunit", (Query("max by (instance) (tandem_pressure)", "{{instance}}"),)),
    Panel("Load", "Refused by reason", "reqps", (Query(_rate("tandem_refused_total", "reason"), "{{reason}}"),)),
    Panel(
        *("Load", "Degraded answers by reason", "reqps"),
        (Query(_rate("tandem_degraded_total", "reason"), "{{reason}}"),),
    ),
    Panel(
        *("Stages", "Stages: mean time", "s"),
        (
            Query(
                f"{_rate('tandem_stage_duration_seconds_sum', 'stage')} "
                f"/ {_rate('tandem_stage_duration_seconds_count', 'stage')}",
                "{{stage}}",
            ),
        ),
    ),
    Panel(
        *("Stages", "Stages: p99", "s"),
        (
            Query(
                f"histogram_quantile(0.99, {_rate('tandem_stage_duration_seconds_bucket', 'le, stage')})", "{{stage}}"
            ),
        ),
    ),
    Panel(
        *("Stages", "Engine: waiting for a lane, p95", "s"),
        (Query(f"histogram_quantile(0.95, {_rate('tandem_engine_queue_seconds_bucket', 'le, call')})", "{{call}}"),),
    ),
    Panel(
        *("Stages", "Engine: mean batch", "short"),
        (
            Query(
                f"{_rate('tandem_engine_batch_size_sum', 'call')} / {_rate('tandem_engine_batch_size_count', 'call')}",
                "{{call}}",
            ),
        ),
    ),
    Panel(
        *("Stages", "Caches: share of values not computed", "percentunit"),
        (
            Query(
                f"{_rate('tandem_cache_requests_total', 'cache', _FROM_CACHE)} "
                f"/ {_rate('tandem_cache_requests_total', 'cache')}",
                "{{cache}}",
            ),
        ),
    ),
    Panel(
        *("Stages", "Candidates: mean of each source", "short"),
        (
            Query(
                f"{_rate('tandem_candidates_sum', 'source')} / {_rate('tandem_candidates_count', 'source')}",
                "{{source}}",
            ),
        ),
    ),
    Panel(
        *("Quality", "Recall at ten by how much passes the filter", "percentunit"),
        (
            Query(
                f"{_rate('tandem_recall_ratio_sum', 'catalog, selectivity')} "
                f"/ {_rate('tandem_recall_ratio_count', 'catalog, selectivity')}",
                "{{catalog}} {{selectivity}}",
            ),
        ),
    ),
    Panel(
        *("Quality", "Drift of first scores", "short"),
        (Query("max by (catalog) (tandem_score_drift)", "{{catalog}}"),),
        "The population stability index: above 0.25 something has changed.",
    ),
    Panel("Quality", "First scores", "short", _quantiles("tandem_top_score", "catalog", "{{catalog}}")),
    Panel(
        *("Quality", "Answers without a hit", "reqps"),
        (Query(_rate("tandem_empty_answers_total", "catalog"), "{{catalog}}"),),
    ),
    Panel(
        *("Releases", "Age of the release", "s"),
        (Query("time() - min by (catalog) (tandem_release_timestamp_seconds)", "{{catalog}}"),),
    ),
    Panel(
        *("Releases", "Revision served, and its lag", "short"),
        (
            Query("min by (catalog) (tandem_revision)", "{{catalog}} revision"),
            Query("max by (catalog) (tandem_revision_lag_seconds)", "{{catalog}} lag, seconds"),
        ),
    ),
    Panel(
        *("Releases", "Fresh products", "short"),
        (
            Query("max by (catalog) (tandem_fresh_products)", "{{catalog}}"),
            Query("min(tandem_fresh_products_limit)", "limit"),
        ),
    ),
    Panel("Releases", "Changes", "reqps", (Query(_rate("tandem_changes_total", "outcome"), "{{outcome}}"),)),
    Panel(
        *("Machine", "Processes", "short"),
        (
            Query("sum(tandem_processes)", "serving"),
            Query("sum(tandem_processes_expected)", "expected"),
            Query(f"sum(increase(tandem_process_restarts_total[{WINDOW}]))", "started again"),
        ),
    ),
    Panel(
        *("Machine", "Memory", "bytes"),
        (
            Query("sum(tandem_resident_memory_bytes)", "processes"),
            Query("sum by (cache) (tandem_cache_bytes)", "cache {{cache}}"),
        ),
    ),
    Panel(
        *("Machine", "Free on the disk of the releases", "bytes"),
        (Query("min by (instance) (tandem_disk_free_bytes)", "{{instance}}"),),
    ),
    Panel(
        *("Machine", "Engines that answer", "short"),
        (Query("min by (catalog) (tandem_engine_up)", "{{catalog}}"),),
    ),
)
"""In their order on the page, those of a row together."""


def metrics_in(text: str) -> set[str]:
    """The names of the service's metrics in queries or rules."""
    return set(re.findall(r"\btandem_[a-z_]+", text))
