from itertools import permutations
from math import log2

import numpy as np
import pytest

from evaluation.measures import (
    Estimate,
    estimate,
    full_ranking_measures,
    gain,
    grade_range,
    pool_ndcg,
    random_pool_ndcg,
)

_GRADES = {"q": {"a": 3.0, "b": 2.0, "c": 1.0}}  # gains 2^2 - 1 = 3, 2^1 - 1 = 1, 0


def _ndcg(gains: list[float], pool: list[float]) -> float:
    """DCG@10 = sum of gain / log2(place + 1), over that of the best order."""

    def dcg(values: list[float]) -> float:
        return sum(value / log2(place + 2) for place, value in enumerate(values[:10]))

    return dcg(gains) / dcg(sorted(pool, reverse=True))


def test_gain_by_hand() -> None:
    assert gain(3, 1) == 3
    assert gain(1, 1) == 0
    assert gain(2.5, 1) == pytest.approx(2**1.5 - 1)


def test_the_range_of_grades() -> None:
    assert grade_range({"q": {"a": 2.0}, "p": {"a": 0.5, "b": 3.0}}) == (0.5, 3.0)


def test_one_grade_alone_means_that_what_is_not_judged_has_none() -> None:
    assert grade_range({"a": {"1": 1.0, "2": 1.0}}) == (0.0, 1.0)
    values = full_ranking_measures({"a": {"1": 1.0}}, {"a": ["9", "1"]}, 0.0, 0.5)  # second: 1 / log2(3) of 1
    assert values["nDCG@10"]["a"] == pytest.approx(1 / log2(3)) and values["recall@100"]["a"] == 1


def test_ndcg_of_the_full_ranking_by_hand() -> None:
    result = full_ranking_measures(_GRADES, {"q": ["c", "b", "x", "a"]}, 1.0, 2.0)
    # DCG = 0/log2(2) + 1/log2(3) + 0/log2(4) + 3/log2(5); ideal = 3/log2(2) + 1/log2(3)
    expected = (1 / log2(3) + 3 / log2(5)) / (3 + 1 / log2(3))
    assert result["nDCG@10"] == {"q": pytest.approx(expected, abs=1e-6)}


def test_fractional_grades_keep_their_gain() -> None:
    grades = {"q": {"a": 2.33, "b": 1.67, "c": 1.0}}
    result = full_ranking_measures(grades, {"q": ["b", "a", "c"]}, 1.0, 2.0)["nDCG@10"]["q"]
    gains = [2**0.67 - 1, 2**1.33 - 1, 0]
    assert result == pytest.approx(_ndcg(gains, gains), abs=1e-3)  # gains are rounded to thousandths


def test_only_the_first_ten_count_for_ndcg_and_mrr() -> None:
    others = [f"x{i}" for i in range(10)]
    late = full_ranking_measures(_GRADES, {"q": [*others, "a"]}, 1.0, 2.0)
    assert (late["nDCG@10"]["q"], late["MRR@10"]["q"], late["recall@100"]["q"]) == (0, 0, 0.5)
    tenth = full_ranking_measures(_GRADES, {"q": [*others[:9], "a"]}, 1.0, 2.0)
    assert tenth["MRR@10"]["q"] == pytest.approx(1 / 10)
    assert tenth["nDCG@10"]["q"] == pytest.approx((3 / log2(11)) / (3 + 1 / log2(3)), abs=1e-6)


def test_relevance_starts_at_the_bar() -> None:
    ranking = {"q": ["c", "b", "a"]}
    assert full_ranking_measures(_GRADES, ranking, 1.0, 2.0)["MRR@10"] == {"q": 1 / 2}
    assert full_ranking_measures(_GRADES, ranking, 1.0, 3.0)["MRR@10"] == {"q": pytest.approx(1 / 3)}


def test_recall_counts_the_first_hundred() -> None:
    grades = {"q": {"a": 3.0, "b": 3.0, "d": 3.0, "c": 1.0}}
    others = [f"x{i}" for i in range(200)]
    result = full_ranking_measures(grades, {"q": ["a", *others[:98], "b", "d"]}, 1.0, 2.0)
    assert result["recall@100"] == {"q": pytest.approx(2 / 3)}


