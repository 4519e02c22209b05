"""From logits and the towers' similarity to a probability of relevance."""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, xlogy

Values = NDArray[np.floating]

# A ranker whose logits say nothing still keeps its order: the slope must stay above zero.
_LEAST_SLOPE = 0.01
_START = (1.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Calibration:
    """The probability is sigmoid(slope * logit + similarity * cosine + intercept)."""

    slope: float
    similarity: float
    intercept: float

    def evidence(self, logits: Values, similarities: Values) -> Values:
        """The sigmoid's argument, shape (n,)."""
        return self.slope * logits + self.similarity * similarities + self.intercept

    def as_spec(self) -> dict[str, float]:
        """The fields of `RankerSpec` of the same names."""
        return asdict(self)


def calibrate(labels: Values, logits: Values, similarities: Values) -> Calibration:
    """Fits n pairs' probabilities to their labels from 0 to 1 by log loss; all are of shape (n,).

    Platt scaling (1999) with two inputs. What says nothing (all zeros) keeps its start: slope 1, similarity 0.
    """
    inputs = np.stack([logits, similarities, np.ones(len(labels))], axis=1).astype(np.float64)

    def loss(weights: Values) -> tuple[float, Values]:
        chances = expit(inputs @ weights)
        wrong = xlogy(labels, np.maximum(chances, 1e-12)) + xlogy(1 - labels, np.maximum(1 - chances, 1e-12))
        return -float(wrong.mean()), inputs.T @ (chances - labels) / len(labels)

    bounds = [(_LEAST_SLOPE, None), (0, None), (None, None)]
    return Calibration(*map(float, minimize(loss, _START, jac=True, method="L-BFGS-B", bounds=bounds).x))
