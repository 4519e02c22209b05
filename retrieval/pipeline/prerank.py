"""Orders candidates before they are rescored: the first are worth the cross-encoder's time."""

import asyncio
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.protocol import Vectors
from retrieval.pipeline.candidates import CandidateSet
from retrieval.pipeline.context import RequestContext
from retrieval.pipeline.features import code_matches, compute_features
from retrieval.pipeline.final_score import final_scores
from retrieval.pipeline.lexical import LexicalFailed
from retrieval.pipeline.result import LEXICAL_FAILED
from retrieval.understanding.agreement import AGREEMENT_FEATURES, compute_agreement
from retrieval.understanding.result import HARD, OFF
from retrieval.understanding.types import with_candidates
from text.price_bounds import PriceBounds


@dataclass(frozen=True, slots=True)
class Shortlist:
    """c candidates in the order in which they are worth rescoring.

    `table` has their features, shape (c, f), before they are rescored; None where no final score ranks them. `named`
    marks products that the query names by their code, `outside` those whose price is outside the bounds that it states,
    and `conflicts` is above 0 for those that have what it negates; all of shape (c,).
    """

    candidates: CandidateSet
    table: Vectors | None
    named: NDArray[np.bool_]
    outside: NDArray[np.bool_]
    conflicts: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.candidates.rows)

    def ordered(self, places: NDArray[np.int64]) -> "Shortlist":
        """The same candidates in another order."""
        table = None if self.table is None else self.table[places]
        return Shortlist(
            self.candidates.ordered(places), table, self.named[places], self.outside[places], self.conflicts[places]
        )


async def prerank(context: RequestContext, candidates: CandidateSet, bounds: PriceBounds | None) -> Shortlist:
    """Orders by the final score without the cross-encoder, where there is one; what the query names by its code comes
    first, before that what costs as much as it states, and before all else what has nothing that it negates."""
    candidates, conflicts = await _with_conflicts(context, _understood(context, candidates))
    none = np.zeros(len(candidates.rows), bool)
    shortlist = Shortlist(candidates, None, code_matches(candidates), none, conflicts)
    if context.release.final is not None and candidates.evidence is not None and len(candidates.rows):
        shortlist = await _by_final_score(context, shortlist)
    elif shortlist.named.any():
        shortlist = shortlist.ordered(np.argsort(~shortlist.named, kind="stable"))
    if bounds is not None:
        outside = ~bounds.include(context.view.prices(shortlist.candidates.rows))
        shortlist = replace(shortlist, outside=outside).ordered(np.argsort(outside, kind="stable"))
    if not shortlist.conflicts.any():
        return shortlist
    return shortlist.ordered(np.argsort(shortlist.conflicts, kind="stable"))


def _understood(context: RequestContext, candidates: CandidateSet) -> CandidateSet:
    """Adds what the candidates show of the query to what it states; the candidates, without those that fail it where
    it is a condition."""
    stated, view = context.result.understanding, context.view
    if context.query.understanding == OFF or not len(candidates.rows):
        return candidates
    context.result.understanding = stated = with_candidates(stated, candidates, view)
    if context.query.understanding != HARD:
        return candidates
    passing = np.ones(len(candidates.rows), bool)
    if stated.filter is not None and (mask := view.mask(context.filter)) is not None:
        passing &= mask[candidates.rows]
    if stated.low_price and stated.price is not None:
        cheap = passing & stated.price.include(view.prices(candidates.rows))
        passing = cheap if cheap.any() else passing
    return candidates if passing.all() else candidates.ordered(np.flatnonzero(passing))


async def _with_conflicts(
    context: RequestContext, candidates: CandidateSet
) -> tuple[CandidateSet, NDArray[np.float32]]:
    """The candidates and how much they have what the query negates, shape (c,); where it is a condition, without those
    that have it, unless all do."""
    phrases, words = context.result.understanding.negations, context.release.words
    conflicts = np.zeros(len(candidates.rows), np.float32)
    if not phrases or words is None:
        return candidates, conflicts
    try:
        async with asyncio.timeout_at(context.optional_until()):
            conflicts = await words.conflicts(phrases, candidates.rows, context.view)
    except (TimeoutError, LexicalFailed) as error:
        context.degrade(LEXICAL_FAILED, "what the query negates could not be matched", error)
        return candidates, conflicts
    clear = np.flatnonzero(conflicts == 0)
    if context.query.understanding == HARD and len(clear):
        return candidates.ordered(clear), conflicts[clear]
    return candidates, conflicts


async def _by_final_score(context: RequestContext, shortlist: Shortlist) -> Shortlist:
    with context.result.stage("prerank", len(shortlist)) as stage:
        assert context.release.final is not None
        rows, agreement = shortlist.candidates.rows, None
        if AGREEMENT_FEATURES.intersection(context.release.final.spec.features):  # else nobody reads it
            agreement = compute_agreement(context.result.understanding, rows, context.view)
        table = compute_features(shortlist.candidates, context.view.popularity(rows), agreement)
        stage.candidates_out = len(shortlist)
        scores = await final_scores(context.release, table, rescored=False)
        return replace(shortlist, table=table).ordered(np.lexsort((-scores, ~shortlist.named)))
