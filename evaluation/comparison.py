"""Whether two systems differ on the same queries: paired difference, test and correction for many tests."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from evaluation.measures import Estimate, estimate

Key = TypeVar("Key", bound=Hashable)

_FLIPS = 9999
_BATCH = 1000
_SAME = 1e-9  # values closer than this are a tie, not a win


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """Means of A and B over the queries both have, B - A with its 95% interval, its p-value, and queries B won."""

    a: float
    b: float
    difference: Estimate
    p: float
    wins: int
    losses: int
    ties: int


def paired(a: Mapping[str, float], b: Mapping[str, float], seed: int = 0) -> PairedComparison:
    """Compares query by query; what only one of them has is left out. Without a query in common all are NaN."""
    queries = sorted(a.keys() & b.keys())
    first, second = (np.array([values[query] for query in queries], float) for values in (a, b))
    differences = second - first
    wins, losses = int((differences > _SAME).sum()), int((differences < -_SAME).sum())
    means = (float(first.mean()), float(second.mean())) if queries else (float("nan"), float("nan"))
    p = sign_flip_p(differences, seed)
    return PairedComparison(*means, estimate(list(differences), seed), p, wins, losses, len(queries) - wins - losses)


def sign_flip_p(differences: NDArray[np.float64], seed: int = 0) -> float:
    """Two-sided p-value of a mean of paired differences, shape (n,), were each as likely to have the other sign.

    Fisher's randomisation test (The Design of Experiments, 1935), which Smucker, Allan and Carterette (CIKM 2007)
    advise for retrieval: over all 2^n signs where they are few, else over 9,999 drawn ones.
    """
    if not len(differences):
        return float("nan")
    if len(differences) == 1 or not differences.any():
        return 1.0
    from scipy.stats import permutation_test  # here, since it takes a third of a second to load

    random = np.random.default_rng(seed)
    test = permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        n_resamples=_FLIPS,
        batch=_BATCH,
        vectorized=True,
        rng=random,
    )
    return float(test.pvalue)


def holm(p: Mapping[Key, float]) -> dict[Key, float]:
    """P-values corrected for how many there are, so that the chance of any false alarm stays what it was.

    Holm, "A simple sequentially rejective multiple test procedure" (1979): the i-th smallest of m, i from 0, times
    m - i, never less than the one before, at most 1. NaN, a test that was not made, counts for nothing.
    """
    made = sorted((key for key, value in p.items() if not np.isnan(value)), key=p.__getitem__)
    corrected = np.minimum(1, np.maximum.accumulate([p[key] * (len(made) - i) for i, key in enumerate(made)] or [0.0]))
    return dict(p) | {key: float(value) for key, value in zip(made, corrected, strict=False)}
