import pytest

from retrieval.budget import RerankPace, usable


def pace_of(seconds_per_token: float) -> RerankPace:
    pace = RerankPace()
    pace.calibrate(10, 10 * seconds_per_token)
    return pace


def left_for(seconds: float) -> float:
    """The time left of which rescoring may use so many seconds: 4 ms more, or 2% where that is more."""
    return max(seconds + 0.004, seconds / 0.98)


def affordable_tokens(pace: RerankPace, seconds: float) -> int:
    return pace.affordable([1] * 10_000, seconds)


def test_as_many_pairs_as_the_time_less_the_reserve_allows() -> None:
    pace = pace_of(0.001)
    # 100 ms are 100 tokens: 20 + 30 + 40 = 90 fit, 10 more fit exactly, one more does not.
    lengths = [20, 30, 40, 9, 2, 1]
    assert pace.affordable(lengths, left_for(0.1 + 1e-9)) == 4
    assert pace.affordable([20, 30, 40, 10, 1], left_for(0.1 + 1e-9)) == 4
    assert pace.affordable(lengths, left_for(0.0201)) == 1
    assert pace.affordable(lengths, left_for(0.0199)) == 0


@pytest.mark.parametrize(("left", "expected"), [(0.05, 0.046), (0.2, 0.196), (1.0, 0.98), (0.0, -0.004)])
def test_the_reserve_is_4_ms_or_2_percent(left: float, expected: float) -> None:
    assert usable(left) == pytest.approx(expected)


def test_the_order_is_kept_and_nothing_is_skipped() -> None:
    assert pace_of(0.001).affordable([50, 1000, 1], 0.1) == 1


@pytest.mark.parametrize("seconds", [0.0, 0.002, -1.0])
def test_without_time_nothing_is_affordable(seconds: float) -> None:
    assert pace_of(0.001).affordable([1, 1], seconds) == 0
    assert RerankPace().affordable([1, 1], seconds) == 0


def test_before_anything_was_seen_everything_is() -> None:
    assert RerankPace().affordable([1, 1, 1], 1.0) == 3


def test_what_is_seen_moves_the_pace_a_fifth_of_the_way() -> None:
    pace = pace_of(0.001)
    pace.observe(10, 10 * 0.006)  # 1 ms + 0.2 * (6 - 1) ms = 2 ms a token
    assert affordable_tokens(pace, left_for(1.0001)) == 500


def test_relaxing_leans_back_to_the_idle_pace_and_not_below() -> None:
    pace = pace_of(0.001)
    for _ in range(100):
        pace.observe(10, 10 * 0.004)
    pace.relax()  # 4 ms * 0.9
    assert affordable_tokens(pace, left_for(3.6001)) == 1000
    for _ in range(100):
        pace.relax()
    assert affordable_tokens(pace, left_for(1.0001)) == 1000


def test_few_tokens_move_the_pace_by_their_share_and_none_leave_it() -> None:
    pace = pace_of(0.001)
    pace.observe(0, 5.0)
    assert affordable_tokens(pace, left_for(1.0001)) == 1000
    pace.observe(5, 5 * 0.011)  # half of what a request usually has: 1 ms + 0.2 / 2 * (11 - 1) ms = 2 ms a token
    assert affordable_tokens(pace, left_for(1.0001)) == 500


def test_pairs_that_cost_nothing_are_affordable_after_the_time_is_used_up() -> None:
    pace = pace_of(0.001)
    # 50 tokens fit into 50 ms; what is kept from before needs no time of its own, before them or after.
    assert pace.affordable([0, 30, 0, 20, 0, 0, 1], left_for(0.0501)) == 6
