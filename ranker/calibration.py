"""From a pair's logit and the towers' similarity to the probability that the product is relevant."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Calibration:
    """sigmoid(slope * logit + similarity * cosine + intercept); where there are knots, the line through them at that.

    A knot is such a sigmoid and the probability that it means. Both rise from knot to knot, the first from 0 to 1, so
    that pairs keep their order, down to what 32 bits can distinguish.
    """

    slope: float
    similarity: float
    intercept: float
    knots: tuple[tuple[float, float], ...] = ()

    def evidence(self, logits: Values, similarities: Values) -> Values:
        """The sigmoid's argument, shape (n,)."""
        return self.slope * logits + self.similarity * similarities + self.intercept

    def probabilities(self, logits: Values, similarities: Values) -> Values:
        """Probabilities of n pairs, from their logits and cosines, all of shape (n,)."""
        chances = 0.5 + 0.5 * np.tanh(0.5 * self.evidence(logits, similarities))
        if not self.knots:
            return chances
        x, y = zip(*self.knots, strict=True)
        return np.interp(chances, x, y)

    def as_spec(self) -> dict[str, Any]:
        """The fields of `RankerSpec` of the same names."""
        return asdict(self)
