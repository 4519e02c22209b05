"""How much less shoppers examine lower positions, estimated from products that were shown at several.

The position-based model: a shopper looks at position k with probability p(k), whatever product is there, and clicks
it by its attraction (Wang et al., "Position bias estimation for unbiased learning to rank in personal search",
WSDM 2018). Only the ratios of p can be identified, so the greatest is set to 1.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

_ROUNDS = 20_000
_CLOSE = 1e-10
_STEEPEST = 3.0


@dataclass(frozen=True, slots=True)
class Propensities:
    """The probability of examination by position, estimated at some, the greatest being 1.

    Between known positions, the logarithms are interpolated; beyond, it falls with 1 / position^eta. `clicks` is
    the number of clicks that they rest on; `why` is the reason where the curve is assumed instead.
    """

    positions: NDArray[np.int64]
    values: NDArray[np.float64]
    eta: float
    clicks: int = 0
    why: str | None = None

    def at(self, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        """The probabilities at positions of shape (n,)."""
        place, measured = np.log(positions), np.log(self.positions)
        inside = np.interp(place, measured, np.log(self.values))
        beyond = place - np.clip(place, measured[0], measured[-1])
        return np.minimum(1.0, np.exp(inside - self.eta * beyond))


def assume_curve(eta: float, why: str) -> Propensities:
    """1 / position^eta, the curve that Joachims et al. assume ("Unbiased learning-to-rank", WSDM 2017; eta 1)."""
    return Propensities(np.array([1]), np.array([1.0]), eta, why=why)


def estimate(
    pairs: NDArray[np.int64],
    positions: NDArray[np.int64],
    shown: NDArray[np.int64],
    clicked: NDArray[np.int64],
    least: int,
    eta: float,
) -> Propensities:
    """Estimates from counts for pairs of query and product at positions, all of shape (n,), in any number of parts.

    Estimated are the positions with `least` clicks of products shown elsewhere too; with fewer than two, the curve
    is assumed.
    """
    places, columns = np.unique(positions, return_inverse=True)
    shape = (int(pairs.max()) + 1, len(places))
    n, c = (csr_array((counts.astype(float), (pairs, columns)), shape=shape) for counts in (shown, clicked))
    connected = np.arange(len(places))
    while len(connected) > 1:
        several = np.diff((n[:, connected] > 0).indptr) > 1
        table, clicks = harvest(n[:, connected][several], c[:, connected][several])
        good = clicks >= least
        if good.all():
            count, groups = connected_components(csr_array(table > 0), connection="strong")
            if count == 1:
                return _extrapolate(places[connected], fit_strengths(table), clicks)
            good = groups == np.bincount(groups, clicks).argmax()
        connected = connected[good]
    return assume_curve(eta, f"fewer than two positions have {least} clicks of products shown at others too")


def harvest(n: csr_array, c: csr_array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The table of pairwise comparisons between positions, shape (k, k), and the clicks of each, shape (k,).

    `n` and `c`, both of shape (pairs, k), are how often a pair was shown and clicked. A pair that was shown at two
    positions compares them with its own attraction on both sides (Agarwal et al., "Estimating position bias without
    intrusive interventions", WSDM 2019). Summed over pairs, its clicks at k count n(k') / n times, as in the ratio of
    Mantel and Haenszel (1959): table[k, k'] / table[k', k] then tends to p(k) / p(k') however few times each was shown.
    """
    total = np.maximum(n.sum(axis=1), 1.0)
    table = (c.T @ n.multiply((1 / total)[:, None]).tocsr()).toarray()
    np.fill_diagonal(table, 0.0)
    return table, c.sum(axis=0)


def fit_strengths(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """p of shape (k,), greatest 1, such that table[k, k'] is near p(k) / (p(k) + p(k')) of the two.

    This is the model of Bradley and Terry, and each step of Hunter ("MM algorithms for generalized Bradley-Terry
    models", 2004) raises its likelihood. Every position must be joined to every other through positive entries.
    """
    won, both = table.sum(axis=1), table + table.T
    p = np.ones(len(table))
    for _ in range(_ROUNDS):
        new = won / (both / (p[:, None] + p)).sum(axis=1)
        new /= new.max()
        if np.abs(new - p).max() < _CLOSE:
            return new
        p = new
    return p


def _extrapolate(places: NDArray[np.int64], values: NDArray[np.float64], clicks: NDArray[np.float64]) -> Propensities:
    """Extrapolates with the slope of the known positions, by least squares of the logarithms, clicks as weights."""
    slope = -np.polyfit(np.log(places), np.log(values), 1, w=np.sqrt(clicks))[0]
    eta = float(np.clip(slope, 0.0, _STEEPEST))
    first = values[0] * float(places[0]) ** eta  # the curve's value at position 1, where it is not known
    return Propensities(places.astype(np.int64), values / max(1.0, first), eta, int(clicks.sum()))
