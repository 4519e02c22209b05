"""Fuses what the sources of recommendations returned: no product of any source is lost, whatever fails meanwhile."""

import asyncio
from collections.abc import Sequence

from retrieval.pipeline.candidates import CandidateSet, fuse_ranks, one_source
from retrieval.pipeline.recommend_context import RecommendContext
from retrieval.pipeline.sources import SOURCE_ERRORS, SourceResult


async def fuse_sources(context: RecommendContext, lists: Sequence[SourceResult]) -> CandidateSet:
    """The candidates of all lists by weighted reciprocal ranks. Each source scores what the others alone returned; one
    that fails or is late leaves these at 0, which orders nothing, and the result names it."""
    first, *others = lists
    if not others:
        return one_source(first.source.name, first.candidates)
    with context.result.stage("fuse", sum(len(entry.candidates.rows) for entry in lists)) as stage:
        fusion = fuse_ranks(
            {entry.source.name: entry.candidates for entry in lists}, [entry.source.weight for entry in lists]
        )
        scores = {entry.source.name: fusion.sources[entry.source.name].scores for entry in lists}
        for entry in lists:
            try:
                async with asyncio.timeout_at(context.optional_until()):
                    scores[entry.source.name] = (await entry.source.complete(fusion)).scores
            except SOURCE_ERRORS as error:
                policy = entry.source.policy
                context.degrade(policy.reason, f"{policy.detail(error)} when its scores were compared", error)
        stage.candidates_out = len(fusion.rows)
    return fusion.completed(scores)
