"""Ranks the shortlist when all stages have scored it: by the final score, or by a mix of two orders."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engine.protocol import Vectors
from ranker.mix import mixed_scores
from retrieval.pipeline.candidates import CandidateSet
from retrieval.pipeline.context import RequestContext
from retrieval.pipeline.features import with_relevance
from retrieval.pipeline.final_score import final_scores
from retrieval.pipeline.prerank import Shortlist
from retrieval.pipeline.result import CODE_MATCH_RULE, NEGATION_RULE, PERSONAL_RULE, PRICE_RULE, StageScore


@dataclass(frozen=True, slots=True)
class Ranking:
    """c candidates, ranked. `order` has their places, best first; `scores`, shape (c,), fall in that order.

    `stage` ranked them; `stage_scores` and `stage_ranks`, from 1, are its own, both of shape (k,), of the candidates at
    the first k places. Where a final score ranked, `table` has the features, shape (c, f), and `rules` by how much each
    rule moved each candidate, shape (c,).
    """

    order: NDArray[np.intp]
    scores: Vectors
    stage: str
    stage_scores: Vectors
    stage_ranks: NDArray[np.intp]
    table: Vectors | None = None
    rules: dict[str, Vectors] = field(default_factory=dict)


async def rank(
    context: RequestContext, shortlist: Shortlist, relevance: Vectors, shift: Vectors | None = None
) -> Ranking:
    """Ranks by the final score of the release where the shortlist has features, else by a mix of retrieval's order and
    the cross-encoder's; `relevance` is what `rescore` returns, and `shift`, shape (c,), by how many standard deviations
    of the scores a candidate rises."""
    if shortlist.table is None:
        return rank_by_mix(shortlist, relevance, context.release.mix, shift)
    return await _rank_by_final_score(context, shortlist, with_relevance(shortlist.table, relevance), relevance, shift)


async def _rank_by_final_score(
    context: RequestContext, shortlist: Shortlist, table: Vectors, relevance: Vectors, shift: Vectors | None
) -> Ranking:
    """Among equal scores, the candidate with the higher score before rescoring comes first. Products outside the price
    bounds come below all others, and those that have what the query negates below these."""
    learned = await final_scores(context.release, table, rescored=not np.isnan(relevance).all())
    trees = _shifted(learned, shift)
    # A product whose code the query names comes first, before the order of trees trained on other queries.
    lifted = np.where(shortlist.named, trees + np.ptp(trees) + 1, trees)
    priced = _below_all_others(lifted, shortlist.outside)
    scores = _below_all_others(priced, shortlist.conflicts)
    order = np.argsort(-scores, kind="stable")
    rules = {CODE_MATCH_RULE: lifted - trees, PRICE_RULE: priced - lifted, NEGATION_RULE: scores - priced}
    rules[PERSONAL_RULE] = trees - learned
    return Ranking(order, scores, "final", scores, _ranks(order), table, rules)


def rank_by_mix(shortlist: Shortlist, relevance: Vectors, mix: float, shift: Vectors | None = None) -> Ranking:
    """Rescored candidates by the mix of both orders, then the others in their order, by their score less 1, which is
    below. Products outside the price bounds come behind them, and those that have what the query negates last.

    `relevance`, shape (c,), is NaN from the first candidate on that was not rescored.
    """
    candidates = shortlist.candidates
    rescored = int(np.count_nonzero(~np.isnan(relevance)))
    named = shortlist.named  # a product named by its code is the one that is wanted
    first, last = (None, None) if shift is None else (shift[:rescored], shift[rescored:])
    mixed = np.where(named[:rescored], 1, _inside(_shifted(mixed_scores(relevance[:rescored], mix), first)))
    below = _shifted(candidates.scores[rescored:], last)
    retrieved = np.where(named[rescored:], max(candidates.scores.max(initial=0), below.max(initial=0)), below)
    scores = np.concatenate([mixed, retrieved - 1.0 if rescored else retrieved])
    best = np.argsort(-mixed, kind="stable")
    others = np.arange(rescored, len(candidates.rows))
    if shift is not None:
        others = rescored + np.argsort(-retrieved, kind="stable")
        scores = np.where(np.arange(len(scores)) < rescored, scores, np.minimum(scores, mixed.min(initial=np.inf)))
    order = np.concatenate([best, others])
    for levels in (shortlist.outside, shortlist.conflicts):
        if levels.any():
            scores = _below_all_others(scores, levels)
            order = order[np.argsort(-scores[order], kind="stable")]
    return Ranking(order, scores, "mix", mixed, _ranks(best))


def _shifted(scores: Vectors, shift: Vectors | None) -> Vectors:
    """Scores raised by so many of their standard deviations; both of shape (c,)."""
    return scores if shift is None or len(scores) < 2 else scores + shift * np.std(scores)


def _inside(scores: Vectors) -> Vectors:
    """Scores of a mix, of which a shift may not leave 0 to 1."""
    return np.clip(scores, 0, 1)


def _ranks(order: NDArray[np.intp]) -> NDArray[np.intp]:
    """The rank, from 1, of each of k places that are given in their order."""
    ranks = np.empty(len(order), np.intp)
    ranks[order] = np.arange(1, len(order) + 1)
    return ranks


def relevance_ranks(relevance: Vectors) -> dict[int, int]:
    """The ranks by relevance alone, from 1, by the places of the candidates that were rescored."""
    rescored = np.flatnonzero(~np.isnan(relevance))
    order = rescored[np.argsort(-relevance[rescored], kind="stable")]
    return {int(place): rank for rank, place in enumerate(order, 1)}


def source_scores(candidates: CandidateSet, places: NDArray[np.intp]) -> list[tuple[StageScore, ...]]:
    """The scores of each source for the candidates at these places, and the fused score, by which they are ordered."""
    stages = dict(candidates.sources)
    if candidates.fused is not None:
        stages["fuse"] = candidates.fused
    columns = [(name, one.scores[places].tolist(), one.ranks[places].tolist()) for name, one in stages.items()]
    return [
        tuple(StageScore(name, scores[place], ranks[place]) for name, scores, ranks in columns)
        for place in range(len(places))
    ]


def _below_all_others(scores: Vectors, levels: NDArray[np.bool_] | NDArray[np.float32]) -> Vectors:
    """Scores of which those at a higher level are below all at a lower one, in the same order; shape (c,)."""
    for level in np.unique(levels)[1:]:
        scores = np.where(levels >= level, scores - np.ptp(scores) - 1, scores)
    return scores
