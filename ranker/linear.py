"""A linear final score: a weighted sum of features, which holds in shops that it did not learn from."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


class LinearScore:
    """Scores candidates by a weighted sum of features; a missing value adds nothing. For any number of threads."""

    def __init__(self, weights: Mapping[str, float], features: Sequence[str]) -> None:
        """`features` names the columns that are scored; those without a weight add nothing."""
        self._weights = np.array([weights.get(name, 0.0) for name in features], np.float64)
        self.features = len(features)

    def scores(self, table: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores, shape (c,), of c rows of features, shape (c, f)."""
        return self.contributions(table).sum(1)

    def contributions(self, table: NDArray[np.float32]) -> NDArray[np.float32]:
        """What each feature adds to each score, shape (c, f)."""
        return np.asarray(np.nan_to_num(table, nan=0.0) * self._weights, np.float32)
