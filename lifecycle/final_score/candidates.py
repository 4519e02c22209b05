"""Searches the queries that a final score learns from: all their candidates, and the time of each stage."""

import time
from collections.abc import Sequence

from core.plan import Plan
from core.progress import Report
from lifecycle.final_score.learning import QueryCandidates
from ranker.train.final import FinalTraining
from retrieval.pipeline.search import search
from retrieval.release.loaded import LoadedRelease
from retrieval.server.admission import Admission
from retrieval.wire.request import Query


async def search_all(
    release: LoadedRelease, queries: Sequence[str], settings: FinalTraining, report: Report
) -> list[QueryCandidates]:
    """All candidates of both sources for each query, fused by equal weights, all of them rescored where there is a
    cross-encoder."""
    plan = Plan(
        candidates=settings.candidates,
        lexical_candidates=settings.candidates,
        dense_weight=1,
        lexical_weight=1,
        rerank_depth=min(500, 2 * settings.candidates) if settings.rerank_depth else 0,
        minimum_rerank=1,
    )
    with Admission(1).enter() as permit:
        result = []
        for done, text in enumerate(queries, 1):
            answer = await search(Query(text), plan, release, permit, None)
            if answer.candidates.evidence is not None and len(answer.candidates.rows):
                began = time.perf_counter()
                features = release.features(answer.candidates, answer.understanding)
                taken = time.perf_counter() - began  # most of what ordering by them takes
                ids = [release.columns.id(int(row)) for row in answer.candidates.rows]
                stages = {stage.name: stage.seconds for stage in answer.stages} | {"prerank": taken}
                result.append(QueryCandidates(text, answer.candidates, features, answer.relevance, ids, stages))
            report(done, len(queries))
        return result
