"""How a final score is chosen and learned of asked queries, and what it is worth on queries without a part in it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.fusion import RANK_CONSTANT
from core.progress import Report, ignore
from evaluation import measures
from ranker.features import MONOTONICITY
from ranker.mix import mixed_scores
from ranker.train.final import CrossValidatedTrees, FinalTraining, QueryTable, folds_of, learn
from retrieval.pipeline.candidates import CandidateSet
from retrieval.pipeline.coverage import favour
from retrieval.pipeline.features import with_relevance

FUSED, RERANKED, FINAL, PRERANKED = "fused", "fused, reranked", "final", "final without the cross-encoder"

# How much the lexical source counts beside the dense one.
_RATIOS = (0.0, 0.25, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0)
# Candidates that a smaller depth to rescore has less.
_STEP = 4

Values = dict[str, float]  # by query
Scores = NDArray[np.float32]


@dataclass(frozen=True)
class QueryCandidates:
    """A query, its c candidates, their features before the cross-encoder spoke, shape (c, f), and its word on each."""

    query: str
    found: CandidateSet
    features: NDArray[np.float32]
    relevance: NDArray[np.float32]
    ids: list[str]


@dataclass(frozen=True)
class GradedQueries:
    """The grades of all queries, and the lowest there is."""

    grades: Mapping[str, Mapping[str, float]]
    lowest: float

    def ndcg(self, asked: Sequence[QueryCandidates], scores: Iterable[Scores]) -> Values:
        """nDCG@10 over the catalog of each query's candidates in the order of their scores, shape (c,)."""
        rankings = {entry.query: _ranked(entry, row) for entry, row in zip(asked, scores, strict=True)}
        chosen = {query: dict(self.grades[query]) for query in rankings}
        _, highest = measures.grade_range(chosen)
        return measures.full_ranking_measures(chosen, rankings, self.lowest, highest)["nDCG@10"]

    def gains(self, entry: QueryCandidates) -> NDArray[np.float64]:
        """Of a query's candidates, shape (c,); 0 where nobody judged."""
        grades = self.grades[entry.query]
        return np.array([2 ** (grades.get(name, self.lowest) - self.lowest) - 1 for name in entry.ids])


@dataclass(frozen=True)
class FinalModel:
    """The fusion weight, both sets of trees, and the candidates worth rescoring: 0 where the first rank alone."""

    ratio: float
    first: CrossValidatedTrees
    final: CrossValidatedTrees
    depth: int

    def stages(self, asked: Sequence[QueryCandidates], settings: FinalTraining, mix: float) -> dict[str, list[Scores]]:
        """What each stage gives the candidates of queries that were not learned of, each of shape (c,).

        `mix` is what the cross-encoder counts where there is no final score.
        """
        fused = [fused_scores(entry.found, self.ratio) for entry in asked]
        worth = [self.first.scores(entry.features) for entry in asked]
        final = worth
        if self.depth:
            heard = _heard(asked, worth, self.depth)
            final = [self.final.scores(with_relevance(e.features, r)) for e, r in zip(asked, heard, strict=True)]
        heard = _heard(asked, fused, settings.rerank_depth)
        reranked = [_reranked(scores, relevance, mix) for scores, relevance in zip(fused, heard, strict=True)]
        return {FUSED: fused, RERANKED: reranked, PRERANKED: worth, FINAL: final}


def choose(asked: Sequence[QueryCandidates], judged: GradedQueries, settings: FinalTraining) -> FinalModel:
    """First trees that see nothing of the cross-encoder, then those that see its word on what the first put first.

    The cross-encoder is left out, at depth 0, unless it surely gains on what the first trees rank alone.
    """
    ratio = tuned_ratio(asked, judged)
    blind = [entry.features for entry in asked]
    gains = [judged.gains(entry) for entry in asked]

    def heard(depth: int) -> list[NDArray[np.float32]]:
        spoken = _heard(asked, worth, depth)
        return [with_relevance(table, relevance) for table, relevance in zip(blind, spoken, strict=True)]

    def learned(rows: Iterable[NDArray[np.float32]]) -> CrossValidatedTrees:
        return learn([QueryTable(row, gain) for row, gain in zip(rows, gains, strict=True)], MONOTONICITY, settings)

    first = learned(blind)
    worth = first.held_out(blind)
    if not settings.rerank_depth or all(np.isnan(entry.relevance).all() for entry in asked):
        return FinalModel(ratio, first, first, 0)
    final = learned(heard(settings.rerank_depth))
    alone = judged.ndcg(asked, worth)
    depth = enough(settings, alone, lambda depth: judged.ndcg(asked, final.held_out(heard(depth))))
    return FinalModel(ratio, first, final if depth else first, depth)


