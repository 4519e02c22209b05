"""Arranges the hits: the best of a ranking, with the score of each stage and, on request, an explanation."""

import numpy as np

from engine.protocol import Vectors
from retrieval.pipeline.context import RequestContext
from retrieval.pipeline.final_score import MOST_EXPLAINED, explain
from retrieval.pipeline.prerank import Shortlist
from retrieval.pipeline.ranking import Ranking, relevance_ranks, source_scores
from retrieval.pipeline.result import FeatureContribution, Hit, StageScore


async def arrange(context: RequestContext, shortlist: Shortlist, ranking: Ranking, relevance: Vectors) -> list[Hit]:
    """The hits that the request asks for, best first."""
    places = ranking.order[: context.query.top_k]
    contributions = await _explain(context, ranking, places[:MOST_EXPLAINED], relevance)
    ranks = relevance_ranks(relevance)
    rows, scores = shortlist.candidates.rows[places].tolist(), ranking.scores[places].tolist()
    hits = []
    for i, (place, stages) in enumerate(zip(places.tolist(), source_scores(shortlist.candidates, places), strict=True)):
        if place in ranks:
            stages = (*stages, StageScore("rescore", float(relevance[place]), ranks[place]))
        if place < len(ranking.stage_scores):
            last = StageScore(ranking.stage, float(ranking.stage_scores[place]), int(ranking.stage_ranks[place]))
            stages = (*stages, last)
        hits.append(Hit(rows[i], scores[i], stages, contributions[i] if i < len(contributions) else ()))
    return hits


async def _explain(
    context: RequestContext, ranking: Ranking, places: np.ndarray, relevance: Vectors
) -> list[tuple[FeatureContribution, ...]]:
    if not context.query.explain or ranking.table is None:
        return []
    rescored = not np.isnan(relevance).all()
    rules = {name: moved[places] for name, moved in ranking.rules.items()}
    return await explain(context, ranking.table[places], rescored, rules)
