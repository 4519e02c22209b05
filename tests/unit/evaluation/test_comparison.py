import numpy as np
import pytest

from evaluation.comparison import holm, paired, sign_flip_p


def test_a_pair_by_hand() -> None:
    a = {"one": 0.5, "two": 0.5, "three": 0.4, "only a": 0.0}
    b = {"one": 0.7, "two": 0.5, "three": 0.3, "only b": 1.0}
    result = paired(a, b)
    assert (result.a, result.b) == (pytest.approx(1.4 / 3), pytest.approx(1.5 / 3))
    assert result.difference.mean == pytest.approx(0.1 / 3)
    assert (result.wins, result.losses, result.ties, result.difference.queries) == (1, 1, 1, 3)
    assert result.difference.low < result.difference.mean < result.difference.high


def test_signs_by_hand() -> None:
    # Of the 8 signs of (1, 2, 3) only +++ and --- are as far from zero as the sample: p = 2/8.
    assert sign_flip_p(np.array([1.0, 2.0, 3.0])) == pytest.approx(0.25)
    # (1, -1): every one of the 4 is at least as far from zero as its mean of 0.
    assert sign_flip_p(np.array([1.0, -1.0])) == pytest.approx(1.0)


def test_a_large_sample_agrees_with_the_normal_law() -> None:
    differences = np.random.default_rng(3).normal(0.02, 0.2, 500)
    z = differences.mean() / np.sqrt((differences**2).mean() / 500)
    from scipy.stats import norm

    assert sign_flip_p(differences) == pytest.approx(2 * norm.sf(abs(z)), abs=0.01)
    assert sign_flip_p(differences) == sign_flip_p(differences)


def test_without_a_difference_there_is_nothing_to_find() -> None:
    same = paired({"one": 0.5, "two": 0.1}, {"one": 0.5, "two": 0.1})
    assert (same.p, same.difference.mean, same.ties) == (1.0, 0.0, 2)
    assert sign_flip_p(np.array([0.3])) == 1.0
    nothing = paired({"one": 1.0}, {"two": 1.0})
    assert np.isnan([nothing.a, nothing.b, nothing.p, nothing.difference.mean]).all()


def test_holm_by_hand() -> None:
    # Holm's steps: .01 * 4 = .04, .03 * 3 = .09, .04 * 2 = .08 which is raised to .09, .9 * 1.
    result = holm({"d": 0.9, "a": 0.01, "c": 0.04, "b": 0.03})
    assert result == {"a": pytest.approx(0.04), "b": pytest.approx(0.09), "c": pytest.approx(0.09), "d": 0.9}


def test_holm_stops_at_one_and_leaves_out_what_was_not_tested() -> None:
    result = holm({"a": 0.6, "b": 0.7, "c": float("nan")})
    assert (result["a"], result["b"]) == (1.0, 1.0) and np.isnan(result["c"])
    assert holm({}) == {}
