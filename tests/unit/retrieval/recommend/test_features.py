"""Every expected value is worked by hand from the shop of `tests.recommending`: cup 0, pan 1, pot 2, éclair 3."""

from pathlib import Path

import numpy as np
import pytest
from recommending import make_behaviour

from ranker.recommendation_features import RECOMMENDATION_NAMES
from retrieval.recommend.behaviour import Behaviour
from retrieval.recommend.features import (
    CART,
    PURCHASE,
    VIEW,
    HistoryFacts,
    ProductFacts,
    Shopper,
    compute_features,
    look_up,
    ranks,
    strengths,
)

GROUPS, TYPES = np.array([7, 7, 8, -1, 7], np.int32), np.array([0, 1, 1, 2, 0], np.int32)
PRICES = np.array([2, 4, 8, np.nan, 1], np.float32)
PLACES = np.array([0, 1, 2, 3, -1])  # the fifth product is new: nobody has bought it
VECTORS = np.array([[1, 0], [0, 1], [0.6, 0.8], [-1, 0], [0.8, 0.6]], np.float32)


@pytest.fixture
def behaviour(tmp_path: Path) -> Behaviour:
    return make_behaviour(tmp_path / "users")


def facts(rows: list[int]) -> ProductFacts:
    at = np.array(rows, np.int64)
    return ProductFacts(at, PLACES[at], GROUPS[at], TYPES[at], PRICES[at], VECTORS[at])


def history(rows: list[int], days: list[float], actions: list[int]) -> HistoryFacts:
    return HistoryFacts(facts(rows), np.array(days, np.float32), np.array(actions, np.int8))


def columns(behaviour: Behaviour, shopper: Shopper, rows: list[int]) -> dict[str, list[float]]:
    table = compute_features(behaviour, shopper, facts(rows))
    assert table.dtype == np.float32 and table.shape == (len(rows), len(RECOMMENDATION_NAMES))
    return {name: table[:, place].tolist() for place, name in enumerate(RECOMMENDATION_NAMES)}


def same(values: list[float], expected: list[float]) -> None:
    np.testing.assert_allclose(values, expected, rtol=1e-5, equal_nan=True)


NAN = float("nan")
# The cup was bought today and two weeks ago, the pan put into the cart a week ago.
SHOPPER = Shopper(
    history([0, 1, 0], [0, 7, 14], [PURCHASE, CART, PURCHASE]),
    time=900 + 2 * 86_400,
    vector=np.array([0, 1], np.float32),
    channel="web",
)


def test_a_product_of_the_history_counts_by_its_age_and_what_was_done(behaviour: Behaviour) -> None:
    actions = np.array([PURCHASE, CART, VIEW, PURCHASE], np.int8)
    same(strengths(behaviour, np.array([0, 7, 14, -3], np.float32), actions).tolist(), [1, 0.25, 0.0625, 1])


def test_what_the_user_has_already(behaviour: Behaviour) -> None:
    values = columns(behaviour, SHOPPER, [0, 1, 2, 4])
    # The cup's factor is 2, at an age below a day .2; the pan's is 1, at a week .1.
    same(values["again_probability"], [0.4, 0.1, NAN, NAN])
    same(values["again_times"], [2, 1, 0, 0])
    same(values["again_days"], [0, 7, NAN, NAN])
    same(values["again_action"], [3, 2, 0, 0])
    same(values["history_products"], [2, 2, 2, 2])
    same(values["history_days"], [0, 0, 0, 0])


def test_what_is_bought_with_the_history(behaviour: Behaviour) -> None:
    values = columns(behaviour, SHOPPER, [0, 1, 2, 4])
    # The history's strengths are 1 and .25 for the cup, .25 for the pan.
    same(values["together_score"], [0.25 * 0.5, 1.25 * 0.5, 1.25 * 0.25, 0])
    same(values["together_rank"], [3, 1, 2, NAN])
    same(values["followed_score"], [0, 0, 1.25 * 0.125, 0])
    same(values["followed_rank"], [NAN, NAN, 1, NAN])


