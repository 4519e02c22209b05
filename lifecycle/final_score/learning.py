"""Trains a final score on queries and their candidates, and measures it on held-out queries."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from core.fusion import RANK_CONSTANT
from core.progress import Report, ignore
from evaluation import measures
from ranker.features import FEATURE_NAMES, MONOTONICITY, TREE_FEATURES
from ranker.mix import mixed_scores
from ranker.train.final import CrossValidatedTrees, FinalTraining, QueryTable, assign_folds, learn
from retrieval.pipeline.candidates import CandidateSet
from retrieval.pipeline.coverage import favour
from retrieval.pipeline.features import with_relevance

FUSED, RERANKED, FINAL, PRERANKED = "fused", "fused, reranked", "final", "final without the cross-encoder"

# How much the lexical source counts beside the dense one.
RATIOS = (0.0, 0.25, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0)
# Candidates that a smaller depth to rescore has less.
_STEP = 4
_TREE_COLUMNS = [FEATURE_NAMES.index(name) for name in TREE_FEATURES]

Values = dict[str, float]  # by query
Scores = NDArray[np.float32]


@dataclass(frozen=True)
class QueryCandidates:
    """A query, its c candidates, their features without relevance, shape (c, f), and their relevance, shape (c,).

    `seconds` is how long each stage of the pipeline took.
    """

    query: str
    found: CandidateSet
    features: NDArray[np.float32]
    relevance: NDArray[np.float32]
    ids: list[str]
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class GradedQueries:
    """The grades of all queries, and the lowest grade."""

    grades: Mapping[str, Mapping[str, float]]
    lowest: float

    def ndcg(self, queries: Sequence[QueryCandidates], scores: Iterable[Scores]) -> Values:
        """nDCG@10 over the catalog of each query's candidates in the order of their scores, shape (c,)."""
        rankings = {entry.query: _ranked(entry, row) for entry, row in zip(queries, scores, strict=True)}
        chosen = {query: dict(self.grades[query]) for query in rankings}
        _, highest = measures.grade_range(chosen)
        return measures.full_ranking_measures(chosen, rankings, self.lowest, highest)["nDCG@10"]

    def gains(self, entry: QueryCandidates) -> NDArray[np.float64]:
        """The gains of a query's candidates, shape (c,); 0 without a judgment."""
        grades = self.grades[entry.query]
        return np.array([2 ** (grades.get(name, self.lowest) - self.lowest) - 1 for name in entry.ids])


class Scorer(Protocol):
    """Trees, or weights, over the features of `ranker.features`."""

    def scores(self, table: NDArray[np.float32], /) -> NDArray[np.float32]:
        """Scores of an unseen query's candidates, shape (c, f) -> (c,)."""
        ...


