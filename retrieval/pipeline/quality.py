"""What a request gives up while the service is pressed, so that it need not be refused: first how many candidates are
rescored, then sources that it can do without.

`pressure` is the permit's, from 0 to 1. It moves in steps that last, so that answers to one query do not change with
every burst, and scores that are in the cache are used all the same.
"""

from collections.abc import Collection, Sequence

from retrieval.pipeline.context import RequestContext
from retrieval.pipeline.result import EXPLANATION_SKIPPED, RERANK_SHED, SOURCE_SHED
from retrieval.recommend.weights import SourceName
from retrieval.understanding.result import HARD

# From here on nothing is rescored that is not in the cache; at 1, sources are left out too.
_NOTHING_RESCORED = 0.8
_BUSY = "many requests are in flight"


def shed_rescoring(context: RequestContext, costs: Sequence[int]) -> int:
    """How many of the pairs, in their order and given by their tokens to compute, the pressure leaves; 0 where they are
    too few to rank by. Names what is left out."""
    if not context.pressure:
        return len(costs)
    share = max(0.0, 1 - context.pressure / _NOTHING_RESCORED)
    depth, computed, most = 0, 0, round(share * len(costs))
    for cost in costs:
        computed += cost > 0
        if computed > most:
            break
        depth += 1
    if depth == len(costs):
        return depth
    if depth < min(context.plan.minimum_rerank, len(costs)):
        context.release.rerank_cost.relax()
        depth = 0
    context.degrade(RERANK_SHED, f"{depth} of {len(costs)} candidates were rescored: {_BUSY}")
    return depth


def sheds_explanation(context: RequestContext) -> bool:
    """Whether words are not explained, which takes as much as several searches. Names it."""
    if context.pressure < _NOTHING_RESCORED:
        return False
    context.degrade(EXPLANATION_SKIPPED, f"no words were explained: {_BUSY}")
    return True


def sheds_words(context: RequestContext) -> bool:
    """Whether a search is answered by meaning alone. Not where its words say more: codes and sizes, conditions, or
    a total, facets and pages of all that matches. Names it."""
    query = context.query
    if context.pressure < 1 or query.listing.needs_matches or query.understanding == HARD:
        return False
    if any(character.isdigit() for character in query.text) or not context.release.fusion_weights(context.plan)[0]:
        return False
    context.degrade(SOURCE_SHED, f"words were not matched: {_BUSY}")
    return True


def shed_sources(
    context: RequestContext, names: Sequence[SourceName], optional: Collection[SourceName]
) -> list[SourceName]:
    """The sources that stay: without the `optional` ones under full pressure, but always the first. Names what is left
    out."""
    if context.pressure < 1:
        return list(names)
    kept = [name for place, name in enumerate(names) if not place or name not in optional]
    if left_out := [name for name in names if name not in kept]:
        context.degrade(SOURCE_SHED, f"{', '.join(left_out)} left out: {_BUSY}")
    return kept
