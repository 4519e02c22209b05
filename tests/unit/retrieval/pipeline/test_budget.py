import pytest

from retrieval.pipeline.budget import RerankCostModel, Reserve


def pace_of(seconds_per_token: float) -> RerankCostModel:
    pace = RerankCostModel()
    pace.calibrate(10, 10 * seconds_per_token)
    return pace


def affordable_tokens(pace: RerankCostModel, seconds: float) -> int:
    return pace.affordable([1] * 10_000, seconds)


def test_as_many_pairs_as_the_time_less_the_reserve_allows() -> None:
    pace = pace_of(0.001)
    # 100 ms are 100 tokens: 20 + 30 + 40 = 90 fit, 10 more fit exactly, one more does not.
    lengths = [20, 30, 40, 9, 2, 1]
    assert pace.affordable(lengths, 0.1 + 1e-9) == 4
    assert pace.affordable([20, 30, 40, 10, 1], 0.1 + 1e-9) == 4
    assert pace.affordable(lengths, 0.0201) == 1
    assert pace.affordable(lengths, 0.0199) == 0


@pytest.mark.parametrize(("left", "expected"), [(0.05, 0.042), (0.2, 0.19), (1.0, 0.95), (0.0, -0.008)])
def test_the_reserve_is_8_ms_or_5_percent(left: float, expected: float) -> None:
    assert Reserve().usable(left) == pytest.approx(expected)


def test_the_reserve_follows_the_slowest_answers_at_once_and_the_quick_ones_slowly() -> None:
    reserve = Reserve()
    reserve.observe(0.1)  # half of the way: 50 ms seen, 75 reserved
    assert reserve.usable(1.0) == pytest.approx(0.925)
    reserve.observe(0.0)  # a fiftieth back: 49 ms
    assert reserve.usable(1.0) == pytest.approx(1 - 1.5 * 0.049)
    for _ in range(500):
        reserve.observe(0.002)
    assert reserve.usable(1.0) == pytest.approx(0.95)


def test_the_reserve_leaves_half_of_the_time_but_always_its_least() -> None:
    reserve = Reserve()
    for _ in range(20):
        reserve.observe(10.0)
    assert reserve.usable(0.2) == pytest.approx(0.1)
    assert reserve.usable(0.01) == pytest.approx(0.002)


def test_the_order_is_kept_and_nothing_is_skipped() -> None:
    assert pace_of(0.001).affordable([50, 1000, 1], 0.1) == 1


@pytest.mark.parametrize("left", [0.0, 0.002, -1.0])
def test_without_time_nothing_is_affordable(left: float) -> None:
    seconds = Reserve().usable(left)
    assert pace_of(0.001).affordable([1, 1], seconds) == 0
    assert RerankCostModel().affordable([1, 1], seconds) == 0


def test_before_anything_was_seen_everything_is() -> None:
    assert RerankCostModel().affordable([1, 1, 1], 1.0) == 3


def test_what_is_seen_moves_the_pace_a_fifth_of_the_way_and_so_do_its_differences() -> None:
    pace = pace_of(0.001)
    pace.observe(10, 10 * 0.006)  # 1 ms + 0.2 * (6 - 1) ms = 2 ms a token, and 1 ms of difference, of which two count
    assert affordable_tokens(pace, 1.0001) == 250


def test_a_steady_pace_is_taken_as_it_is() -> None:
    pace = pace_of(0.001)
    for _ in range(200):
        pace.observe(10, 10 * 0.004)
    assert affordable_tokens(pace, 4.0001) == 1000


def test_a_pace_that_goes_up_and_down_is_taken_near_its_slowest() -> None:
    pace = pace_of(0.001)
    for number in range(200):
        pace.observe(10, 10 * (0.001, 0.003)[number % 2])
    # Around 2 ms, with differences of 1.1: more than 3 ms a token, and not much more.
    assert 220 < affordable_tokens(pace, 1.0) < 330


def test_relaxing_leans_back_to_the_idle_pace_and_not_below() -> None:
    pace = pace_of(0.001)
    for _ in range(200):
        pace.observe(10, 10 * 0.004)
    pace.relax()  # 4 ms * 0.9
    assert affordable_tokens(pace, 3.6001) == 1000
    for _ in range(100):
        pace.relax()
    assert affordable_tokens(pace, 1.0001) == 1000


def test_few_tokens_move_the_pace_by_their_share_and_none_leave_it() -> None:
    pace = pace_of(0.001)
    pace.observe(0, 5.0)
    assert affordable_tokens(pace, 1.0001) == 1000
    # Half of what a request usually has: 1 ms + 0.2 / 2 * (11 - 1) ms = 2 ms a token, and 1 ms of difference.
    pace.observe(5, 5 * 0.011)
    assert affordable_tokens(pace, 1.0001) == 250


def test_pairs_that_cost_nothing_are_affordable_after_the_time_is_used_up() -> None:
    pace = pace_of(0.001)
    # 50 tokens fit into 50 ms; what is kept from before needs no time of its own, before them or after.
    assert pace.affordable([0, 30, 0, 20, 0, 0, 1], 0.0501) == 6
