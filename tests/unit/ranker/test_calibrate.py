"""Probabilities from logits and similarity, against what can be worked by hand and another implementation."""

import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from ranker.train.calibrate import Calibration, calibrate


def test_one_group_of_pairs_gets_its_own_share() -> None:
    # Half of the pairs have similarity 0 and mean label 1/4, half 1 and 3/4: log odds -ln 3 and +ln 3.
    labels, similarities = np.array([0.0, 0.5, 1.0, 0.5]), np.array([0.0, 0.0, 1.0, 1.0])
    found = calibrate(labels, np.zeros(4), similarities)
    assert found.slope == 1.0
    assert (found.intercept, found.similarity) == pytest.approx((-math.log(3), 2 * math.log(3)), abs=1e-3)


def test_it_is_logistic_regression() -> None:
    random = np.random.default_rng(0)
    inputs = random.normal(size=(400, 2))
    labels = (random.random(400) < 1 / (1 + np.exp(-(1.5 * inputs[:, 0] + 0.7 * inputs[:, 1] - 0.4)))).astype(float)
    found = calibrate(labels, inputs[:, 0], inputs[:, 1])
    other = LogisticRegression(C=1e9).fit(inputs, labels)
    expected = [*other.coef_[0], other.intercept_[0]]
    assert [found.slope, found.similarity, found.intercept] == pytest.approx(expected, abs=2e-3)


def test_no_order_is_ever_turned_round() -> None:
    labels = np.array([1.0, 0.0, 1.0, 0.0])
    found = calibrate(labels, np.array([-2.0, 2.0, -1.0, 1.0]), np.array([0.1, 0.9, 0.2, 0.8]))
    assert found.slope > 0 and found.similarity == 0


def test_evidence_is_the_weighted_sum() -> None:
    found = Calibration(2.0, 3.0, -1.0).evidence(np.array([1.0, 0.0]), np.array([0.5, 1.0]))
    np.testing.assert_allclose(found, [2.5, 2.0])
