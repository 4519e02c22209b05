"""Measures of calls: latency, errors, degradation and nDCG@10."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from benchmarks.common import latencies
from benchmarks.load.queries import QueryLog
from evaluation.measures import full_ranking_measures, grade_range
from tandem.v1 import search_pb2

OK, REFUSED, LATE = "OK", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"


@dataclass(frozen=True, slots=True)
class Call:
    """One call. Times are seconds since the run began: when it was due, sent and done.

    `query` is its place in the query log, `status` a gRPC code's name, `answer` the response as it came; `retry` is
    whether a refusal stated when to try again.
    """

    due: float
    sent: float
    done: float
    query: int
    status: str
    answer: bytes = b""
    retry: bool = False

    @property
    def latency(self) -> float:
        """Seconds from when it was due: waiting in a client that falls behind is waiting too."""
        return self.done - self.due


@dataclass(frozen=True, slots=True)
class LoadMeasures:
    """The measures of one run. Latencies are those of admitted calls, late ones among them; None where there was none.
    Refused and late calls are errors as well; `retry_share` is a share of the refused. `degraded_share` and `ndcg` are
    those of the answers, `ndcg` None without judgments. `lag_p99_ms` is how late the client itself sent.
    """

    calls: int
    offered_per_s: float
    answered_per_s: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    error_share: float
    refused_share: float
    late_share: float
    retry_share: float
    degraded_share: float
    ndcg: float | None
    lag_p99_ms: float
    statuses: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        """Every field."""
        return asdict(self)


def measure(calls: Sequence[Call], log: QueryLog, seconds: float) -> LoadMeasures:
    """`calls` were due within so many seconds."""
    statuses = Counter(call.status for call in calls)
    answered = [call for call in calls if call.status == OK]
    answers = [search_pb2.SearchResponse.FromString(call.answer) for call in answered]
    refused = [call for call in calls if call.status == REFUSED]
    total = max(len(calls), 1)
    return LoadMeasures(
        calls=len(calls),
        offered_per_s=round(len(calls) / seconds, 2),
        answered_per_s=round(len(answered) / seconds, 2),
        **percentiles(calls),
        error_share=(len(calls) - len(answered)) / total,
        refused_share=len(refused) / total,
        late_share=statuses[LATE] / total,
        retry_share=sum(call.retry for call in refused) / len(refused) if refused else 1.0,
        degraded_share=sum(bool(answer.degraded) for answer in answers) / max(len(answers), 1),
        ndcg=_ndcg(answered, answers, log),
        lag_p99_ms=round(float(np.percentile([call.sent - call.due for call in calls] or [0.0], 99)) * 1000, 2),
        statuses=dict(statuses),
    )


def percentiles(calls: Sequence[Call]) -> dict[str, float | None]:
    """p50, p95 and p99 in milliseconds of the calls that were let in; None where there was none."""
    times = [call.latency for call in calls if call.status in (OK, LATE)]
    return {**latencies(times)} if times else dict.fromkeys(("p50_ms", "p95_ms", "p99_ms"))


def _ndcg(answered: Sequence[Call], answers: Sequence[search_pb2.SearchResponse], log: QueryLog) -> float | None:
    """The mean over answers to judged queries. Equal answers are measured once and counted as often as they came."""
    lists = Counter(
        (log.queries[call.query], tuple(hit.product_id for hit in answer.hits))
        for call, answer in zip(answered, answers, strict=True)
        if log.queries[call.query] in log.grades
    )
    if not lists:
        return None
    different = {str(i): entry for i, entry in enumerate(lists)}
    grades = {name: log.grades[query] for name, (query, _) in different.items()}
    lowest, highest = grade_range(log.grades)
    rankings = {name: ranking for name, (_, ranking) in different.items()}
    values = full_ranking_measures(grades, rankings, lowest, (lowest + highest) / 2)["nDCG@10"]
    times = [lists[different[name]] for name in values]
    return round(float(np.average(list(values.values()), weights=times)), 4) if values else None
