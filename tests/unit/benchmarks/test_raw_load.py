"""Figures of offered calls, worked by hand."""

import pytest

from benchmarks.load.raw import Outcome
from benchmarks.load.raw_load import OK, REFUSED, Offered, RawLoad, Retries, Run
from tandem.client.retries import RetryBudget
from tandem.v1 import search_pb2


def answer(*reasons: "search_pb2.DegradationReason.ValueType") -> bytes:
    message = search_pb2.SearchResponse(degraded=[search_pb2.Degradation(reason=reason) for reason in reasons])
    return b"\x00\x00\x00\x00\x00" + message.SerializeToString()


def call(due: float, took: float, code: int | None = OK, body: bytes = b"\x00" * 5, **others: float) -> Offered:
    return Offered(due, due + 0.002, 1.0, due + took, code, body=body, **others)  # type: ignore[arg-type]


def test_only_answers_in_good_time_count_and_times_run_from_when_calls_were_due() -> None:
    shed = search_pb2.DEGRADATION_REASON_RERANK_SHED
    run = Run(
        2.0,
        [
            call(0.1, 0.1, body=answer()),
            call(0.2, 0.3, body=answer(shed)),
            call(0.5, 0.9, body=answer(shed)),
            call(1.0, 0.02, REFUSED, attempts=3),
            call(1.5, -1.5, None),
        ],
    )
    row = run.summary(0.6)
    assert (row["offered_per_s"], row["answered_per_s"], row["sent_per_call"]) == (2.5, 1.0, 1.4)
    assert row["p50_ms"] == 300 and row["refused_p99_ms"] == 20 and row["refused_p99_ms_as_sent"] is None
    assert row["lag_p99_ms"] == 2 and row["gave_up"] == {"RERANK_SHED": 0.67}
    assert row["codes"] == {"OK": 3, "RESOURCE_EXHAUSTED": 1, "open": 1}
    late = run.since(0.4)
    assert late.seconds == 1.6 and late.goodput(0.6) == 0 and late.goodput(1.0) == pytest.approx(1 / 1.6)


def test_refused_calls_are_sent_again_as_the_service_asks_and_the_budget_allows() -> None:

    refused, hopeless = Outcome(0.0, pushback=50), Outcome(0.0, pushback=-1)
    first, third = call(0.0, 0.01, REFUSED), call(0.0, 0.01, REFUSED, attempts=3)
    budget = RetryBudget()
    assert RawLoad._pause(Retries.NEVER, budget, refused, first) is None
    assert [RawLoad._pause(Retries.CLIENT, budget, refused, first) for _ in range(6)] == [0.05] * 5 + [None]
    assert RawLoad._pause(Retries.ALWAYS, budget, refused, first) == 0.05
    assert RawLoad._pause(Retries.ALWAYS, budget, refused, third) is None
    assert RawLoad._pause(Retries.ALWAYS, budget, hopeless, first) is None
