"""Keeps places of the first page for new products, as far as the plan says, and reports and logs each."""

import json
import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from retrieval.pipeline.arrange import RankedCandidates
from retrieval.pipeline.recommend_context import RecommendContext
from retrieval.pipeline.result import ExplorationReport
from retrieval.recommend.exploration import Slot, draw_slots, put_in
from retrieval.recommend.weights import SourceName

log = logging.getLogger("tandem.requests")


def explore(context: RecommendContext, ranked: RankedCandidates) -> tuple[RankedCandidates, list[Slot]]:
    """The ranked candidates with some of the new ones, which rank below the page, at places of the page; and these, by
    the places of candidates. A later page has none: its products follow those of the first."""
    candidates, ranking = ranked.shortlist.candidates, ranked.ranking
    new = candidates.sources.get(SourceName.new)
    if new is None:
        return ranked, []
    below = ranking.order[context.query.top_k :]
    pool = np.sort(below[new.ranks[below] > 0])
    slots = draw_slots(pool, context.plan.exploration, context.query.top_k, context.request_id)
    if not slots:
        return ranked, []
    order = put_in(ranking.order, slots)
    scores = ranking.scores.copy()
    for slot in slots:  # scores fall with the rank
        place = int(np.flatnonzero(order == slot.row)[0])
        scores[slot.row] = scores[order[place - 1]] if place else scores[order[1]]
    return replace(ranked, ranking=replace(ranking, order=order, scores=scores)), slots


def report_slots(context: RecommendContext, slots: Sequence[Slot], ranked: RankedCandidates) -> None:
    """Puts what was shown of the slots into the answer and, with the propensities, into the log of requests."""
    person = context.result.person
    assert person is not None
    if not slots:
        return
    propensities = {int(ranked.shortlist.candidates.rows[slot.row]): slot.propensity for slot in slots}
    shown = [
        ExplorationReport(hit.row, rank, propensities[hit.row])
        for rank, hit in enumerate(context.result.hits, context.result.offset + 1)
        if hit.row in propensities
    ]
    person.exploration = tuple(shown)
    entries = [
        {"product_id": context.view.id(one.row), "rank": one.rank, "propensity": round(one.propensity, 9)}
        for one in shown
    ]
    release = context.release.release_id
    log.info("request %s: exploration in release %s: %s", context.request_id, release, json.dumps(entries))
