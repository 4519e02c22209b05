"""Probabilities from logits and similarity, against what can be worked by hand and another implementation."""

import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from ranker.calibration import Calibration
from ranker.train.calibrate import calibrate, isotonic_knots


def test_one_group_of_pairs_gets_its_own_share() -> None:
    # Half of the pairs have similarity 0 and mean label 1/4, half 1 and 3/4: log odds -ln 3 and +ln 3.
    labels, similarities = np.array([0.0, 0.5, 1.0, 0.5]), np.array([0.0, 0.0, 1.0, 1.0])
    result = calibrate(labels, np.zeros(4), similarities)
    assert result.slope == 1.0
    assert (result.intercept, result.similarity) == pytest.approx((-math.log(3), 2 * math.log(3)), abs=1e-3)


def test_it_is_logistic_regression() -> None:
    random = np.random.default_rng(0)
    inputs = random.normal(size=(400, 2))
    labels = (random.random(400) < 1 / (1 + np.exp(-(1.5 * inputs[:, 0] + 0.7 * inputs[:, 1] - 0.4)))).astype(float)
    result = calibrate(labels, inputs[:, 0], inputs[:, 1])
    other = LogisticRegression(C=1e9).fit(inputs, labels)
    expected = [*other.coef_[0], other.intercept_[0]]
    assert [result.slope, result.similarity, result.intercept] == pytest.approx(expected, abs=2e-3)


def test_no_order_is_ever_turned_round() -> None:
    labels = np.array([1.0, 0.0, 1.0, 0.0])
    result = calibrate(labels, np.array([-2.0, 2.0, -1.0, 1.0]), np.array([0.1, 0.9, 0.2, 0.8]))
    assert result.slope > 0 and result.similarity == 0


def test_evidence_is_the_weighted_sum() -> None:
    result = Calibration(2.0, 3.0, -1.0).evidence(np.array([1.0, 0.0]), np.array([0.5, 1.0]))
    np.testing.assert_allclose(result, [2.5, 2.0])


def test_isotonic_knots_by_hand() -> None:
    # Stairs: .1 and .2 are never relevant, .4 and .6 half of the time (the wrong way round), .9 always. Their middles
    # are .15, .5 and .9; from each height .02 of the way goes back to the chance itself.
    result = isotonic_knots(np.array([0.1, 0.2, 0.4, 0.6, 0.9]), np.array([0.0, 0.0, 1.0, 0.0, 1.0]))
    expected = [(0, 0), (0.15, 0.003), (0.5, 0.5), (0.9, 0.998), (1, 1)]
    np.testing.assert_allclose(result, expected, atol=1e-9)


def test_where_nothing_rises_the_line_still_does() -> None:
    result = isotonic_knots(np.array([0.2, 0.8]), np.array([1.0, 0.0]))
    np.testing.assert_allclose(result, [(0, 0.49), (0.5, 0.5), (1, 0.51)], atol=1e-9)


def test_many_stairs_are_thinned_out() -> None:
    chances = np.linspace(0.01, 0.99, 500)
    result = isotonic_knots(chances, chances**2)
    assert len(result) <= 34
    at, height = zip(*result, strict=True)
    np.testing.assert_allclose(np.interp(chances, at, height), chances**2, atol=0.01)


def test_knots_are_read_after_the_sigmoid() -> None:
    bent = Calibration(2.0, 0.0, 0.0, ((0.0, 0.1), (0.5, 0.2), (1.0, 1.0)))
    result = bent.probabilities(np.array([0.0, -100.0, 100.0, math.log(3) / 2]), np.zeros(4))
    np.testing.assert_allclose(result, [0.2, 0.1, 1.0, 0.6], atol=1e-9)  # sigmoid(ln 3) is 3/4, half way up from .2


def test_bent_to_what_is_relevant_probabilities_err_less() -> None:
    """Relevance as the square of what the logits would have it."""
    random = np.random.default_rng(0)
    chances = random.uniform(0.05, 0.95, 4000)
    relevant = (random.random(4000) < chances**2).astype(float)
    at, height = zip(*isotonic_knots(chances[::2], relevant[::2]), strict=True)
    before, after = chances[1::2], np.interp(chances[1::2], at, height)
    assert np.abs(after - before**2).mean() < 0.03 < np.abs(before - before**2).mean()
