"""How much a cross-encoder says: by hand, and of ones that know nothing, a little, and everything."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranker.calibration import Calibration
from ranker.mix import UNMEASURED, mixed_scores
from ranker.train.mix import RetrievedLists, mix_report
from ranker.train.validation import no_similarity
from training.examples import JudgedQueries

PLAIN = Calibration(1.0, 0.0, 0.0)
DEPTH = 20
TEXTS = {f"p{number}": f"product {number}" for number in range(DEPTH)}


def test_scores_are_weighted_reciprocal_ranks() -> None:
    """Found first to third; by relevance they are second, first and third. Spearman's correlation is .5."""
    expected = [60 * (0.75 / (61 + place) + 0.25 / (61 + stated)) for place, stated in enumerate([1, 0, 2])]
    assert mixed_scores(np.array([0.5, 0.9, 0.1]), 0.25) == pytest.approx(expected)


def test_orders_that_hardly_agree_leave_less_of_the_share() -> None:
    """Places 2, 0, 1, 3 by relevance differ by 2, 1, 1, 0: a correlation of 1 - 6 * 6 / 60 = .4, and the share to the
    power of .5 / .4. Of places 2, 1, 3, 0 it is below 0, and nothing counts."""
    counted = 0.5 ** (0.5 / 0.4)
    stated = [2, 0, 1, 3]
    expected = [60 * ((1 - counted) / (61 + place) + counted / (61 + other)) for place, other in enumerate(stated)]
    assert mixed_scores(-np.array(stated), 0.5) == pytest.approx(expected)
    assert np.argsort(-mixed_scores(-np.array([2, 1, 3, 0]), 0.9)).tolist() == [0, 1, 2, 3]
    assert np.argsort(-mixed_scores(-np.array([2, 1, 3, 0]), 1.0)).tolist() == [3, 1, 0, 2]  # the whole share is heard


def test_a_ranker_that_knows_nothing_of_a_shop_takes_little_there() -> None:
    """With half of the share, whatever was measured elsewhere: ranks alone would cost five times as much."""
    made, logits = lists(200, 2.0, 0.0)
    alone, halved = (np.mean(list(made.ndcg(logits, share).values())) for share in (0.0, 0.5))
    assert 0 < alone - halved < 0.02
    assert alone - np.mean(list(made.ndcg(logits, 1.0).values())) > 0.2


@given(st.lists(st.floats(0, 1, width=32), max_size=40), st.floats(0, 1))
def test_what_is_ahead_in_both_orders_stays_ahead(relevance: list[float], share: float) -> None:
    values = np.array(relevance, np.float32)
    scores = mixed_scores(values, share)
    assert ((scores > 0) & (scores < 1)).all()
    for place in range(len(values) - 1):
        later = np.arange(place + 1, len(values))
        assert (scores[place] >= scores[later[values[later] <= values[place]]]).all()
    assert np.argsort(-mixed_scores(values, 0.0), kind="stable").tolist() == list(range(len(values)))
    np.testing.assert_array_equal(np.argsort(-mixed_scores(values, 1.0)), np.argsort(-values, kind="stable"))


def lists(queries: int, found_by: float, said_by: float, seed: int = 3) -> tuple[RetrievedLists, np.ndarray]:
    """Products of grades drawn, found and scored by the grade times so much, plus noise of one standard deviation."""
    random = np.random.default_rng(seed)
    valid: dict[str, dict[str, float]] = {}
    result: dict[str, list[str]] = {}
    logits: list[np.ndarray] = []
    for number in range(queries):
        grades = random.choice([0.0, 0.0, 0.0, 0.5, 1.0], DEPTH)
        grades[0] = 1.0
        order = np.argsort(-(found_by * grades + random.normal(size=DEPTH)))
        result[f"q{number}"] = [f"p{place}" for place in order]
        valid[f"q{number}"] = {f"p{place}": grade for place, grade in enumerate(grades.tolist())}
        logits.append(said_by * grades[order] + random.normal(size=DEPTH))
    made = RetrievedLists.from_judged(JudgedQueries("valid", valid), result, TEXTS, no_similarity)
    return made, np.concatenate(logits).astype(np.float32)


def test_a_ranker_that_is_noise_is_left_out() -> None:
    for seed in range(5):
        report = mix_report(*_with(PLAIN, *lists(80, 2.0, 0.0, seed)))
        assert report["share"] == 0.0 and report["by share"]["1.0"] < report["fused"]


def test_a_ranker_that_knows_all_is_heard() -> None:
    report = mix_report(*_with(PLAIN, *lists(80, 0.0, 8.0)))
    assert report["share"] > 0.5 and report["gain"]["low"] > 0.2


def test_a_ranker_that_knows_as_much_as_retrieval_is_mixed_with_it() -> None:
    """Both have the same noise, which their mean has less of."""
    report = mix_report(*_with(PLAIN, *lists(200, 1.5, 1.5)))
    assert 0 < report["share"] < 1
    shares = report["by share"]
    assert shares[str(report["share"])] > max(shares["1.0"], report["fused"])


def test_of_shares_that_are_as_good_the_least_is_taken() -> None:
    """The cross-encoder repeats what retrieval says, so that every share keeps the order: nothing is gained."""
    made, _ = lists(40, 2.0, 0.0)
    logits = np.concatenate([-np.arange(DEPTH)] * 40).astype(np.float32)
    report = mix_report(made, PLAIN, logits)
    assert (report["measured share"], report["share"], report["gain"]["mean"]) == (0.1, 0.0, 0.0)


def test_of_a_few_queries_nothing_is_concluded() -> None:
    report = mix_report(*_with(PLAIN, *lists(9, 0.0, 8.0)))
    assert report == {"share": UNMEASURED, "queries": 9}


def test_lists_are_of_queries_that_have_something_good_and_something_found() -> None:
    valid = JudgedQueries("valid", {"a": {"p0": 1.0, "p9": 0.5}, "b": {"p0": 0.0}, "c": {"p1": 1.0}, "d": {"p1": 1.0}})
    result = {"a": ["p3", "gone", "p0"], "b": ["p1"], "c": []}
    asked: list[tuple[str, str]] = []

    def similarity(queries: list[str], texts: list[str]) -> np.ndarray:
        asked.extend(zip(queries, texts, strict=True))
        return np.arange(len(texts))

    made = RetrievedLists.from_judged(valid, result, TEXTS, similarity)  # type: ignore[arg-type]
    assert made.retrieved == {"a": ["p3", "p0"]} and made.grades == {"a": {"p0": 1.0, "p9": 0.5}}
    assert made.pairs == asked == [("a", "product 3"), ("a", "product 0")]
    # As found p0, of gain 1, is second; p9, of gain 2^.5 - 1, is not found, and counts in what could be had.
    ideal = 1 + (2**0.5 - 1) / np.log2(3)
    assert made.ndcg(np.array([0.0, 1.0]), 0.0)["a"] == pytest.approx(1 / np.log2(3) / ideal, abs=1e-3)
    assert made.ndcg(np.array([0.0, 1.0]), 1.0)["a"] == pytest.approx(1 / ideal, abs=1e-3)


def _with(
    calibration: Calibration, made: RetrievedLists, logits: np.ndarray
) -> tuple[RetrievedLists, Calibration, np.ndarray]:
    return made, calibration, logits
