"""Learns a final score of several shops that holds in others: what it is worth is measured in shops left out of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from core.progress import Report, ignore
from evaluation.comparison import PairedComparison, paired
from lifecycle.final_score.costs import measured_costs
from lifecycle.final_score.learning import (
    FINAL,
    FUSED,
    RATIOS,
    FinalModel,
    GradedQueries,
    QueryCandidates,
    Values,
    fused_scores,
    rescored_relevance,
)
from lifecycle.quality.costs import StageCost
from ranker.features import FEATURE_NAMES, MONOTONICITY, PORTABLE_FEATURES
from ranker.linear import LinearScore
from ranker.train.final import FinalTraining
from ranker.train.linear import WeighedTable, learn_weights
from retrieval.pipeline.features import with_relevance

# What all grades are rescaled to: the best product of a query gains three times what one of half the grade gains.
_GRADES = 2.0
# How much the weights are drawn towards those of fusion alone.
_RIDGES = (1e-4, 1e-3, 1e-2, 1e-1)
# Candidates of a query that are learned from, the first by fusion: what lies below hardly reaches the first page.
_LEARNED = 60
_START = "fused_score"
_COLUMNS = [FEATURE_NAMES.index(name) for name in PORTABLE_FEATURES]
_RELEVANCE = PORTABLE_FEATURES.index("rerank_probability")
_FUSED = FEATURE_NAMES.index(_START)


@dataclass(frozen=True)
class ShopQueries:
    """A shop's queries with their candidates and grades. `made_up`: whether the queries were made of its catalog."""

    name: str
    queries: Sequence[QueryCandidates]
    grades: GradedQueries
    highest: float
    made_up: bool = False

    @property
    def has_relevance(self) -> bool:
        """Whether a cross-encoder rescored any candidate."""
        return any(not np.isnan(entry.relevance).all() for entry in self.queries)

    @cached_property
    def fusion(self) -> dict[float, Values]:
        """nDCG@10 of fusion's order, by the weight of words beside the towers' and by query."""
        return {ratio: self._fused(ratio) for ratio in RATIOS}

    def _fused(self, ratio: float) -> Values:
        return self.grades.ndcg(self.queries, (fused_scores(entry.found, ratio) for entry in self.queries))

    def gains(self, entry: QueryCandidates) -> NDArray[np.float64]:
        """The gains of a query's candidates, shape (c,), as if all shops had the same lowest and highest grade."""
        grades, lowest = self.grades.grades[entry.query], self.grades.lowest
        span = max(self.highest - lowest, 1e-9)
        return np.array([2 ** (_GRADES * (grades.get(name, lowest) - lowest) / span) - 1 for name in entry.ids])


@dataclass(frozen=True)
class PortableModel(FinalModel):
    """A final model of weights by feature. `ridge` is None where no weights were better than fusion's order."""

    first_weights: Mapping[str, float]
    weights: Mapping[str, float]
    ridge: float | None


@dataclass(frozen=True)
class LeftOut:
    """nDCG@10 of a shop's queries by stage, by a model that was learned of the other shops, and what each stage gains
    and takes there."""

    shop: ShopQueries
    model: PortableModel
    values: dict[str, Values]
    costs: list[StageCost]

    def over_fused(self, stage: str = FINAL) -> PairedComparison:
        """The stage against what retrieval fuses with equal weights."""
        return paired(self.values[FUSED], self.values[stage])


Differences = Sequence[Sequence[float]]  # of each shop's queries


def learn_portable(shops: Sequence[ShopQueries], settings: FinalTraining) -> PortableModel:
    """Learns from all shops, each of which counts the same.

    How strongly, with which fusion and to which depth is chosen by what is gained in each shop by learning from the
    others: by judged shops before made-up queries, and nothing by which one of them surely loses. Of a single shop,
    nothing is learned.
    """
    ratio = _choose_ratio(shops)
    fused = [_with_ratio(shop, ratio) for shop in shops]
    ridge = _choose_ridge(fused, [shop.fusion[1.0] for shop in shops])
    if ridge is None:
        only = {_START: 1.0}
        return PortableModel(ratio, _linear(only), _linear(only), 0, only, only, None)
    first = _weights(fused, ridge)
    rescored = [shop for shop in fused if shop.has_relevance]
    depth, last = 0, first
    if settings.rerank_depth and len(rescored) > 1:
        last = _weights(rescored, ridge, settings.rerank_depth)
        depth = _choose_depth(rescored, ridge, settings)
    return PortableModel(ratio, _linear(first), _linear(last), depth, first, last, ridge)


def leave_one_out(shops: Sequence[ShopQueries], settings: FinalTraining, report: Report = ignore) -> list[LeftOut]:
    """Each shop by a model in which it had no part, nor in any choice of it."""
    result = []
    for place, shop in enumerate(shops):
        model = learn_portable([other for other in shops if other is not shop], settings)
        values = score_shop(shop, model, settings)
        costs = measured_costs(shop.queries, shop.grades, values, settings.rerank_depth, model.depth)
        result.append(LeftOut(shop, model, values, costs))
        report(place + 1, len(shops))
    return result


def score_shop(shop: ShopQueries, model: PortableModel, settings: FinalTraining) -> dict[str, Values]:
    """nDCG@10 of the shop's queries by stage; `fused` is that of equal weights."""
    scores = model.score_stages(_with_ratio(shop, model.ratio).queries, settings, 1.0)
    values = {stage: shop.grades.ndcg(shop.queries, own) for stage, own in scores.items()}
    return values | {FUSED: shop.fusion[1.0]}


