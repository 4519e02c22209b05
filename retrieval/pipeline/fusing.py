"""Fuses what several sources retrieved: each scores what the others alone retrieved."""

import asyncio
from collections.abc import Sequence

from retrieval.pipeline.candidates import CandidateSet, fuse_ranks, one_source
from retrieval.pipeline.context import RequestContext
from retrieval.pipeline.sources import SOURCE_ERRORS, SourceResult


async def fuse(context: RequestContext, lists: Sequence[SourceResult]) -> CandidateSet:
    """The candidates of all lists. Where the sources cannot score each other's, those of the first list alone."""
    first, *others = lists
    if not others:
        return one_source(first.source.name, first.candidates)
    by_source = {entry.source.name: entry.candidates for entry in lists}
    with context.result.stage("fuse", sum(len(entry.candidates.rows) for entry in lists)) as stage:
        fusion = fuse_ranks(by_source, [entry.source.weight for entry in lists])
        try:
            async with asyncio.timeout_at(context.optional_until()):
                completions = await asyncio.gather(*(entry.source.complete(fusion) for entry in lists))
        except SOURCE_ERRORS as error:
            detail = "comparing the sources " + ("failed" if str(error) else "took too long")
            for entry in others:
                context.degrade(entry.source.policy.reason, detail, error)
            return one_source(first.source.name, first.candidates)
        scores = {entry.source.name: made.scores for entry, made in zip(lists, completions, strict=True)}
        candidates = fusion.completed(scores)
        for entry, made in zip(lists, completions, strict=True):
            if made.query is not None and made.evidence is not None:
                candidates = candidates.with_evidence(made.query, made.evidence, entry.source.weight)
        stage.candidates_out = len(candidates.rows)
        return candidates
