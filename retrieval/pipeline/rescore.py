"""Rescores the first candidates by the cross-encoder, as many as the time left allows."""

import asyncio

import numpy as np

from engine.protocol import DeadlineExceeded, EngineError, Vectors
from ranker.features import MISSING
from retrieval.pipeline.candidates import CandidateSet
from retrieval.pipeline.context import RequestContext
from retrieval.pipeline.quality import shed_rescoring
from retrieval.pipeline.result import RERANK_FAILED, RERANK_REDUCED, RERANK_SKIPPED

# What rescoring that was cut off is assumed to need, as a multiple of the time that it had.
_UNFINISHED = 1.5


async def rescore(context: RequestContext, candidates: CandidateSet) -> Vectors:
    """The cross-encoder's probabilities of relevance, shape (c,), NaN for candidates that were not rescored.

    It is the last stage that can be left out: what comes after it has the time that is reserved.
    """
    release, result = context.release, context.result
    depth = release.rerank_depth(context.plan)
    relevance = np.full(len(candidates.rows), MISSING)
    if release.ranker is not None and depth and len(candidates.rows) and candidates.dense is not None:
        probabilities = await _rescore(context, candidates, depth)
        relevance[: len(probabilities)] = probabilities
    result.arranging_since = result.arranging_since or asyncio.get_running_loop().time()
    result.candidates, result.relevance = candidates, relevance
    return relevance


async def _rescore(context: RequestContext, candidates: CandidateSet, most: int) -> Vectors:
    """Probabilities of the first candidates, at most so many, shape (depth,)."""
    release, none = context.release, np.empty(0, np.float32)
    assert candidates.dense is not None
    with context.result.stage("rescore", len(candidates.rows)) as stage:
        work = release.rescoring(context.query.text, candidates.rows[:most], context.view)
        costs = work.costs()
        depth = _affordable_depth(context, costs[: shed_rescoring(context, costs)])
        if not depth:
            return none
        until = context.optional_until()
        try:
            async with asyncio.timeout_at(until):
                logits = await work.logits(depth, until)
        except asyncio.CancelledError:
            if until is not None and (late := asyncio.get_running_loop().time() - until) > 0:
                release.reserve.observe(late)  # the end of the call itself came no earlier
            raise
        except (TimeoutError, DeadlineExceeded):
            context.result.arranging_since = until or 0.0  # the delay of this belongs to the time to reserve
            release.rerank_cost.observe(work.tokens, _UNFINISHED * work.seconds)
            context.degrade(RERANK_FAILED, f"rescoring {depth} candidates took too long")
            return none
        except EngineError as error:
            context.degrade(RERANK_FAILED, f"rescoring {depth} candidates failed", error)
            return none
        release.rerank_cost.observe(work.tokens, work.seconds)
        stage.candidates_out = depth
        return release.relevance(logits, candidates.dense.scores[:depth])


def _affordable_depth(context: RequestContext, costs: list[int]) -> int:
    """How many pairs, given by their tokens to compute, to rescore: all, or as many as the time left allows, or none
    when too few would fit."""
    seconds, release = context.seconds_left(), context.release
    if seconds is None:
        return len(costs)
    depth = release.rerank_cost.affordable(costs, release.reserve.usable(seconds))
    if depth == len(costs):
        return depth
    detail = f"{seconds * 1000:.0f} ms left allow {depth} of {len(costs)} candidates"
    if depth < min(context.plan.minimum_rerank, len(costs)):
        release.rerank_cost.relax()
        context.degrade(RERANK_SKIPPED, detail)
        return 0
    context.degrade(RERANK_REDUCED, detail)
    return depth
