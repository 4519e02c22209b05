"""Fusion of ranked lists."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# How much the first places count over those below; the value of the paper.
RANK_CONSTANT = 60


def fuse(lists: Sequence[NDArray[np.int64]], weights: Sequence[float]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Weighted reciprocal rank fusion: rows that any list holds, best first, and their scores; both of shape (n,).

    A row's score is the sum over lists of weight / (60 + rank), ranks from 1 (Cormack, Clarke and Büttcher,
    "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods", SIGIR 2009). Equal scores stand
    in the order of their rows.
    """
    rows = np.concatenate([np.zeros(0, np.int64), *lists])
    shares = [weight / (RANK_CONSTANT + 1 + np.arange(len(one))) for one, weight in zip(lists, weights, strict=True)]
    different, places = np.unique(rows, return_inverse=True)
    scores = np.bincount(places, np.concatenate([np.zeros(0), *shares]), len(different)).astype(np.float64)
    order = np.argsort(-scores, kind="stable")
    return different[order].astype(np.int64), scores[order]
