from dataclasses import replace
from pathlib import Path

import pytest
from logs import LOG, answer, call

from benchmarks.load.measured import LATE, REFUSED, measure
from benchmarks.load.slo import Overload, Slo, judge, judge_overload, read_slo
from core.errors import TandemError

SEEN = measure([call(0.1, data=answer("a"))] * 99 + [call(0.5, data=answer("a"))], LOG, 10)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_file_with_everything(tmp_path: Path) -> None:
    text = (
        "p50_ms = 20\np95_ms = 80\np99_ms = 200\nerror_share = 0.01\nndcg = 0.4\n[overload]\nfactor = 3\np99_ms = 300"
    )
    slo = read_slo(write(tmp_path / "slo.toml", text), judged=True)
    assert (slo.p50_ms, slo.p95_ms, slo.p99_ms, slo.error_share, slo.ndcg) == (20, 80, 200, 0.01, 0.4)
    assert slo.overload == Overload(factor=3, p99_ms=300)


def test_the_file_of_the_house_can_be_read() -> None:
    path = Path(__file__).resolve().parents[3] / "benchmarks" / "load" / "slo.toml"
    assert read_slo(path, judged=False).overload is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("p99 = 3", "p99: Extra inputs are not permitted"),
        ("p99_ms = -1", "p99_ms: Input should be greater than 0"),
        ("p99_ms = 'fast'", "p99_ms: Input should be a valid number"),
        ("error_share = 0.1", "limits no latency; set p50_ms, p95_ms or p99_ms"),
        ("p50_ms = 9\np99_ms = 5", "must not fall"),
        ("p99_ms = 5\n[overload]\nfactor = 1\np99_ms = 5", "overload.factor: Input should be greater than 1"),
        ("p99_ms = 5\nndcg = 0.4", "limits nDCG, which needs judgments"),
        ("p99_ms =", "is not TOML"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TandemError) as error:
        read_slo(write(tmp_path / "slo.toml", text), judged=False)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_what_is_not_limited_is_not_judged() -> None:
    verdict = judge(Slo(p50_ms=100.0), SEEN)
    assert verdict.holds and [finding.name for finding in verdict.findings] == ["p50_ms", "error_share"]


def test_one_objective_missed_is_enough() -> None:
    slo = Slo(p50_ms=101.0, p99_ms=103.0)  # the slow hundredth pulls p99 to 104
    verdict = judge(slo, SEEN)
    assert [(finding.name, finding.holds) for finding in verdict.findings] == [
        ("p50_ms", True),
        ("p99_ms", False),
        ("error_share", True),
    ]
    assert not verdict.holds and verdict.as_json()["holds"] is False
    assert judge(Slo(p99_ms=105.0), SEEN).holds


def test_errors_and_ndcg_are_limits_as_well() -> None:
    refused = measure([call(0.1, data=answer("b", "a"))] * 98 + [call(0.0, REFUSED)] * 2, LOG, 10)
    assert judge(Slo(p99_ms=200.0, error_share=0.02, ndcg=0.63), refused).holds
    assert not judge(Slo(p99_ms=200.0, error_share=0.019), refused).holds
    assert not judge(Slo(p99_ms=200.0, error_share=0.02, ndcg=0.64), refused).holds


def test_where_nothing_was_answered_nothing_holds() -> None:
    nothing = measure([call(0.0, REFUSED)], LOG, 10)
    verdict = judge(Slo(p99_ms=200.0, error_share=1.0, ndcg=0.0), nothing)
    assert [finding.holds for finding in verdict.findings] == [False, True, False]


def test_beyond_the_highest_rate_the_surplus_is_refused_and_the_rest_fast() -> None:
    calls = [call(0.1, data=answer("a"))] * 90 + [call(0.0, REFUSED, retry=True)] * 100 + [call(0.2, LATE)] * 3
    seen = measure(calls, LOG, 10)
    overload = Overload(p99_ms=250, answered_share=0.8)
    assert judge_overload(overload, 10, seen).holds
    assert not judge_overload(overload.model_copy(update={"p99_ms": 150}), 10, seen).holds
    assert not judge_overload(overload, 12, seen).holds  # 9 a second are less than 0.8 of 12
    assert not judge_overload(overload, 10, replace(seen, retry_share=0.99)).holds
    broken = measure([*calls, call(0.0, "UNAVAILABLE")], LOG, 10)
    assert not judge_overload(overload, 10, broken).holds
