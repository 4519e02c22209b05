"""Weights of features: sums by hand, and what is learned of lists."""

import numpy as np
import pytest

from ranker.linear import LinearScore
from ranker.train.linear import WeighedTable, learn_weights

NAN = float("nan")
FEATURES = {"start": 1, "good": 1, "bad": -1, "noise": 0}


def test_a_score_is_the_weighted_sum_and_what_is_missing_adds_nothing() -> None:
    score = LinearScore({"a": 2.0, "c": -1.0, "elsewhere": 9.0}, ("a", "b", "c"))
    table = np.array([[1, 5, 3], [NAN, 5, 3], [0.5, NAN, NAN]], np.float32)
    assert score.scores(table).tolist() == [-1, -3, 1]
    assert score.contributions(table).tolist() == [[2, 0, -3], [0, 0, -3], [1, 0, 0]]
    assert score.scores(table[:0]).shape == (0,)


def lists(queries: int, wanted: str, seed: int = 0, weight: float = 1.0) -> list[WeighedTable]:
    """Ten candidates each of random features; the one with most of the `wanted` feature is the good one."""
    random = np.random.default_rng(seed)
    place = list(FEATURES).index(wanted)
    tables = []
    for _ in range(queries):
        rows = random.random((10, len(FEATURES))).astype(np.float32)
        tables.append(WeighedTable(rows, (rows[:, place] == rows[:, place].max()).astype(float), weight))
    return tables


def test_what_tells_good_from_bad_gets_the_weight() -> None:
    weights = learn_weights(lists(60, "good"), FEATURES, "start", 1e-3)
    assert weights["good"] > 10 * max(abs(weights[name]) for name in ("start", "bad", "noise"))


def test_a_feature_only_counts_in_its_direction() -> None:
    """Most of the bad thing is best here, which no weight may say."""
    weights = learn_weights(lists(60, "bad"), FEATURES, "start", 1e-3)
    assert weights["bad"] == 0 and weights["start"] >= 0 and weights["good"] >= 0


def test_the_more_ridge_the_closer_to_the_start() -> None:
    """The start alone ranks half of the lists: with much ridge it alone counts, with little the other half does too."""
    tables = lists(40, "start") + lists(40, "good", seed=1)
    shares = [
        weights["good"] / weights["start"]
        for weights in (learn_weights(tables, FEATURES, "start", r) for r in (1e-4, 1e-1, 1e3))
    ]
    assert shares[0] > 0.8 > shares[1] > shares[2] and shares[2] < 1e-2


def test_many_queries_count_as_much_as_few_of_the_same_whole_weight() -> None:
    """400 lists ranked by one thing, 40 by another, each set of the same weight in all."""
    tables = lists(400, "start", weight=1 / 400) + lists(40, "good", seed=1, weight=1 / 40)
    even = learn_weights(tables, FEATURES, "start", 1e-3)
    assert even["good"] == pytest.approx(even["start"], rel=0.25)
    uneven = learn_weights(lists(400, "start") + lists(40, "good", seed=1), FEATURES, "start", 1e-3)
    assert uneven["start"] > 2 * uneven["good"]


def test_queries_without_a_good_candidate_and_columns_without_values_teach_nothing() -> None:
    empty = WeighedTable(np.full((3, len(FEATURES)), NAN, np.float32), np.zeros(3), 5.0)
    assert learn_weights([empty], FEATURES, "start", 1e-3) == dict.fromkeys(FEATURES, 0.0)
    weights = learn_weights([*lists(30, "good"), empty], FEATURES, "start", 1e-3)
    assert weights == learn_weights(lists(30, "good"), FEATURES, "start", 1e-3)
