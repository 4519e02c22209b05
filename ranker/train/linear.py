"""Learns a linear final score: one weight a feature, drawn towards an order that is known to be good."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

_LEAST_SPREAD = 1e-6
_STEPS = 200
_PADDING = -1e9  # a logit of what is no candidate


@dataclass(frozen=True, slots=True)
class WeighedTable:
    """One query's candidates: features, shape (c, f), the gain of each, shape (c,), and how much the query counts."""

    features: NDArray[np.float32]
    gains: NDArray[np.float64]
    weight: float


@dataclass(frozen=True, slots=True)
class _Batch:
    """q queries of c candidates at most: standardised features, shape (q, c, f), what is no candidate, and each
    candidate's share of its query's gains, both (q, c), and the queries' weights, shape (q,), which sum to 1."""

    features: NDArray[np.float64]
    padding: NDArray[np.float64]
    shares: NDArray[np.float64]
    weights: NDArray[np.float64]

    def loss(self, weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """ListNet's cross-entropy of top places (Cao and others, ICML 2007), and its gradient, shape (f,)."""
        logs = log_softmax(self.features @ weights + self.padding, axis=1)
        loss = -np.sum(self.weights * np.sum(self.shares * np.maximum(logs, _PADDING), 1))
        errors = (np.exp(logs) - self.shares) * self.weights[:, None]
        return float(loss), np.einsum("qc,qcf->f", errors, self.features)


def learn_weights(
    tables: Sequence[WeighedTable], features: Mapping[str, int], start: str, ridge: float
) -> dict[str, float]:
    """The weight of each feature. Missing values count as 0; a query without a gain teaches nothing.

    `features` names the columns, and whether more of each may only raise (1) or lower (-1) the score, or both (0).
    `ridge` draws the weights towards those of feature `start` alone: the more, the closer to its order.
    """
    names = list(features)
    batch, spread = _batch([table for table in tables if table.gains.any()], len(names))
    place = names.index(start)
    alone = np.zeros(len(names))
    bounds = [(0.0 if sign > 0 else None, 0.0 if sign < 0 else None) for sign in features.values()]
    alone[place] = _minimum(
        batch, alone, alone, 0.0, [bounds[i] if i == place else (0.0, 0.0) for i in range(len(names))]
    )[place]
    weights = _minimum(batch, alone, alone, ridge, bounds) / spread
    return dict(zip(names, weights.tolist(), strict=True))


def _minimum(
    batch: _Batch,
    first: NDArray[np.float64],
    centre: NDArray[np.float64],
    ridge: float,
    bounds: Sequence[tuple[float | None, float | None]],
) -> NDArray[np.float64]:
    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        value, gradient = batch.loss(weights)
        away = weights - centre
        return value + ridge * float(away @ away), gradient + 2 * ridge * away

    return np.asarray(minimize(loss, first, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _STEPS}).x)


def _batch(tables: Sequence[WeighedTable], columns: int) -> tuple[_Batch, NDArray[np.float64]]:
    """All queries side by side, their features in units of how much they differ within a query, shape (f,)."""
    filled = [np.nan_to_num(table.features, nan=0.0).astype(np.float64) for table in tables]
    within = np.concatenate([rows - rows.mean(0) for rows in filled]) if filled else np.zeros((0, columns))
    spread = np.maximum(np.sqrt(np.square(within).mean(0)) if len(within) else np.ones(columns), _LEAST_SPREAD)
    longest = max((len(rows) for rows in filled), default=1)
    features = np.zeros((len(tables), longest, columns))
    padding = np.full((len(tables), longest), _PADDING)
    shares = np.zeros((len(tables), longest))
    for place, (table, rows) in enumerate(zip(tables, filled, strict=True)):
        features[place, : len(rows)] = rows / spread
        padding[place, : len(rows)] = 0
        shares[place, : len(rows)] = table.gains / table.gains.sum()
    weights = np.array([table.weight for table in tables])
    return _Batch(features, padding, shares, weights / max(float(weights.sum()), 1e-12)), spread
