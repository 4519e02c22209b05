"""Reads what is known of a shopper, or of the product that a list is for, and decides how the list comes about."""

import asyncio
from collections.abc import Sequence

import numpy as np

from engine.expiry import on_thread
from retrieval.pipeline.context import RequestContext
from retrieval.pipeline.recommend_context import RecommendContext
from retrieval.pipeline.result import PROFILE_FAILED, PersonReport
from retrieval.profiles.profiles import Profiles
from retrieval.profiles.protocol import ProfileError
from retrieval.recommend.history import History, latest_events, make_history
from retrieval.recommend.user import Relation, User, UserEvent

_AT_ONCE = 16  # products that are looked up on the event loop, in some tenths of a millisecond


async def read_person(context: RecommendContext, profiles: Profiles | None) -> None:
    """Sets the shopper's history or the product's row, and leaves in the result what is used of it and the path."""
    recommender, view, subject = context.recommender, context.view, context.subject
    if not recommender.is_ready(view):
        await on_thread(recommender.prepare, view)
    report = context.result.person = PersonReport()
    if subject.user is not None:
        context.history = await read_history(context, subject.user, profiles, report)
        used = context.history.used
        report.path = "UNKNOWN_USER" if not used else "ONE_PRODUCT" if used == 1 else "HISTORY"
    elif subject.product_id:
        [context.row] = recommender.rows.find(view, [subject.product_id]).tolist()
        if recommender.behaviour is not None:
            [context.place] = recommender.behaviour.places([subject.product_id]).tolist()
        report.path = _product_path(context)
    else:
        report.path = "POPULAR"


def _product_path(context: RecommendContext) -> str:
    if context.place >= 0 and (context.row >= 0 or context.subject.relation is Relation.bought_together):
        return "PRODUCT"
    return "NEW_PRODUCT" if context.row >= 0 else "UNKNOWN_PRODUCT"


async def read_history(context: RequestContext, user: User, profiles: Profiles | None, report: PersonReport) -> History:
    """The shopper's history by the request and the stored profile, to which the request's is added where it asks for
    that. Without the profile where the store fails, which the result names."""
    stored = await _read_profile(context, user, profiles)
    recommender = context.release.recommender
    events = latest_events([*user.events, *stored], context.now, recommender.most_history)
    if len(events) <= _AT_ONCE:
        history = _find(context, events)
    else:
        history = await on_thread(_find, context, events)
    report.products = history.used
    report.unknown = len({event.product_id for event, row in zip(events, history.rows, strict=True) if row < 0})
    return history


def _find(context: RequestContext, events: Sequence[UserEvent]) -> History:
    recommender = context.release.recommender
    rows = recommender.rows.find(context.view, [event.product_id for event in events])
    places = recommender.rows.places(context.view, np.maximum(rows, 0))
    lost = np.flatnonzero(rows < 0)  # what was sold before may be known all the same
    if len(lost):
        known = recommender.behaviour
        names = [events[at].product_id for at in lost.tolist()]
        places[lost] = -1 if known is None else known.places(names)
    return make_history(events, rows, places, context.now, recommender.half_life_days)


async def _read_profile(context: RequestContext, user: User, profiles: Profiles | None) -> list[UserEvent]:
    """What is stored of the shopper, before what the request adds to it."""
    if profiles is None or not user.user_id:
        return []
    catalog = context.release.manifest.catalog
    stored: list[UserEvent] = []
    try:
        async with asyncio.timeout_at(context.optional_until()):
            stored = await profiles.read(catalog, user.user_id)
            if user.remember and user.events and context.token is None:  # it was remembered with the first page
                await profiles.remember(catalog, user.user_id, user.events)
    except (TimeoutError, ProfileError) as error:
        detail = "the stored profile " + ("failed" if str(error) else "took too long")
        context.degrade(PROFILE_FAILED, detail, error)
    return stored
