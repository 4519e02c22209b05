"""What is bought together: products of the same baskets, and of later ones, by how often and how lately they were.

The weight of product j beside product i is

    c_ij / sqrt((n_i + s) (n_j + s)),   c_ij = sum over baskets of 0.5^(age / half-life) / sqrt(size - 1)

n being each product's decayed number of baskets, and s a smoothing that keeps pairs down which were seen once or twice.
For later baskets, c_ij is a sum over pairs of a user's baskets, the first with i and the second with j, and has
0.5^(gap / history's half-life) as a further factor.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lifecycle.users.counts import Baskets, decay
from lifecycle.users.settings import UserTraining
from retrieval.recommend.behaviour import DAY, RELATIONS, Neighbours, Relation

_LARGEST_BASKET = 100  # products: of larger ones, which resellers and errors make, the first so many count
_LATER = 20  # baskets that may follow one
_SMOOTHING = 2.0
_BLOCK = 1 << 22  # pairs that are in memory at a time, about


@dataclass(frozen=True, slots=True)
class _Matrices:
    """Baskets by products, and baskets by the baskets that follow."""

    has: sparse.csr_matrix
    within: NDArray[np.float64]
    follows: sparse.csr_matrix


def count_covisits(baskets: Baskets, products: int, end: float, settings: UserTraining) -> dict[Relation, Neighbours]:
    """The neighbours of each of N products in both relations, best first, those of equal weight by their rows."""
    matrices = _matrices(baskets, products, end, settings)
    left = matrices.has.T.tocsr()
    ages = decay(baskets.time, end, settings.pair_days)
    frequency = np.asarray(left @ ages).ravel() + _SMOOTHING
    users = _pairs_of_users(baskets, products) if settings.least_users > 1 else None
    right = {
        "together": sparse.diags(ages * matrices.within) @ matrices.has,
        "followed": matrices.follows @ matrices.has,
    }
    return {name: _best_pairs(left, right[name].tocsr(), frequency, settings, users) for name in RELATIONS}


def _matrices(baskets: Baskets, products: int, end: float, settings: UserTraining) -> _Matrices:
    count = len(baskets.user)
    starts = np.searchsorted(baskets.basket, np.arange(count))
    few = np.arange(len(baskets.basket)) - starts[baskets.basket] < _LARGEST_BASKET
    basket, product = baskets.basket[few], baskets.product[few]
    has = sparse.csr_matrix((np.ones(len(basket)), (basket, product)), (count, products))
    sizes = np.diff(has.indptr)
    within = 1 / np.sqrt(np.maximum(sizes - 1, 1))
    first, second, values = [], [], []
    for ahead in range(1, _LATER + 1):
        at = np.arange(max(0, count - ahead))
        gap = (baskets.time[at + ahead] - baskets.time[at]) / DAY
        at = at[(baskets.user[at] == baskets.user[at + ahead]) & (gap <= settings.window_days)]
        gap = (baskets.time[at + ahead] - baskets.time[at]) / DAY
        weight = decay(baskets.time[at + ahead], end, settings.pair_days) * np.exp2(-gap / settings.history_days)
        first.append(at)
        second.append(at + ahead)
        values.append(weight / np.sqrt(np.maximum(sizes[at + ahead], 1)))
    entries = (np.concatenate(values), (np.concatenate(first), np.concatenate(second)))
    return _Matrices(has, within, sparse.csr_matrix(entries, (count, count)))


def _pairs_of_users(baskets: Baskets, products: int) -> sparse.csr_matrix:
    """Which users have which products: users by products, each 1."""
    users = baskets.user[baskets.basket].astype(np.int64)
    pairs = np.unique(users * products + baskets.product)
    shape = (int(users.max(initial=-1)) + 1, products)
    return sparse.csr_matrix((np.ones(len(pairs)), (pairs // products, pairs % products)), shape)


def _best_pairs(
    left: sparse.csr_matrix,
    right: sparse.csr_matrix,
    frequency: NDArray[np.float64],
    settings: UserTraining,
    users: sparse.csr_matrix | None,
) -> Neighbours:
    """The neighbours of all products, a block of products at a time."""
    root = 1 / np.sqrt(frequency)
    counts: list[NDArray[np.int64]] = []
    places: list[NDArray[np.int64]] = []
    weights: list[NDArray[np.float32]] = []
    transposed = None if users is None else users.T.tocsr()
    for rows in _blocks(left, right):
        pairs = sparse.diags(root[rows]) @ (left[rows] @ right) @ sparse.diags(root)
        if users is not None and transposed is not None:
            enough = transposed[rows] @ users
            enough.data = (enough.data >= settings.least_users).astype(float)
            pairs = pairs.multiply(enough)
        row, product, weight = _sorted_rows(pairs.tocoo(), rows)
        starts = np.searchsorted(row, np.arange(len(rows)))
        kept = np.arange(len(row)) - starts[row] < settings.neighbours
        counts.append(np.bincount(row[kept], minlength=len(rows)))
        places.append(product[kept])
        weights.append(weight[kept])
    return Neighbours(
        np.concatenate([[0], np.cumsum(np.concatenate(counts))]), np.concatenate(places), np.concatenate(weights)
    )


def _sorted_rows(
    pairs: sparse.coo_matrix, rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Rows of the block, products and weights, best first in each row, no product beside itself."""
    row, product, weight = pairs.row.astype(np.int64), pairs.col.astype(np.int64), pairs.data.astype(np.float32)
    other = (product != rows[row]) & (weight > 0)
    row, product, weight = row[other], product[other], weight[other]
    order = np.lexsort((product, -weight, row))
    return row[order], product[order], weight[order]


def _blocks(left: sparse.csr_matrix, right: sparse.csr_matrix) -> list[NDArray[np.int64]]:
    """Rows of products whose pairs, counted generously, fit into a block each, or one product alone."""
    work = left @ np.diff(right.indptr).astype(np.float64)
    ends = np.cumsum(work) // _BLOCK
    return np.split(np.arange(left.shape[0]), np.flatnonzero(np.diff(ends)) + 1)
