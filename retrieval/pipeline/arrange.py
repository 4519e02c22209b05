"""Arranges the hits: the first of a list, with the score of each stage and, on request, an explanation."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.protocol import Vectors
from retrieval.listing.match_set import MatchSet
from retrieval.listing.page import Head, Page, PageEntry
from retrieval.listing.page_token import PageToken
from retrieval.pipeline.candidates import DENSE, LEXICAL
from retrieval.pipeline.context import RequestContext
from retrieval.pipeline.final_score import MOST_EXPLAINED, explain
from retrieval.pipeline.listing import first_page, needs_arranging, next_page
from retrieval.pipeline.prerank import Shortlist
from retrieval.pipeline.ranking import Ranking, relevance_ranks, source_scores
from retrieval.pipeline.result import FeatureContribution, Hit, HitGroup, StageScore
from retrieval.pipeline.sources import SourceResult
from text.price_bounds import PriceBounds


@dataclass(frozen=True, slots=True, eq=False)
class RankedCandidates:
    """The shortlist, how it was ranked, and the cross-encoder's relevance, shape (c,), NaN where there is none."""

    shortlist: Shortlist
    ranking: Ranking
    relevance: Vectors

    def head(self) -> Head:
        """The candidates as they rank, best first."""
        order = self.ranking.order
        return Head(self.shortlist.candidates.rows[order], self.ranking.scores[order].astype(np.float32))


async def arrange(
    context: RequestContext,
    lists: Sequence[SourceResult],
    matches: MatchSet | None,
    ranked: RankedCandidates,
    bounds: PriceBounds | None,
) -> list[Hit]:
    """The hits of the first page, best first."""
    if not needs_arranging(context):
        return await _ranked_hits(context, ranked, ranked.ranking.order[: context.query.top_k])
    page = await first_page(context, lists, matches, ranked.head(), bounds)
    rows = ranked.shortlist.candidates.rows
    places = {int(row): place for place, row in enumerate(rows.tolist())}
    listed = [places[entry.row] for entry in page.products if entry.row in places]
    hits = await _ranked_hits(context, ranked, np.array(listed, np.intp))
    return _page_hits(page, {hit.row: hit for hit in hits}, matches)


async def arrange_matches(
    context: RequestContext,
    lists: Sequence[SourceResult],
    matches: MatchSet | None,
    token: PageToken | None,
    bounds: PriceBounds | None,
) -> None:
    """Leaves the hits of a further page, or of a list that is sorted by columns, in the result: nothing is rescored."""
    result = context.result
    result.arranging_since = asyncio.get_running_loop().time()
    with result.stage("arrange", len(context.view)) as stage:
        if token is not None:
            page = await next_page(context, lists, matches, token, bounds)
        else:
            page = await first_page(context, lists, matches, Head.empty(), bounds)
        result.hits = _page_hits(page, {}, matches)
        stage.candidates_out = len(result.hits)


def _page_hits(page: Page, ranked: dict[int, Hit], matches: MatchSet | None) -> list[Hit]:
    return [_page_hit(entry, ranked.get(entry.row), ranked, matches) for entry in page.products]


def _page_hit(entry: PageEntry, hit: Hit | None, ranked: dict[int, Hit], matches: MatchSet | None) -> Hit:
    group = None
    if entry.group is not None:
        variants = tuple(ranked.get(row) or Hit(row, 0.0, _match_scores(row, matches)) for row in entry.group.variants)
        group = HitGroup(entry.group.value, entry.group.size, variants)
    stages = _match_scores(entry.row, matches) if hit is None else hit.stage_scores
    contributions = hit.contributions if hit else ()
    return Hit(entry.row, entry.score, stages, contributions, moves=entry.moves, group=group)


def _match_scores(row: int, matches: MatchSet | None) -> tuple[StageScore, ...]:
    """What the sources score a product that no later stage saw."""
    if matches is None:
        return ()
    scores = {DENSE: float(matches.similarities[row]), LEXICAL: float(matches.lexical_scores[row])}
    return tuple(StageScore(name, score, 0) for name, score in scores.items() if score == score and score)


async def _ranked_hits(context: RequestContext, ranked: RankedCandidates, places: np.ndarray) -> list[Hit]:
    """The candidates at these places of the shortlist as hits."""
    candidates, ranking, relevance = ranked.shortlist.candidates, ranked.ranking, ranked.relevance
    contributions = await _explain(context, ranking, places[:MOST_EXPLAINED], relevance)
    ranks = relevance_ranks(relevance)
    rows, scores = candidates.rows[places].tolist(), ranking.scores[places].tolist()
    hits = []
    for i, (place, stages) in enumerate(zip(places.tolist(), source_scores(candidates, places), strict=True)):
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