def test_groups_and_types_of_the_history(behaviour: Behaviour) -> None:
    values = columns(behaviour, SHOPPER, [0, 1, 2, 3, 4])
    # Group 7 is cup, pan and the new one; a product is no variant of its own.
    same(values["group_products"], [1, 2, 0, 0, 3])
    same(values["group_days"], [7, 0, NAN, NAN, 0])
    same(values["type_share"], [1.25 / 1.5, 0.25 / 1.5, 0.25 / 1.5, 0, 1.25 / 1.5])


def test_cosines_with_the_history_and_the_tower(behaviour: Behaviour) -> None:
    values = columns(behaviour, SHOPPER, [0, 1, 2, 4])
    same(values["user_cosine"], [0, 1, 0.8, 0.6])
    same(values["user_rank"], [NAN, 1, 2, 3])
    norm = np.hypot(1.25, 0.25)
    same(values["mean_cosine"], [1.25 / norm, 0.25 / norm, (1.25 * 0.6 + 0.25 * 0.8) / norm, (1 + 0.15) / norm])
    same(values["latest_cosine"], [1, 0, 0.6, 0.8])
    same(values["nearest_cosine"], [0, 0, 0.8, 0.8])  # itself does not count


def test_popularity_of_all_of_late_and_in_the_channel(behaviour: Behaviour) -> None:
    values = columns(behaviour, SHOPPER, [0, 2, 4])
    same(values["popularity"], [3 / 6.5, 2 / 6.5, 0])
    same(values["popularity_rank"], [1, 2, 3])
    same(values["recent_share"], [1 / 3.5, 2 / 3.5, 0])
    same(values["trend"], [6.5 / 10.5, 13 / 7, NAN])
    same(values["segment_popularity"], [0, 1, 0])
    same(values["segment_lift"], [0, 6.5 / 2, NAN])
    same(values["repurchase_factor"], [2, 0.5, NAN])
    same(values["days_unsold"], [2, 2 + 200 / 86_400, NAN])
    same(values["days_on_sale"], [2 + 890 / 86_400, 2 + 870 / 86_400, NAN])


def test_prices_beside_the_history_and_the_candidates(behaviour: Behaviour) -> None:
    values = columns(behaviour, SHOPPER, [0, 2, 3, 4])
    # The history's prices are 2, 4 and 2; the candidates' 2, 8 and 1.
    same(values["price_ratio"], [0, np.log(4), NAN, np.log(0.5)])
    same(values["price_level"], [1, 4, NAN, 0.5])


def test_an_unknown_user_has_no_more_than_popularity(behaviour: Behaviour) -> None:
    values = columns(behaviour, Shopper(history([], [], []), time=1_000_000.0), [0, 3])
    given = {name for name, column in values.items() if not np.isnan(column).all() and np.any(column)}
    assert given == {
        *("popularity", "popularity_rank", "recent_share", "trend", "segment_popularity", "segment_lift"),
        *("repurchase_factor", "days_on_sale", "days_unsold", "price_level"),
    }


def test_nothing_to_recommend_has_a_table_of_its_own(behaviour: Behaviour) -> None:
    assert compute_features(behaviour, SHOPPER, facts([])).shape == (0, len(RECOMMENDATION_NAMES))


def test_equal_scores_are_ranked_by_their_rows() -> None:
    assert ranks(np.array([1, 2, 2], np.float32), np.array([5, 9, 4])).tolist() == [3, 2, 1]


def test_a_product_that_a_list_lacks_weighs_nothing(behaviour: Behaviour) -> None:
    assert look_up(np.array([3, 0, -1]), behaviour.popular()).tolist() == [0.5, 3, 0]
    assert look_up(np.array([0]), behaviour.related("followed", np.array([-1]), np.ones(1, np.float32))).tolist() == [0]
