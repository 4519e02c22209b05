"""Ranks recommended candidates: by the order that the release has learned, else as they were fused."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from catalog.view import CatalogView
from core.errors import TandemError
from core.fusion import RANK_CONSTANT
from engine.expiry import on_thread
from engine.protocol import DeadlineExceeded, EngineError, Vectors
from ranker.recommendation_features import RECOMMENDATION_NAMES
from retrieval.listing.columns import first_codes
from retrieval.pipeline.arrange import RankedCandidates
from retrieval.pipeline.candidates import CandidateSet
from retrieval.pipeline.final_score import MOST_EXPLAINED, feature_contributions
from retrieval.pipeline.prerank import Shortlist
from retrieval.pipeline.ranking import Ranking
from retrieval.pipeline.recommend_context import RecommendContext
from retrieval.pipeline.result import EXPLANATION_SKIPPED, SOURCE_FAILED, FeatureContribution, Hit
from retrieval.recommend.behaviour import DAY
from retrieval.recommend.features import HistoryFacts, ProductFacts, Shopper, compute_features
from retrieval.recommend.weights import SourceName, source_weights

_GROUP, _TYPE = "item_group_id", "product_type"
# Behaviour that is older than this counts as so old: no order was trained on what lies further back.
_MOST_STALE_DAYS = 7.0


async def rank_recommended(context: RecommendContext, candidates: CandidateSet) -> RankedCandidates:
    """The candidates as they rank: equal ones in the order of their rows. As they were fused where nothing was learned,
    or the learned order cannot be had in time, which the result names."""
    count = len(candidates.rows)
    none, nothing = np.zeros(count, np.bool_), np.zeros(0, np.float32)
    shortlist = Shortlist(candidates, None, none, none, np.zeros(count, np.float32))
    ranking = Ranking(np.arange(count), candidates.scores, "fuse", nothing, np.zeros(0, np.intp))
    if context.learned and count:
        try:
            async with asyncio.timeout_at(context.optional_until()):
                ranking = await _by_learned_order(context, candidates)
        except (TimeoutError, DeadlineExceeded, EngineError) as error:
            context.degrade(SOURCE_FAILED, "the learned order failed or took too long; ranks of sources order", error)
    return RankedCandidates(shortlist, ranking, np.full(count, np.nan, np.float32))


async def _by_learned_order(context: RecommendContext, candidates: CandidateSet) -> Ranking:
    final = context.recommender.final
    assert final is not None
    with context.result.stage("final", len(candidates.rows)) as stage:
        history = context.history
        mine = np.zeros((len(history.rows), 0), np.float32)
        if len(history.known):
            vectors = await context.history_vectors()
            mine = np.zeros((len(history.rows), vectors.shape[1]), np.float32)
            mine[history.known] = vectors
        theirs = await context.release.engine.vectors(candidates.rows, context.deadline, context.view)
        vector = await context.user_vector()
        table, scores = await on_thread(_score, context, candidates.rows, theirs, mine, vector)
        order = np.lexsort((candidates.rows, -scores))
        ranks = np.empty(len(order), np.intp)
        ranks[order] = np.arange(1, len(order) + 1)
        stage.candidates_out = len(order)
    context.features = table
    return Ranking(order, scores, "final", scores, ranks)


def _score(
    context: RecommendContext, rows: NDArray[np.int64], theirs: Vectors, mine: Vectors, vector: Vectors | None
) -> tuple[Vectors, Vectors]:
    """The features and the scores of candidates of these rows and vectors; `mine` are the history's vectors, (t, d)."""
    behaviour, final, history = context.recommender.behaviour, context.recommender.final, context.history
    assert behaviour is not None and final is not None
    places = context.recommender.rows.places(context.view, rows)
    count = len(rows)
    groups, types, prices = _facts(
        context, np.concatenate([rows, history.rows]), np.concatenate([places, history.places])
    )
    candidates = ProductFacts(rows, places, groups[:count], types[:count], prices[:count], theirs)
    known = mine if mine.shape[1] else None
    products = ProductFacts(history.rows, history.places, groups[count:], types[count:], prices[count:], known)
    time = min(context.now, behaviour.spec.time + _MOST_STALE_DAYS * DAY)
    segment, channel = behaviour.list_names(context.subject.all_segments)
    shopper = Shopper(HistoryFacts(products, history.age_days, history.actions), time, vector, segment, channel)
    table = compute_features(behaviour, shopper, candidates)
    return table, final.scores(table)


