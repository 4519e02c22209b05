"""Drift of scores, by numbers worked by hand."""

import math
import random

import pytest

from retrieval.telemetry.drift import ScoreDrift, deciles, stability_index


def test_the_index_is_the_formula() -> None:
    # Shares 0.5, 0.5 against 0.25, 0.75: (0.25 - 0.5) ln(0.25 / 0.5) + (0.75 - 0.5) ln(0.75 / 0.5).
    assert stability_index([50, 50], [25, 75]) == pytest.approx(-0.25 * math.log(0.5) + 0.25 * math.log(1.5))
    assert stability_index([10] * 10, [20] * 10) == 0
    assert math.isfinite(stability_index([50, 50], [0, 100])) and stability_index([1, 0], [5, 0]) == 0


def test_borders_are_those_of_tenths() -> None:
    assert deciles(list(range(100))) == [10, 20, 30, 40, 50, 60, 70, 80, 90]


def test_equal_scores_do_not_drift_and_shifted_ones_do() -> None:
    draw = random.Random(7)
    drift = ScoreDrift(sample=400)
    for _ in range(400):
        drift.add(draw.gauss(0.6, 0.1), "m-1")
    assert drift.index is None
    for _ in range(400):
        drift.add(draw.gauss(0.6, 0.1), "m-1")
    assert drift.index is not None and drift.index < 0.1
    for _ in range(400):
        drift.add(draw.gauss(0.7, 0.1), "m-1")
    assert drift.index > 0.25


def test_one_score_for_all_is_no_drift() -> None:
    drift = ScoreDrift(sample=20)
    for _ in range(60):
        drift.add(1.0, "m-1")
    assert drift.index == 0
    drift.add(math.nan, "m-1")
    assert drift.index == 0


def test_other_models_have_a_reference_of_their_own() -> None:
    drift = ScoreDrift(sample=50)
    for i in range(150):
        drift.add(i % 10, "m-1")
    assert drift.index == pytest.approx(0)
    for i in range(50):
        drift.add(100 + i % 10, "m-2")
    assert drift.index is None
    for i in range(50):
        drift.add(100 + i % 10, "m-2")
    assert drift.index == pytest.approx(0)
