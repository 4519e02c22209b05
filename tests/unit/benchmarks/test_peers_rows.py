"""What is made of the programs' figures."""

from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tasks import run

from benchmarks.peers.rows import Row, Speed, ahead, make_row, measure_speed, overlap, quality, ratios, strongest

GRADES = {"mug": {"a": 3.0, "b": 1.0}, "lamp": {"c": 3.0, "d": 1.0}}


def made(rate: float = 4.0, embedded: float = 100.0, ready: float | None = 10.0, peak: float = 50.0) -> Row:
    return Row({1: Speed(rate, 1000 / rate, 1500 / rate, 2000 / rate, 1.0, None)}, {}, embedded, ready, peak)


def test_the_strongest_peer_answers_most_at_its_most_clients() -> None:
    def answering(one: float, eight: float) -> Row:
        speeds = {count: Speed(rate, 1.0, 1.0, 1.0, 1.0, None) for count, rate in ((1, one), (8, eight))}
        return Row(speeds, {}, None, None, 1.0)

    assert strongest({"a": answering(9.0, 5.0), "b": answering(4.0, 6.0), "c": answering(1.0, 2.0)}) == "b"
    assert strongest({}) is None


def test_a_run_becomes_rates_latencies_and_busy_cores() -> None:
    assert measure_speed(run(1)) == Speed(2.0, 250.0, 385.0, 397.0, 1.5, None)
    assert measure_speed(run(1, client_processor_seconds=0.5)).client_cores == 0.25


def test_a_peer_is_ready_once_all_is_embedded_and_built() -> None:
    seen = {"embedding": {"products_per_s": [90.0, 100.0, 400.0]}, "build_seconds": 1.5, "peak_mib": 7.0}
    result = make_row(seen | {"runs": [run(1), run(8), run(1, 0)]}, 32, {"ndcg": 0.5}, products=2000)
    assert (result.products_per_s, result.ready_seconds, result.peak_mib) == (100.0, 21.5, 7.0)
    assert list(result.speeds) == [1, 8]


def test_ours_is_ready_when_the_index_job_was_or_nobody_saw_it() -> None:
    seen = {"embedding": {"products_per_s": [100.0]}, "runs": [run(1)], "peak_mib": 7.0}
    assert make_row(seen | {"ready_seconds": 30.0}, 32, {}, 2000).ready_seconds == 30.0
    assert make_row(seen | {"ready_seconds": None}, 32, {}, 2000).ready_seconds is None


def test_quality_is_paired_with_the_baseline_on_the_queries_both_answered() -> None:
    # Gains are 2^(3-1) - 1 = 3 and 0: only a and c count, so nDCG@10 is 1 / log2(place + 1).
    base = {"mug": ["b", "a"], "lamp": ["c", "d"]}
    result = quality({"mug": ["a", "b"]}, base, GRADES)
    assert result["queries"] == 1 and result["ndcg"] == 1.0
    assert result["difference"] == pytest.approx(1 - 1 / log2(3), abs=1e-4)
    assert result["overlap"] == 1.0


def test_without_a_baseline_quality_stands_alone() -> None:
    result = quality({"mug": ["b", "a"], "lamp": ["c", "d"]}, None, GRADES)
    assert result["ndcg"] == pytest.approx((1 / log2(3) + 1) / 2, abs=1e-4)
    assert result["difference"] is None and result["overlap"] is None


def test_a_fast_wrong_answer_shows() -> None:
    base = {"mug": ["a", "b"], "lamp": ["c", "d"]}
    wrong = quality({"mug": ["c", "d"], "lamp": ["a", "b"]}, base, GRADES)
    assert (wrong["ndcg"], wrong["difference"], wrong["overlap"]) == (0.0, -1.0, 0.0)


def test_ratios_are_multiples_of_the_baseline_where_both_have_figures() -> None:
    reported = ratios(made(rate=8.0, embedded=50.0, ready=None), made())
    assert reported["queries/s, clients 1"] == 2.0 and reported["p50 ms, clients 1"] == 0.5
    assert reported["products embedded/s"] == 0.5 and reported["peak MiB"] == 1.0
    assert "seconds until ready" not in reported


def test_a_peer_is_ahead_where_more_or_less_is_better() -> None:
    assert ahead(made(rate=4.0, embedded=200.0, ready=5.0, peak=60.0), made()) == {
        "products embedded/s": (200.0, 100.0),
        "seconds until ready": (5.0, 10.0),
    }


def test_noise_is_no_lead() -> None:
    assert ahead(made(rate=4.04, embedded=101.0, ready=9.9, peak=49.5), made()) == {}


RATES = st.floats(0.1, 1000)


@given(RATES, RATES, RATES, RATES)
def test_two_are_never_ahead_of_each_other_in_the_same(rate: float, other: float, peak: float, second: float) -> None:
    one, two = made(rate=rate, peak=peak), made(rate=other, peak=second)
    assert not ahead(one, two).keys() & ahead(two, one).keys()
    assert all(theirs != mine for theirs, mine in ahead(one, two).values())


LISTS = st.dictionaries(st.sampled_from("xyz"), st.lists(st.integers(0, 30).map(str), min_size=10, unique=True))


@given(LISTS, LISTS)
def test_overlap_is_a_share_and_the_same_both_ways(one: dict[str, list[str]], two: dict[str, list[str]]) -> None:
    both = overlap(one, two)
    if one.keys() & two.keys():
        assert 0 <= both <= 1 and both == overlap(two, one)
    else:
        assert both != both


def test_order_is_no_part_of_overlap_and_places_beyond_ten_neither() -> None:
    ten = [str(number) for number in range(10)]
    assert overlap({"x": [*ten[::-1], "other"]}, {"x": [*ten, "more"]}) == 1.0
    assert overlap({"x": [*ten[:7], "a", "b", "c"]}, {"x": ten}) == 0.7
