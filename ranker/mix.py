"""How much the cross-encoder's order counts beside the one in which candidates were found."""

import numpy as np
from numpy.typing import NDArray

from core.fusion import RANK_CONSTANT

# Of a ranker that nobody measured beside fusion.
UNMEASURED = 0.25

Places = NDArray[np.int64]


def mixed_scores(relevance: NDArray[np.floating], share: float) -> NDArray[np.float32]:
    """Scores that order n candidates, shape (n,), between 0 and 1, from the relevance of each, in the order of finding.

    Weighted reciprocal ranks, as fusion's: a cross-encoder that is sure of itself in a shop that it never saw moves a
    product by no more than its ranks do. Share 0 keeps the order of finding, 1 takes that of relevance, equals as
    found.
    """
    places = np.arange(len(relevance))
    said = np.empty(len(relevance), np.int64)
    said[np.argsort(-relevance, kind="stable")] = places
    parts = (1 - share) / (RANK_CONSTANT + 1 + places) + share / (RANK_CONSTANT + 1 + said)
    return np.asarray(RANK_CONSTANT * parts, np.float32)
