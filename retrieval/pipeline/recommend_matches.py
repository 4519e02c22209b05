"""The match set of a recommendation: every product that passes the filter, but for the one that the list is for.

It depends neither on sources nor on the shopper, so all pages of a list agree, whatever the shopper did meanwhile, and
totals are exact. What no source returned stands in the order of popularity.
"""

import numpy as np

from engine.expiry import on_thread
from retrieval.listing.match_set import MatchSet
from retrieval.pipeline.recommend_context import RecommendContext

_AT_ONCE = 200_000  # rows, whose arrays take some tenths of a millisecond


async def find_recommendable(context: RecommendContext) -> MatchSet | None:
    """The match set; None where the request is not answered from it."""
    if not context.query.listing.needs_matches:
        return None
    if context.view.rows <= _AT_ONCE:
        return _make(context)
    return await on_thread(_make, context)


def _make(context: RecommendContext) -> MatchSet:
    rows = context.view.rows
    matching = np.ones(rows, np.bool_)
    if context.row >= 0:
        matching[context.row] = False
    popularity = context.recommender.popularity.scores(context.view)
    return MatchSet(matching, popularity, np.full(rows, np.nan, np.float32), np.zeros(rows, np.float32))