def test_the_share_judged_of_the_top_ten() -> None:
    others = [f"x{i}" for i in range(20)]
    result = full_ranking_measures(_GRADES, {"q": ["a", *others[:8], "c", "b"]}, 1.0, 2.0)
    assert result["judged@10"] == {"q": pytest.approx(2 / 10)}


def test_a_query_that_found_nothing_counts_as_zero() -> None:
    result = full_ranking_measures(_GRADES | {"p": {"a": 3.0, "b": 1.0}}, {"p": ["a"], "q": []}, 1.0, 2.0)
    assert result["nDCG@10"] == {"q": 0, "p": 1}
    assert result["recall@100"] == {"q": 0, "p": 1}
    assert full_ranking_measures(_GRADES, {}, 1.0, 2.0)["MRR@10"] == {"q": 0}


def test_queries_that_nothing_can_answer_are_left_out() -> None:
    grades = {"q": {"a": 3.0}, "no gain": {"a": 1.0}, "none relevant": {"a": 1.5}}
    result = full_ranking_measures(grades, {query: ["a"] for query in grades}, 1.0, 2.0)
    assert set(result["nDCG@10"]) == {"q", "none relevant"}
    assert set(result["MRR@10"]) == set(result["recall@100"]) == {"q"}
    assert set(result["judged@10"]) == set(grades)


def test_pool_ndcg_looks_at_the_judged_alone_and_leaves_out_pools_without_gain() -> None:
    result = pool_ndcg(_GRADES | {"p": {"a": 1.0}}, {"q": ["b", "a", "c"], "p": ["a"]}, 1.0)
    assert result == {"q": pytest.approx(_ndcg([1, 3, 0], [3, 1, 0]), abs=1e-6)}


@pytest.mark.parametrize("grades", [[3.0, 2.0, 1.0], [1.0, 1.0, 3.0, 2.5], [0.0, 2.0, 2.0, 1.0, 0.0], [2.0]])
def test_a_random_order_against_every_order(grades: list[float]) -> None:
    lowest = min(grades) if len(grades) > 1 else 0.0
    gains = [2 ** (grade - lowest) - 1 for grade in grades]
    orders = [_ndcg(list(order), gains) for order in permutations(gains)]
    result = random_pool_ndcg({str(i): grade for i, grade in enumerate(grades)}, lowest)
    assert result == pytest.approx(sum(orders) / len(orders))


def test_a_random_order_of_a_pool_beyond_the_cutoff() -> None:
    # One product of gain 1 among 12: it is at each place with chance 1/12, and the best order has DCG 1.
    grades = {str(i): 0.0 for i in range(11)} | {"good": 1.0}
    expected = sum(1 / log2(place + 1) for place in range(1, 11)) / 12
    assert random_pool_ndcg(grades, 0.0) == pytest.approx(expected)


def test_an_estimate_is_the_mean_inside_its_interval() -> None:
    values = list(np.random.default_rng(1).normal(0.6, 0.2, 400))
    result = estimate(values)
    assert result.mean == pytest.approx(np.mean(values))
    assert result.queries == 400
    assert result.low < result.mean < result.high
    # The normal interval: mean +- 1.96 s / sqrt(n).
    half = 1.96 * np.std(values) / 20
    assert result.high - result.mean == pytest.approx(half, rel=0.1)
    assert result.mean - result.low == pytest.approx(half, rel=0.1)


def test_an_estimate_is_the_same_by_seed_and_without_width_for_equal_values() -> None:
    assert estimate([0.1, 0.9, 0.4]) == estimate([0.1, 0.9, 0.4])
    assert estimate([0.5, 0.5]) == Estimate(0.5, 0.5, 0.5, 2)


def test_an_estimate_of_nothing_is_no_number() -> None:
    result = estimate([])
    assert np.isnan([result.mean, result.low, result.high]).all() and result.queries == 0
