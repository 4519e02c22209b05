"""How well probabilities of relevance separate relevant from irrelevant pairs, and whether they are calibrated.

Intervals are 95% percentile-bootstrap intervals over queries, since the pairs of a query are alike. An error of
calibration is never below zero, so noise widens it, in resamples more than in the sample.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve

from evaluation.measures import Estimate, Grades

BINS = 10
_RESAMPLES = 2000
_BATCH = 100

Flags = NDArray[np.bool_]
Numbers = NDArray[np.float64]
Scores = Mapping[str, Mapping[str, float]]  # query -> product -> probability


@dataclass(frozen=True, slots=True)
class Pairs:
    """Judged pairs, three arrays of shape (n,): the query's number from 0, its probability, whether it is relevant."""

    queries: NDArray[np.int64]
    probabilities: Numbers
    relevant: Flags

    @classmethod
    def from_pools(cls, grades: Grades, scores: Scores, bar: float) -> "Pairs":
        """The graded pairs with their probabilities; relevant are grades from the bar on."""
        rows = [
            (number, scores[query][product], grade >= bar)
            for number, (query, products) in enumerate(grades.items())
            for product, grade in products.items()
        ]
        queries, probabilities, relevant = zip(*rows, strict=True)
        return cls(np.array(queries), np.array(probabilities, float), np.array(relevant))


@dataclass(frozen=True, slots=True)
class Report:
    """How often a yes is right, how many of those there are get a yes, and the harmonic mean of both."""

    precision: Estimate
    recall: Estimate
    f1: Estimate
    predicted: int
    actual: int
    queries: int


@dataclass(frozen=True, slots=True)
class Bin:
    """Pairs of about the same probability: its mean, and the share of them that is relevant."""

    pairs: int
    probability: float
    relevant: Estimate


def best_cutoff(pairs: Pairs) -> float:
    """The probability from which on a yes gives the best F1 (van Rijsbergen, 1979); the highest of equals."""
    precision, recall, cutoffs = precision_recall_curve(pairs.relevant, pairs.probabilities)
    with np.errstate(invalid="ignore"):
        f1 = np.nan_to_num(2 * precision * recall / (precision + recall))[: len(cutoffs)]
    return float(cutoffs[np.flatnonzero(f1 == f1.max())[-1]])


def nothing_cutoff(best: Numbers, fits: Flags) -> float | None:
    """The cutoff of queries' best probabilities below which answering "nothing fits" has the best F1.

    Half-way between the last query below it and the next; of equals the lowest. None where all fit or none does, or
    where answering so to every query would be best.
    """
    if fits.all() or not fits.any():
        return None
    last = -best_cutoff(Pairs(np.arange(len(best)), -best, ~fits))
    above = best[best > last]
    return float((last + above.min()) / 2) if len(above) else None


def report(pairs: Pairs, cutoff: float) -> Report:
    """Classifies pairs as relevant from the cutoff on."""
    return _report(pairs.probabilities >= cutoff, pairs.relevant, pairs.queries)


def nothing_fits(pairs: Pairs, cutoff: float) -> Report:
    """Classifies a query as answered by nothing where none of its judged products reaches the cutoff."""
    numbers, places = np.unique(pairs.queries, return_inverse=True)
    reached, fitting = np.zeros(len(numbers), bool), np.zeros(len(numbers), bool)
    np.logical_or.at(reached, places, pairs.probabilities >= cutoff)
    np.logical_or.at(fitting, places, pairs.relevant)
    return _report(~reached, ~fitting, numbers)


def reliability(pairs: Pairs, bins: int = BINS) -> list[Bin]:
    """Bins of equally many pairs by rising probability, those that hold a pair."""
    sums = _bin_sums(pairs, bins)
    observed = resampled(sums, lambda total: total[..., 2] / total[..., 0])
    totals = sums.sum(axis=0)
    return [
        Bin(int(count), float(chance / count), entry)
        for (count, chance, _), entry in zip(totals, observed, strict=True)
        if count
    ]


def calibration_error(pairs: Pairs, bins: int = BINS) -> Estimate:
    """Expected calibration error: the mean over pairs of |share relevant - mean probability| of their bin.

    Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning" (AAAI 2015), with
    bins of equally many pairs.
    """

    def error(total: Numbers) -> Numbers:
        gaps = np.abs(total[..., 2] - total[..., 1]).sum(axis=-1)
        return (gaps / total[..., 0].sum(axis=-1))[..., None]

    return resampled(_bin_sums(pairs, bins), error)[0]


def resampled(sums: Numbers, statistic: Callable[[Numbers], Numbers], seed: int = 0) -> list[Estimate]:
    """m statistics of the totals of per-query sums, with intervals.

    `sums` has shape (queries, ...); the statistic makes (..., m) of totals that may have one more axis in front. What
    is 0/0 in a resample has no part in the interval; what is 0/0 in the sample is NaN.
    """
    count, flat = len(sums), sums.reshape(len(sums), -1)
    random = np.random.default_rng(seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        observed = np.atleast_1d(statistic(sums.sum(axis=0)))
        drawn = [
            statistic(
                (random.multinomial(count, np.full(count, 1 / count), _BATCH) @ flat).reshape(_BATCH, *sums.shape[1:])
            )
            for _ in range(_RESAMPLES // _BATCH)
        ]
    columns = np.concatenate(drawn).T
    return [_estimate(float(value), column, count) for value, column in zip(observed, columns, strict=True)]


def _estimate(value: float, column: Numbers, queries: int) -> Estimate:
    finite = column[np.isfinite(column)]
    if np.isnan(value) or not len(finite):
        return Estimate(float("nan"), float("nan"), float("nan"), queries)
    low, high = np.percentile(finite, [2.5, 97.5])
    return Estimate(value, float(low), float(high), queries)


def _report(predicted: Flags, actual: Flags, queries: NDArray[np.int64]) -> Report:
    def measures(total: Numbers) -> Numbers:
        right, yes, there = total[..., 0], total[..., 1], total[..., 2]
        return np.stack([right / yes, right / there, 2 * right / (yes + there)], axis=-1)

    sums = _sums(queries, np.stack([predicted & actual, predicted, actual], axis=1).astype(float))
    precision, recall, f1 = resampled(sums, measures)
    return Report(precision, recall, f1, int(predicted.sum()), int(actual.sum()), len(predicted))


def _bin_sums(pairs: Pairs, bins: int) -> Numbers:
    """Pairs, probability and relevance by query and bin, shape (queries, bins, 3)."""
    order = np.argsort(pairs.probabilities, kind="stable")
    values = np.zeros((len(order), bins, 3))
    for place, members in enumerate(np.array_split(order, bins)):
        values[members, place] = np.stack(
            [np.ones(len(members)), pairs.probabilities[members], pairs.relevant[members]], axis=1
        )
    return _sums(pairs.queries, values)


def _sums(queries: NDArray[np.int64], values: Numbers) -> Numbers:
    """The sum of each query's values: values of shape (n, ...) become shape (queries, ...)."""
    numbers, places = np.unique(queries, return_inverse=True)
    result = np.zeros((len(numbers), *values.shape[1:]))
    np.add.at(result, places, values)
    return result