def mean_of_shops(differences: Differences) -> tuple[float, float]:
    """The mean over shops of the means over their queries, and its standard error, the shops taken as they are."""
    means = [float(np.mean(values)) for values in differences]
    errors = [_error(values) for values in differences]
    return float(np.mean(means)), sqrt(sum(error**2 for error in errors)) / len(differences)


def surely_loses(difference: Sequence[float]) -> bool:
    """Whether the mean is below zero by twice its standard error."""
    return float(np.mean(difference)) + 2 * _error(difference) < 0


def _choose_ratio(shops: Sequence[ShopQueries]) -> float:
    """The fusion that is best in the mean over shops, those that are judged where there are any. Another than that of
    equal weights has to gain surely in their mean, and to lose surely in no shop."""
    judged = [shop for shop in shops if not shop.made_up] or list(shops)
    best, most = 1.0, 0.0
    for ratio in RATIOS:
        mean, error = mean_of_shops([_gained(shop.fusion[1.0], shop.fusion[ratio]) for shop in judged])
        loses = any(surely_loses(_gained(shop.fusion[1.0], shop.fusion[ratio])) for shop in shops)
        if mean > max(most, 2 * error) and not loses:
            best, most = ratio, mean
    return best


def _gained(before: Values, after: Values) -> list[float]:
    """By query, in the order of `before`."""
    return [after[query] - before[query] for query in before]


def _choose_ridge(shops: Sequence[ShopQueries], before: Sequence[Values]) -> float | None:
    """The best ridge by what is gained over `before`, the values of each shop; None where each loses surely in some
    shop, or there is a single shop."""
    if len(shops) < 2:
        return None

    best: tuple[float, float] | None = None
    chosen = None
    for ridge in _RIDGES:
        scores = [_linear(_weights(_without(shops, shop), ridge)) for shop in shops]
        gains = [_gain(*entry) for entry in zip(shops, before, scores, strict=True)]
        if any(map(surely_loses, gains)):
            continue
        judged = [gain for shop, gain in zip(shops, gains, strict=True) if not shop.made_up] or gains
        score = (mean_of_shops(judged)[0], mean_of_shops(gains)[0])
        if score[0] > 0 and (best is None or score > best):
            best, chosen = score, ridge
    return chosen


def _gain(shop: ShopQueries, before: Values, score: LinearScore) -> list[float]:
    """What the score gains of each query without the cross-encoder."""
    return _gained(before, shop.grades.ndcg(shop.queries, (score.scores(entry.features) for entry in shop.queries)))


def _choose_depth(shops: Sequence[ShopQueries], ridge: float, settings: FinalTraining) -> int:
    """The whole depth where rescoring gains surely in the mean of shops left out and loses surely in none; else 0."""
    gains = []
    for shop in shops:
        others = _without(shops, shop)
        first = _linear(_weights(others, ridge))
        last = _linear(_weights(others, ridge, settings.rerank_depth))
        prerank = [first.scores(entry.features) for entry in shop.queries]
        rescored = rescored_relevance(shop.queries, prerank, settings.rerank_depth)
        final = (last.scores(with_relevance(e.features, r)) for e, r in zip(shop.queries, rescored, strict=True))
        gains.append(_gained(shop.grades.ndcg(shop.queries, prerank), shop.grades.ndcg(shop.queries, final)))
    mean, error = mean_of_shops(gains)
    return settings.rerank_depth if mean > 2 * error and not any(map(surely_loses, gains)) else 0


def _weights(shops: Sequence[ShopQueries], ridge: float, depth: int = 0) -> dict[str, float]:
    """The weights of all shops' queries; with a depth, of those that fusion has first rescored to it."""
    features = {name: MONOTONICITY[name] for name in PORTABLE_FEATURES}
    tables = [table for shop in shops for table in _tables(shop, depth)]
    return learn_weights(tables, features, _START, ridge)


def _tables(shop: ShopQueries, depth: int) -> Iterable[WeighedTable]:
    fused = [entry.features[:, _FUSED] for entry in shop.queries]
    for entry, scores, relevance in zip(
        shop.queries, fused, rescored_relevance(shop.queries, fused, depth), strict=True
    ):
        first = np.argsort(-scores, kind="stable")[:_LEARNED]
        columns = with_relevance(entry.features, relevance)[first][:, _COLUMNS]
        yield WeighedTable(columns, shop.gains(entry)[first], 1 / len(shop.queries))


def _with_ratio(shop: ShopQueries, ratio: float) -> ShopQueries:
    """The shop's queries with candidates fused at this ratio."""
    queries = []
    for entry in shop.queries:
        features = entry.features.copy()
        features[:, _FUSED] = fused_scores(entry.found, ratio)
        queries.append(replace(entry, features=features))
    return replace(shop, queries=queries)


def _linear(weights: Mapping[str, float]) -> LinearScore:
    return LinearScore(weights, FEATURE_NAMES)


def _without(shops: Sequence[ShopQueries], left: ShopQueries) -> list[ShopQueries]:
    return [shop for shop in shops if shop is not left]


def _error(differences: Sequence[float]) -> float:
    return float(np.std(differences, ddof=1)) / sqrt(len(differences)) if len(differences) > 1 else float("inf")