@dataclass(frozen=True)
class TreeScorer:
    """Trees over `TREE_FEATURES`."""

    learned: CrossValidatedTrees

    def scores(self, table: NDArray[np.float32], /) -> NDArray[np.float32]:
        """Scores of an unseen query's candidates, shape (c, f) -> (c,)."""
        return self.learned.scores(_tree_columns(table))

    def held_out(self, tables: Iterable[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """See `CrossValidatedTrees`."""
        return self.learned.held_out(map(_tree_columns, tables))


@dataclass(frozen=True)
class FinalModel:
    """The fusion weight, what scores before and after rescoring, and the rescoring depth: 0 for no rescoring."""

    ratio: float
    first: Scorer
    final: Scorer
    depth: int

    def score_stages(
        self, queries: Sequence[QueryCandidates], settings: FinalTraining, mix: float
    ) -> dict[str, list[Scores]]:
        """Scores by each stage of the candidates of queries that trained nothing here, each of shape (c,).

        `mix` is the weight of the cross-encoder where there is no final score.
        """
        fused = [fused_scores(entry.found, self.ratio) for entry in queries]
        prerank = [self.first.scores(entry.features) for entry in queries]
        final = prerank
        if self.depth:
            rescored = rescored_relevance(queries, prerank, self.depth)
            final = [self.final.scores(with_relevance(e.features, r)) for e, r in zip(queries, rescored, strict=True)]
        rescored = rescored_relevance(queries, fused, settings.rerank_depth)
        reranked = [_reranked(scores, relevance, mix) for scores, relevance in zip(fused, rescored, strict=True)]
        return {FUSED: fused, RERANKED: reranked, PRERANKED: prerank, FINAL: final}


@dataclass(frozen=True)
class TreeModel(FinalModel):
    """A final model of trees."""

    first: TreeScorer
    final: TreeScorer


def choose(queries: Sequence[QueryCandidates], grades: GradedQueries, settings: FinalTraining) -> TreeModel:
    """Trains the prerank trees, without relevance, and the final trees, with the relevance of what the first put first.

    The cross-encoder is left out, at depth 0, unless its gain over the first trees is significant.
    """
    ratio = tune_ratio(queries, grades)
    features = [entry.features for entry in queries]
    gains = [grades.gains(entry) for entry in queries]

    def rescored(depth: int) -> list[NDArray[np.float32]]:
        scores = rescored_relevance(queries, prerank, depth)
        return [with_relevance(table, relevance) for table, relevance in zip(features, scores, strict=True)]

    def train(tables: Iterable[NDArray[np.float32]]) -> TreeScorer:
        rows = [QueryTable(_tree_columns(table), gain) for table, gain in zip(tables, gains, strict=True)]
        return TreeScorer(learn(rows, {name: MONOTONICITY[name] for name in TREE_FEATURES}, settings))

    first = train(features)
    prerank = first.held_out(features)
    if not settings.rerank_depth or all(np.isnan(entry.relevance).all() for entry in queries):
        return TreeModel(ratio, first, first, 0)
    final = train(rescored(settings.rerank_depth))
    prerank_ndcg = grades.ndcg(queries, prerank)
    depth = choose_depth(settings, prerank_ndcg, lambda depth: grades.ndcg(queries, final.held_out(rescored(depth))))
    return TreeModel(ratio, first, final if depth else first, depth)


def evaluate_held_out(
    queries: Sequence[QueryCandidates],
    grades: GradedQueries,
    settings: FinalTraining,
    mix: float = 1.0,
    report: Report = ignore,
) -> dict[str, Values]:
    """nDCG@10 by stage and query, of choices made without the query: its weight, its trees, their number and depth."""
    result: dict[str, Values] = {}
    fold_of = assign_folds(len(queries), settings.folds, settings.seed + 1)
    for fold in range(settings.folds):
        inside, outside = (
            [entry for entry, own in zip(queries, fold_of.tolist(), strict=True) if (own == fold) == held]
            for held in (False, True)
        )
        if inside and outside:
            for stage, scores in choose(inside, grades, settings).score_stages(outside, settings, mix).items():
                result.setdefault(stage, {}).update(grades.ndcg(outside, scores))
        report(fold + 1, settings.folds)
    return result


def tune_ratio(queries: Sequence[QueryCandidates], grades: GradedQueries) -> float:
    """The weight of lexical ranks beside dense ones that gives the fused lists the best nDCG@10."""

    def mean_ndcg(ratio: float) -> float:
        values = grades.ndcg(queries, (fused_scores(entry.found, ratio) for entry in queries))
        return float(np.mean(list(values.values())))

    return max(RATIOS, key=mean_ndcg)


def fused_scores(candidates: CandidateSet, ratio: float) -> Scores:
    """As serving fuses with weights 1 and `ratio`, or 1 / ratio and 1 where words count more; shape (c,)."""
    assert candidates.dense and candidates.lexical
    dense, lexical = fusion_weights(ratio)
    parts = [
        np.where(source.ranks > 0, weight / (RANK_CONSTANT + source.ranks), 0)
        for source, weight in ((candidates.dense, dense), (candidates.lexical, lexical))
    ]
    if candidates.query is not None and candidates.evidence is not None:
        parts.append(favour(candidates.query, candidates.evidence, lexical))
    return np.sum(parts, 0).astype(np.float32)


def fusion_weights(ratio: float) -> tuple[float, float]:
    """The weights of the dense and the lexical source."""
    return (1.0, ratio) if ratio <= 1 else (1 / ratio, 1.0)


def choose_depth(settings: FinalTraining, prerank_ndcg: Values, ndcg_at: Callable[[int], Values]) -> int:
    """The depth below which more than the allowed nDCG@10 may be lost, by the 95% interval; 0 if none surely gains.

    `prerank_ndcg` are the values without rescoring. The depth falls in small steps, so that one depth which is good by
    chance does not decide.
    """
    depth = settings.rerank_depth
    whole = ndcg_at(depth)
    if not _difference(prerank_ndcg, whole).low > 0:
        return 0
    while depth > _STEP:
        fewer = ndcg_at(depth - _STEP)
        if _difference(whole, fewer).low < -settings.depth_loss or not _difference(prerank_ndcg, fewer).low > 0:
            break
        depth -= _STEP
    return depth


def _tree_columns(table: NDArray[np.float32]) -> NDArray[np.float32]:
    return table[:, _TREE_COLUMNS]


def _difference(before: Values, after: Values) -> measures.Estimate:
    return measures.estimate([after[query] - before[query] for query in before])


def rescored_relevance(queries: Sequence[QueryCandidates], scores: Iterable[Scores], depth: int) -> list[Scores]:
    """The relevance of the `depth` candidates that score highest, by query; NaN for the others."""
    return [_cut(entry.relevance, row, depth) for entry, row in zip(queries, scores, strict=True)]


def _cut(relevance: Scores, scores: Scores, depth: int) -> Scores:
    result = np.full(len(relevance), np.nan, np.float32)
    first = np.argsort(-scores, kind="stable")[:depth]
    result[first] = relevance[first]
    return result


def _reranked(fused: Scores, relevance: Scores, mix: float) -> Scores:
    """The order served without a final score: rescored candidates mixed, the others after them."""
    order = np.argsort(-fused, kind="stable")
    rescored = order[~np.isnan(relevance[order])]
    scores = fused - 1
    scores[rescored] = mixed_scores(relevance[rescored], mix)
    return scores


def _ranked(entry: QueryCandidates, scores: Scores) -> list[str]:
    return [entry.ids[place] for place in np.argsort(-scores, kind="stable")]