def _facts(
    context: RecommendContext, rows: NDArray[np.int64], places: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int32], Vectors]:
    """Codes of the groups and the types, and the prices, of products of these rows, some of them -1."""
    final, behaviour, view = context.recommender.final, context.recommender.behaviour, context.view
    assert final is not None and behaviour is not None
    known = rows >= 0
    prices = np.full(len(rows), np.nan)
    if final.spec.prices == "catalog":
        prices[known] = view.prices(rows[known])
    else:
        sold = places >= 0
        prices[sold] = behaviour.price[places[sold]]
    return _codes(view, rows, _GROUP), _codes(view, rows, _TYPE), prices.astype(np.float32)


def _codes(view: CatalogView, rows: NDArray[np.int64], name: str) -> NDArray[np.int32]:
    """The same number for the same text; -1 without one. The columns of several segments number texts otherwise."""
    columns = view.base.columns
    column = columns.get(name) if columns is not None and len(view.segments) == 1 else None
    if column is not None:
        return np.where(rows < 0, -1, first_codes(column, np.maximum(rows, 0))).astype(np.int32)
    numbers: dict[str, int] = {}
    texts = (view.row(row, (name,))[name] if row >= 0 else None for row in rows.tolist())
    return np.array([numbers.setdefault(text, len(numbers)) if text else -1 for text in texts], np.int32)


async def explain_hits(context: RecommendContext, ranked: RankedCandidates) -> None:
    """Gives the first hits their reasons, where the request asks for them: what each feature of the learned order, or
    else each source, added to the score."""
    if not context.query.explain:
        return
    hits = context.result.hits
    first = hits[:MOST_EXPLAINED]
    if context.features is None:
        weights = source_weights(context.subject)
        reasons = [_shares(hit, weights) for hit in first]
    else:
        reasons = await _learned_reasons(context, ranked, first)
    explained = [replace(hit, contributions=own) for hit, own in zip(first, reasons, strict=True)]
    context.result.hits = [*explained, *hits[MOST_EXPLAINED:]]


async def _learned_reasons(
    context: RecommendContext, ranked: RankedCandidates, hits: Sequence[Hit]
) -> list[tuple[FeatureContribution, ...]]:
    final, table = context.recommender.final, context.features
    assert final is not None and table is not None
    places = {int(row): place for place, row in enumerate(ranked.shortlist.candidates.rows.tolist())}
    scored = [place for hit in hits if (place := places.get(hit.row)) is not None]
    try:
        async with asyncio.timeout_at(context.optional_until()):
            gains = await on_thread(final.contributions, table[scored])
    except (TimeoutError, TandemError) as error:
        context.degrade(EXPLANATION_SKIPPED, "this service cannot explain scores, or not in time", error)
        return [()] * len(hits)
    made = feature_contributions(table[scored], gains, RECOMMENDATION_NAMES, {})
    by_place = dict(zip(scored, made, strict=True))
    return [by_place.get(places.get(hit.row, -1), ()) for hit in hits]


def _shares(hit: Hit, weights: Mapping[SourceName, float]) -> tuple[FeatureContribution, ...]:
    """Largest first; a source that did not return the product added nothing."""
    shares = [
        FeatureContribution(one.stage, one.score, weights[SourceName(one.stage)] / (RANK_CONSTANT + one.rank))
        for one in hit.stage_scores
        if one.rank and one.stage in set(weights)
    ]
    return tuple(sorted(shares, key=lambda share: -share.contribution))
