"""Ranking measures, by `ir-measures`, and their intervals.

Gains are 2^(grade - lowest) - 1, the exponential gain of Burges et al., "Learning to rank using gradient descent"
(ICML 2005), over the lowest grade of the set; a product is relevant from the middle of the grades' range on, by
default. Fractional grades are kept: gains reach trec_eval, which wants whole numbers, in thousandths, and nDCG
does not change when all gains are scaled alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ir_measures
import numpy as np
from ir_measures import RR, Judged, R, nDCG
from numpy.typing import NDArray

_SCALE = 1000
_RESAMPLES = 2000
CUTOFF = 10

Grades = Mapping[str, Mapping[str, float]]  # query -> product -> grade
Rankings = Mapping[str, Sequence[str]]  # query -> products, best first
PerQuery = dict[str, dict[str, float]]  # measure -> query -> value


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over queries and its 95% interval."""

    mean: float
    low: float
    high: float
    queries: int


def gain(grade: float, lowest: float) -> float:
    """2^(grade - lowest) - 1."""
    return 2.0 ** (grade - lowest) - 1.0


def grade_range(grades: Grades) -> tuple[float, float]:
    """The lowest and the highest grade of a set; where there is one alone, above 0, what is not judged has 0."""
    values = [grade for products in grades.values() for grade in products.values()]
    lowest, highest = min(values), max(values)
    return (0.0 if lowest == highest > 0 else lowest), highest


def full_ranking_measures(grades: Grades, rankings: Rankings, lowest: float, relevant: float) -> PerQuery:
    """nDCG@10, MRR@10, recall@100 and the share judged of the top 10, per query; unjudged products gain nothing.

    Queries without a relevant product have no recall, and those without any gain no nDCG; they are left out of it.
    """
    bar = _units(relevant, lowest)
    names = {nDCG @ 10: "nDCG@10", RR(rel=bar) @ 10: "MRR@10", R(rel=bar) @ 100: "recall@100", Judged @ 10: "judged@10"}
    by_measure = _measure(list(names), grades, rankings, lowest)
    result: PerQuery = {name: by_measure[measure] for measure, name in names.items()}
    useful = {
        "nDCG@10": {query for query, products in grades.items() if max(products.values()) > lowest},
        "MRR@10": (with_relevant := {q for q, products in grades.items() if max(products.values()) >= relevant}),
        "recall@100": with_relevant,
        "judged@10": set(grades),
    }
    return {name: {q: v for q, v in values.items() if q in useful[name]} for name, values in result.items()}


def pool_ndcg(grades: Grades, rankings: Rankings, lowest: float) -> dict[str, float]:
    """nDCG@10 per query over its judged products alone; queries without any gain are left out."""
    some_gain = {query: products for query, products in grades.items() if max(products.values()) > lowest}
    return _measure([nDCG @ 10], some_gain, rankings, lowest)[nDCG @ 10]


def random_pool_ndcg(products: Mapping[str, float], lowest: float) -> float:
    """The expected nDCG@10 of a random order of one query's judged products.

    Every place expects the mean gain, so E[DCG] = mean gain * sum of 1 / log2(place + 1).
    """
    gains = np.array([gain(grade, lowest) for grade in products.values()])
    discounts = 1 / np.log2(np.arange(2, 2 + min(CUTOFF, len(gains))))
    ideal = np.sort(gains)[::-1][:CUTOFF] @ discounts
    return float(gains.mean() * discounts.sum() / ideal)


def estimate(values: Sequence[float], seed: int = 0) -> Estimate:
    """The mean with a 95% percentile-bootstrap interval over queries (Efron, 1979)."""
    if not values:
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    sample: NDArray[np.float64] = np.asarray(values, float)
    random = np.random.default_rng(seed)
    means = [sample[random.integers(0, len(sample), len(sample))].mean() for _ in range(_RESAMPLES)]
    low, high = np.percentile(means, [2.5, 97.5])
    return Estimate(float(sample.mean()), float(low), float(high), len(sample))


def _units(grade: float, lowest: float) -> int:
    return round(_SCALE * gain(grade, lowest))


def _measure(measures: list, grades: Grades, rankings: Rankings, lowest: float) -> dict:
    qrels = {q: {p: _units(grade, lowest) for p, grade in products.items()} for q, products in grades.items()}
    run = {q: {p: -float(place) for place, p in enumerate(rankings.get(q, ()))} for q in grades}
    values: dict = {measure: dict.fromkeys(grades, 0.0) for measure in measures}
    for metric in ir_measures.iter_calc(measures, qrels, {q: r for q, r in run.items() if r}):
        values[metric.measure][metric.query_id] = float(metric.value)
    return values
