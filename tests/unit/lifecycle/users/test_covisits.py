"""Weights worked by hand: c / sqrt((n_i + 2) (n_j + 2)), see `lifecycle.users.covisits`."""

from math import sqrt

import numpy as np
import pytest
from behaving import baskets_of

from lifecycle.users import covisits
from lifecycle.users.covisits import count_covisits
from lifecycle.users.settings import UserTraining
from retrieval.recommend.behaviour import DAY, Neighbours

SETTINGS = UserTraining(pair_days=2, history_days=1, window_days=3)
END = 4 * DAY


def of(neighbours: Neighbours, product: int) -> dict[int, float]:
    start, end = neighbours.offsets[product : product + 2]
    return dict(zip(neighbours.places[start:end].tolist(), neighbours.weights[start:end].tolist(), strict=True))


# Today user 0 buys 0 and 1; two days ago (half) user 1 bought 0, 1 and 2.
ROWS = [(0, 4, [0, 1]), (1, 2, [0, 1, 2])]


def test_pairs_of_a_basket_count_by_its_age_and_size() -> None:
    together = count_covisits(baskets_of(ROWS), 4, END, SETTINGS)["together"]
    n = [1.5, 1.5, 0.5]
    pair, three = 1 + 0.5 / sqrt(2), 0.5 / sqrt(2)
    assert of(together, 0) == pytest.approx({1: pair / (n[0] + 2), 2: three / sqrt((n[0] + 2) * (n[2] + 2))})
    assert of(together, 2) == pytest.approx({0: three / sqrt(3.5 * 2.5), 1: three / sqrt(3.5 * 2.5)})
    assert list(of(together, 2)) == [0, 1]  # equal weights in the order of the rows
    assert of(together, 3) == {}


def test_later_baskets_follow_within_the_window_and_in_one_direction() -> None:
    rows = [(0, 0, [0]), (0, 1, [1, 2]), (0, 4, [3]), (1, 4, [3])]
    followed = count_covisits(baskets_of(rows), 4, END, SETTINGS)["followed"]
    day1 = 2**-1.5  # the decay of day 1 by a half-life of two days
    n = [2**-2, day1, day1, 2]
    # A day later: half by the gap; two products share the basket.
    one = day1 * 0.5 / sqrt(2) / sqrt((n[0] + 2) * (n[1] + 2))
    assert of(followed, 0) == pytest.approx({1: one, 2: one})  # day 4 is beyond the window of three days
    last = 1 * 0.125 / sqrt((n[1] + 2) * (n[3] + 2))
    assert of(followed, 1) == pytest.approx({3: last}) and of(followed, 3) == {}


def test_a_pair_of_one_user_alone_can_be_left_out() -> None:
    settings = SETTINGS.model_copy(update={"least_users": 2})
    together = count_covisits(baskets_of(ROWS), 4, END, settings)["together"]
    assert set(of(together, 0)) == {1} and of(together, 2) == {}


def test_the_best_neighbours_are_kept() -> None:
    settings = SETTINGS.model_copy(update={"neighbours": 1})
    together = count_covisits(baskets_of(ROWS), 4, END, settings)["together"]
    assert set(of(together, 0)) == {1} and set(of(together, 2)) == {0}


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    rows = [
        (user, float(random.integers(0, 5)), sorted(random.choice(9, 3, replace=False).tolist())) for user in range(40)
    ]
    whole = count_covisits(baskets_of(rows), 9, END, SETTINGS)["together"]
    monkeypatch.setattr(covisits, "_BLOCK", 1)
    parts = count_covisits(baskets_of(rows), 9, END, SETTINGS)["together"]
    assert whole.offsets.tolist() == parts.offsets.tolist() and whole.places.tolist() == parts.places.tolist()
    np.testing.assert_array_equal(whole.weights, parts.weights)
