"""Fits how a pair's logit and similarity become a probability."""

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, xlogy
from sklearn.isotonic import IsotonicRegression

from ranker.calibration import Calibration, Values

# A ranker whose logits say nothing still keeps its order: the slope must stay above zero.
_LEAST_SLOPE = 0.01
_START = (1.0, 0.0, 0.0)

# Isotonic regression is flat where the data do not rise. So much of the sigmoid is mixed in that the order stays.
_KEPT_SLOPE = 0.02
_MOST_KNOTS = 32
_DIGITS = 6  # closer together, knots would differ by rounding errors

Knots = tuple[tuple[float, float], ...]


def calibrate(labels: Values, logits: Values, similarities: Values) -> Calibration:
    """Fits n pairs' probabilities to their labels from 0 to 1 by log loss; all are of shape (n,).

    Platt scaling (1999) with two inputs. An input of zeros keeps its start: slope 1, similarity 0.
    """
    inputs = np.stack([logits, similarities, np.ones(len(labels))], axis=1).astype(np.float64)

    def loss(weights: Values) -> tuple[float, Values]:
        chances = expit(inputs @ weights)
        wrong = xlogy(labels, np.maximum(chances, 1e-12)) + xlogy(1 - labels, np.maximum(1 - chances, 1e-12))
        return -float(wrong.mean()), inputs.T @ (chances - labels) / len(labels)

    bounds = [(_LEAST_SLOPE, None), (0, None), (None, None)]
    slope, similarity, intercept = minimize(loss, _START, jac=True, method="L-BFGS-B", bounds=bounds).x.tolist()
    return Calibration(slope, similarity, intercept)


def isotonic_knots(chances: Values, labels: Values) -> Knots:
    """A rising line through (0, ...), some of n chances, and (1, ...), that fits the labels, all of shape (n,), 0 to 1.

    Isotonic regression (Zadrozny and Elkan, "Transforming classifier scores into accurate multiclass probability
    estimates", KDD 2002) makes a staircase; the line goes through the middle of each stair (Oron and Flournoy,
    "Centered isotonic regression", 2017), of many stairs through some. Its slope is nowhere below 0.02.
    """
    chances = chances.astype(np.float64).round(_DIGITS)
    stairs = IsotonicRegression(out_of_bounds="clip").fit(chances, labels).predict(chances)
    heights, places = np.unique(stairs.round(_DIGITS), return_inverse=True)
    middles = np.bincount(places, chances) / np.bincount(places)
    some = np.unique(np.linspace(0, len(heights) - 1, _MOST_KNOTS).round().astype(int))
    x = np.concatenate([[0.0], middles[some], [1.0]])
    y = np.concatenate([heights[some[:1]], heights[some], heights[some[-1:]]])
    knots = dict(zip(x.tolist(), ((1 - _KEPT_SLOPE) * y + _KEPT_SLOPE * x).tolist(), strict=True))
    return tuple(knots.items())
