"""Orders candidates before they are rescored: the first are worth the cross-encoder's time."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.protocol import Vectors
from retrieval.pipeline.candidates import CandidateSet
from retrieval.pipeline.context import RequestContext
from retrieval.pipeline.features import code_matches, compute_features
from retrieval.pipeline.final_score import final_scores
from text.price_bounds import PriceBounds


@dataclass(frozen=True, slots=True)
class Shortlist:
    """c candidates in the order in which they are worth rescoring.

    `table` has their features, shape (c, f), before they are rescored; None where no final score ranks them. `named`
    marks products that the query names by their code, `outside` those whose price is outside the bounds that it states;
    both of shape (c,).
    """

    candidates: CandidateSet
    table: Vectors | None
    named: NDArray[np.bool_]
    outside: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.candidates.rows)

    def ordered(self, places: NDArray[np.int64]) -> "Shortlist":
        """The same candidates in another order."""
        table = None if self.table is None else self.table[places]
        return Shortlist(self.candidates.ordered(places), table, self.named[places], self.outside[places])


async def prerank(context: RequestContext, candidates: CandidateSet, bounds: PriceBounds | None) -> Shortlist:
    """Orders by the final score without the cross-encoder, where there is one; what the query names by its code comes
    first, and before all else what costs as much as it states."""
    shortlist = Shortlist(candidates, None, code_matches(candidates), np.zeros(len(candidates.rows), bool))
    if context.release.final is not None and candidates.evidence is not None and len(candidates.rows):
        shortlist = await _by_final_score(context, shortlist)
    elif shortlist.named.any():
        shortlist = shortlist.ordered(np.argsort(~shortlist.named, kind="stable"))
    if bounds is None:
        return shortlist
    outside = ~bounds.include(context.view.prices(shortlist.candidates.rows))
    return replace(shortlist, outside=outside).ordered(np.argsort(outside, kind="stable"))


async def _by_final_score(context: RequestContext, shortlist: Shortlist) -> Shortlist:
    with context.result.stage("prerank", len(shortlist)) as stage:
        table = compute_features(shortlist.candidates, context.view.popularity(shortlist.candidates.rows))
        stage.candidates_out = len(shortlist)
        scores = await final_scores(context.release, table, rescored=False)
        return replace(shortlist, table=table).ordered(np.lexsort((-scores, ~shortlist.named)))
