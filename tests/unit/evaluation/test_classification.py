import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from evaluation.classification import (
    Pairs,
    best_cutoff,
    calibration_error,
    nothing_cutoff,
    nothing_fits,
    reliability,
    report,
)

# Two queries; from .5 on four are called relevant, of which three are; one relevant is missed.
PAIRS = Pairs(
    np.array([0, 0, 0, 1, 1, 1]),
    np.array([0.9, 0.8, 0.1, 0.7, 0.6, 0.2]),
    np.array([True, True, False, True, False, True]),
)


def random_pairs(seed: int = 1, queries: int = 200, each: int = 10) -> Pairs:
    """Relevant as often as the probability says."""
    random = np.random.default_rng(seed)
    chances = random.random(queries * each)
    return Pairs(np.repeat(np.arange(queries), each), chances, random.random(queries * each) < chances)


def test_pairs_are_the_graded_ones() -> None:
    grades = {"one": {"a": 3.0, "b": 1.0}, "two": {"a": 2.0}}
    result = Pairs.from_pools(grades, {"one": {"a": 0.9, "b": 0.2, "x": 0.5}, "two": {"a": 0.4}}, 2.0)
    assert result.queries.tolist() == [0, 0, 1]
    assert result.probabilities.tolist() == [0.9, 0.2, 0.4]
    assert result.relevant.tolist() == [True, False, True]


def test_a_report_by_hand() -> None:
    result = report(PAIRS, 0.5)
    assert (result.precision.mean, result.recall.mean, result.f1.mean) == (0.75, 0.75, 0.75)
    assert (result.predicted, result.actual, result.queries) == (4, 4, 6)
    # The resamples are query 0 twice (precision 1), each once (3/4), query 1 twice (1/2).
    assert (result.precision.low, result.precision.high) == (0.5, 1.0)


def test_a_report_against_scikit_learn() -> None:
    pairs = random_pairs()
    result = report(pairs, 0.6)
    stated = pairs.probabilities >= 0.6
    expected = precision_recall_fscore_support(pairs.relevant, stated, average="binary")[:3]
    assert [result.precision.mean, result.recall.mean, result.f1.mean] == [pytest.approx(value) for value in expected]
    half = 1.96 * np.sqrt(expected[0] * (1 - expected[0]) / stated.sum())  # pairs here are independent
    assert result.precision.high - result.precision.low == pytest.approx(2 * half, rel=0.15)


def test_the_cutoff_itself_counts_as_yes() -> None:
    assert report(PAIRS, 0.6).predicted == 4
    assert report(PAIRS, 0.61).predicted == 3


def test_the_best_cutoff_by_hand() -> None:
    # F1 = 2 right / (said + 4): from .9 on 2/5, .8 4/6, .7 6/7, .6 6/8, .2 8/9, .1 8/10.
    assert best_cutoff(PAIRS) == 0.2


def test_nothing_fits_by_hand() -> None:
    pairs = Pairs(np.array([0, 0, 1, 2]), np.array([0.3, 0.4, 0.2, 0.9]), np.array([False, False, True, True]))
    result = nothing_fits(pairs, 0.5)  # said of queries 0 and 1, true of 0
    assert (result.precision.mean, result.recall.mean) == (0.5, 1.0)
    assert (result.predicted, result.actual, result.queries) == (2, 1, 3)


@pytest.mark.parametrize(
    ("best", "fits", "expected"),
    [
        ([0.9, 0.8, 0.3, 0.2], [True, True, False, False], 0.55),  # both sides whole: half-way between
        # F1 up to .2 is 2/3, up to .5 is 1/2, up to .6 is 4/5, of all 2/3.
        ([0.9, 0.6, 0.5, 0.2], [True, False, True, False], 0.75),
        ([0.9, 0.4, 0.3, 0.2], [True, True, True, False], 0.25),
        ([0.9, 0.2], [False, True], None),  # to tell both would be best
        ([0.9, 0.2], [True, True], None),
        ([0.9, 0.2], [False, False], None),
    ],
)
def test_the_cutoff_of_nothing_by_hand(best: list[float], fits: list[bool], expected: float | None) -> None:
    result = nothing_cutoff(np.array(best), np.array(fits))
    assert result == (None if expected is None else pytest.approx(expected))


def test_a_share_of_nothing_is_no_number() -> None:
    assert np.isnan(report(PAIRS, 2.0).precision.mean)
    assert report(PAIRS, 2.0).recall.mean == 0


def test_reliability_and_its_error_by_hand() -> None:
    low, high = reliability(PAIRS, 2)
    # Lower half .1, .2, .6, of which .2 is relevant; upper half .7, .8, .9, all relevant.
    assert (low.pairs, low.probability, low.relevant.mean) == (3, pytest.approx(0.3), pytest.approx(1 / 3))
    assert (high.pairs, high.probability, high.relevant.mean) == (3, pytest.approx(0.8), 1.0)
    assert calibration_error(PAIRS, 2).mean == pytest.approx((1 / 3 - 0.3) / 2 + 0.2 / 2)


def test_true_probabilities_have_little_error_and_doubled_ones_much() -> None:
    pairs = random_pairs()
    result = calibration_error(pairs)
    assert result.mean < 0.04
    half = Pairs(pairs.queries, pairs.probabilities / 2, pairs.relevant)
    wrong = calibration_error(half)
    assert wrong.mean == pytest.approx(0.25, abs=0.02) and wrong.low < wrong.mean < wrong.high


def test_fewer_pairs_than_bins() -> None:
    assert [entry.pairs for entry in reliability(PAIRS)] == [1] * 6
