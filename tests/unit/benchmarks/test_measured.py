import pytest
from logs import LOG, answer, call

from benchmarks.load.measured import LATE, REFUSED, measure


def test_latency_counts_from_when_a_call_was_due() -> None:
    seen = measure([call(0.2, data=answer("a"), due=5.0, lag=0.15)], LOG, 10)
    assert seen.p50_ms == pytest.approx(200) and seen.lag_p99_ms == pytest.approx(150)


def test_refused_calls_are_errors_and_no_latencies_but_late_ones_are_both() -> None:
    calls = [
        *[call(0.1, data=answer("a"))] * 6,
        call(1.0, LATE),
        *[call(0.001, REFUSED, retry=True)] * 2,
        call(0.001, "UNAVAILABLE"),
    ]
    seen = measure(calls, LOG, 2)
    assert (seen.calls, seen.offered_per_s, seen.answered_per_s) == (10, 5.0, 3.0)
    assert (seen.error_share, seen.refused_share, seen.late_share) == (0.4, 0.2, 0.1)
    assert seen.p50_ms == pytest.approx(100)
    assert seen.p99_ms == pytest.approx(946)  # 100 and, of seven, the late one: 94% of the way between the last two
    assert seen.retry_share == 1 and seen.statuses["UNAVAILABLE"] == 1


def test_refusals_that_do_not_say_when_to_try_again_are_seen() -> None:
    assert measure([call(0.1, REFUSED, retry=True), call(0.1, REFUSED)], LOG, 1).retry_share == 0.5


def test_without_an_answer_there_is_neither_latency_nor_ndcg() -> None:
    seen = measure([call(0.1, REFUSED)], LOG, 1)
    assert seen.p50_ms is None and seen.p99_ms is None and seen.ndcg is None
    assert measure([], LOG, 1).error_share == 0


def test_ndcg_is_the_mean_over_answers_to_judged_queries() -> None:
    # Gains 3 and 0 (over the lowest grade). a first: 1. a second: 1 / log2(3) = 0.6309. Nobody judged "blue".
    calls = [*[call(0.1, data=answer("a", "b"))] * 3, call(0.1, data=answer("b", "a"))]
    calls += [call(0.1, query=1, data=answer("z"))] * 5
    assert measure(calls, LOG, 1).ndcg == pytest.approx((3 + 0.6309) / 4, abs=1e-4)


def test_degraded_answers_are_counted() -> None:
    calls = [call(0.1, data=answer("a", degraded=True)), call(0.1, data=answer("a"))]
    assert measure(calls, LOG, 1).degraded_share == 0.5