def held_out(
    asked: Sequence[QueryCandidates],
    judged: GradedQueries,
    settings: FinalTraining,
    mix: float = 1.0,
    report: Report = ignore,
) -> dict[str, Values]:
    """nDCG@10 by stage and query, of choices made without the query: its weight, its trees, their number and depth."""
    result: dict[str, Values] = {}
    fold_of = folds_of(len(asked), settings.folds, settings.seed + 1)
    for fold in range(settings.folds):
        inside, outside = (
            [entry for entry, own in zip(asked, fold_of.tolist(), strict=True) if (own == fold) == held]
            for held in (False, True)
        )
        if inside and outside:
            for stage, scores in choose(inside, judged, settings).stages(outside, settings, mix).items():
                result.setdefault(stage, {}).update(judged.ndcg(outside, scores))
        report(fold + 1, settings.folds)
    return result


def tuned_ratio(asked: Sequence[QueryCandidates], judged: GradedQueries) -> float:
    """How much ranks by words are to count beside those of the towers: the best nDCG@10 of the fused lists."""

    def worth(ratio: float) -> float:
        values = judged.ndcg(asked, (fused_scores(entry.found, ratio) for entry in asked))
        return float(np.mean(list(values.values())))

    return max(_RATIOS, key=worth)


def fused_scores(found: CandidateSet, ratio: float) -> Scores:
    """As serving fuses with weights 1 and `ratio`, or 1 / ratio and 1 where words count more; shape (c,)."""
    assert found.dense and found.lexical
    dense, lexical = weights(ratio)
    parts = [
        np.where(source.ranks > 0, weight / (RANK_CONSTANT + source.ranks), 0)
        for source, weight in ((found.dense, dense), (found.lexical, lexical))
    ]
    if found.query is not None and found.evidence is not None:
        parts.append(favour(found.query, found.evidence, lexical))
    return np.sum(parts, 0).astype(np.float32)


def weights(ratio: float) -> tuple[float, float]:
    """Of the dense and the lexical source."""
    return (1.0, ratio) if ratio <= 1 else (1 / ratio, 1.0)


def enough(settings: FinalTraining, alone: Values, measured: Callable[[int], Values]) -> int:
    """The depth below which more than the allowed nDCG@10 may be lost, by the 95% interval; 0 if none surely gains.

    `alone` are the values without rescoring. A few less at a time, so that one depth which is good by chance does not
    decide.
    """
    depth = settings.rerank_depth
    whole = measured(depth)
    if not _difference(alone, whole).low > 0:
        return 0
    while depth > _STEP:
        fewer = measured(depth - _STEP)
        if _difference(whole, fewer).low < -settings.depth_loss or not _difference(alone, fewer).low > 0:
            break
        depth -= _STEP
    return depth


def _difference(before: Values, after: Values) -> measures.Estimate:
    return measures.estimate([after[query] - before[query] for query in before])


def _heard(asked: Sequence[QueryCandidates], worth: Iterable[Scores], depth: int) -> list[Scores]:
    """The relevance of the candidates that are worth most; NaN for the others, as if there was no time."""
    return [_cut(entry.relevance, scores, depth) for entry, scores in zip(asked, worth, strict=True)]


def _cut(relevance: Scores, worth: Scores, depth: int) -> Scores:
    kept = np.full(len(relevance), np.nan, np.float32)
    first = np.argsort(-worth, kind="stable")[:depth]
    kept[first] = relevance[first]
    return kept


def _reranked(fused: Scores, relevance: Scores, mix: float) -> Scores:
    """What would be served without a final score: the rescored ones mixed, the others behind them."""
    order = np.argsort(-fused, kind="stable")
    spoken = order[~np.isnan(relevance[order])]
    scores = fused - 1
    scores[spoken] = mixed_scores(relevance[spoken], mix)
    return scores


def _ranked(entry: QueryCandidates, scores: Scores) -> list[str]:
    return [entry.ids[place] for place in np.argsort(-scores, kind="stable")]
