"""How much the cross-encoder's order counts beside the one in which candidates were found."""

import numpy as np
from numpy.typing import NDArray

from core.fusion import RANK_CONSTANT

# For a ranker that was not measured beside fusion: with it, an uninformative one costs almost nothing.
UNMEASURED = 0.05
# Spearman's correlation of both orders from which on the whole share counts.
_AGREED = 0.5
_LEAST = 1e-3

Places = NDArray[np.int64]


def mixed_scores(relevance: NDArray[np.floating], share: float) -> NDArray[np.float32]:
    """Scores that order n candidates, shape (n,), between 0 and 1, from the relevance of each, in the order of finding.

    Weighted reciprocal ranks, as fusion's: a cross-encoder that is sure of itself in a shop that it never saw moves a
    product by no more than its ranks do. Less of a share between 0 and 1 counts where the orders hardly agree: where a
    good cross-encoder's correlate by .4 to .5, those of an uninformative one do not. Share 0 keeps the order of
    finding, 1 takes that of relevance, equals as found.
    """
    places = np.arange(len(relevance))
    ranks = np.empty(len(relevance), np.int64)
    ranks[np.argsort(-relevance, kind="stable")] = places
    counted = share ** (1 / _trust(places, ranks))
    parts = (1 - counted) / (RANK_CONSTANT + 1 + places) + counted / (RANK_CONSTANT + 1 + ranks)
    return np.asarray(RANK_CONSTANT * parts, np.float32)


def _trust(some: Places, others: Places) -> float:
    """From nearly 0 to 1, by the correlation of two orders of n candidates, places of shape (n,)."""
    count = len(some)
    if count < 2:
        return 1.0
    correlation = 1 - 6 * float(np.square(some - others).sum()) / (count * (count**2 - 1))
    return min(1.0, max(_LEAST, correlation / _AGREED))
