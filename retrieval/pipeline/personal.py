"""Shifts a search towards the shopper: gently, after everything that decides what the query means.

The shift never moves a product out of what matches, across a price bound, or above one that a code names: it is part of
the score that these stand above. It reads no cache and writes none, since the user tower's vector is a shopper's own.
"""

import asyncio

import numpy as np

from engine.expiry import on_thread
from engine.protocol import DeadlineExceeded, EngineError, Vectors
from retrieval.pipeline.context import RequestContext
from retrieval.pipeline.person import read_history
from retrieval.pipeline.prerank import Shortlist
from retrieval.pipeline.result import SOURCE_FAILED, PersonReport
from retrieval.profiles.profiles import Profiles
from retrieval.recommend.history import History

# Cosines so many standard deviations from their mean shift as far as the strength allows.
_FULL = 2.0


async def read_shopper(context: RequestContext, profiles: Profiles | None) -> None:
    """Reads the history of a request with a user, adds to the stored profile where that is asked for, and leaves in the
    result how strongly the order is to be shifted, or why it is not."""
    user = context.query.user
    if user is None:
        return
    report = context.result.person = PersonReport()
    wanted = context.plan.personalisation
    if user.strength is not None:
        wanted = min(wanted, user.strength)
    if not wanted and not user.remember:
        report.reason = "the plan allows no shift" if not context.plan.personalisation else "no shift was asked for"
        return
    recommender = context.release.recommender
    if not recommender.is_ready(context.view):
        await on_thread(recommender.prepare, context.view)
    context.history = await read_history(context, user, profiles, report)
    report.reason = _reason(context, wanted, context.history)
    report.strength = 0.0 if report.reason else wanted


def _reason(context: RequestContext, wanted: float, history: History) -> str:
    """Why the order is not shifted; empty where it is."""
    if not wanted:
        return "the plan allows no shift" if not context.plan.personalisation else "no shift was asked for"
    if context.release.recommender.tower is None:
        return "the release has no user tower"
    if context.token is not None or context.query.listing.sort:
        return "the order of a further page is the first's" if context.token is not None else "the list is sorted"
    return "" if len(history.known) else "no product of the shopper's is in the catalog"


async def shift_to_shopper(context: RequestContext, shortlist: Shortlist) -> Vectors | None:
    """By how many standard deviations of the scores each candidate rises, shape (c,), at most the strength that the
    result reports; None where nothing does."""
    report = context.result.person
    if report is None or not report.strength or len(shortlist) < 2:
        return None
    try:
        async with asyncio.timeout_at(context.optional_until()):
            vector = await context.user_vector()
            if vector is None:
                return None
            rows = shortlist.candidates.rows
            cosines = await context.release.engine.score_rows(vector, rows, context.deadline, context.view)
    except (TimeoutError, DeadlineExceeded, EngineError) as error:
        report.strength, report.reason = 0.0, "the user tower failed or took too long"
        context.degrade(SOURCE_FAILED, report.reason, error)
        return None
    spread = max(float(np.std(cosines)), 1e-6)
    return (report.strength * np.clip((cosines - cosines.mean()) / (_FULL * spread), -1, 1)).astype(np.float32)
