"""Understands a query before it is searched: prices, negations, rewrites of rules and of the release, and spelling."""

import asyncio
import contextlib
from dataclasses import replace

import numpy as np

from catalog.segment import Mask, Rows
from catalog.selection import Selection
from core.digest import value_digest
from core.filters import join_filters
from engine.expiry import on_thread
from engine.protocol import DeadlineExceeded, EngineError
from retrieval.pipeline.context import RequestContext
from retrieval.pipeline.lexical import LexicalFailed, LexicalRetriever
from retrieval.pipeline.result import LEXICAL_FAILED
from retrieval.pipeline.rules import apply_rules, extend_match, match_rules, rewrite_by_rule
from retrieval.understanding.conditions import hard_filter
from retrieval.understanding.read import read_statements
from retrieval.understanding.result import HARD, Understanding
from text.price_bounds import PriceBounds

# Steps that a page's token names, beside the bits of sources.
REWRITTEN, SPELLED = 4, 8
# Of the time left: everything else waits for rewrites and spelling, which take far less.
_SHARE = 0.1


async def understand(context: RequestContext) -> PriceBounds | None:
    """Replaces the context's query by the one to search for, and returns the price bounds that it states.

    Sets the effects of merchandising rules. They match the query as it was typed, and, but for rewrites, as it is
    searched.
    """
    typed = context.query.text
    text, stated = read_statements(typed, context.query.understanding, context.release)
    match = await match_rules(context, (typed, text))
    if rewrite := rewrite_by_rule(context, match):
        text, more = read_statements(rewrite.query, context.query.understanding, context.release)
        stated = stated.with_more(more)
    if not context.query.verbatim:
        text = await _rewrite_and_correct(context, text)
    if text != typed:
        context.query = replace(context.query, text=text)
        context.result.searched_query = text
    await apply_rules(context, await extend_match(context, match, text), rewrite)
    context.result.understanding = stated = await _with_conditions(context, stated, text)
    return stated.price


async def _with_conditions(context: RequestContext, stated: Understanding, text: str) -> Understanding:
    """What the query states with the attributes, where it is a condition; joins it with the context's filter."""
    words = context.release.words
    if context.query.understanding != HARD or context.view.field_kinds is None:
        return stated
    with contextlib.suppress(LexicalFailed):  # the lexical source reports it
        if words is not None:
            stated = replace(stated, attributes=await words.attributes(text))
    filter = await on_thread(hard_filter, stated, context.view, context.filter)
    context.filter = join_filters(context.filter, filter)
    return replace(stated, filter=filter)


async def _rewrite_and_correct(context: RequestContext, text: str) -> str:
    """The text after rewrites and spelling, as far as they came in time. The lexical source reports what fails."""
    words = context.release.words
    if words is None:
        return text
    if context.token is not None:
        return await _read_as_before(context, words, text, context.token.sources)
    seconds = context.seconds_left()
    with contextlib.suppress(TimeoutError, LexicalFailed):
        async with asyncio.timeout(None if seconds is None else _SHARE * seconds):
            text = await words.apply_rewrites(text)
            context.steps |= REWRITTEN
            if context.plan.lexical_candidates:
                text = await words.correct_spelling(text, context.view)
                context.steps |= SPELLED
    return text


async def _read_as_before(context: RequestContext, words: LexicalRetriever, text: str, steps: int) -> str:
    """The text after the steps that came in time for the first page: another text would make another list."""
    context.steps = steps & (REWRITTEN | SPELLED)
    try:
        async with asyncio.timeout_at(context.deadline):
            if steps & REWRITTEN:
                text = await words.apply_rewrites(text)
            return await words.correct_spelling(text, context.view) if steps & SPELLED else text
    except TimeoutError:
        raise DeadlineExceeded("reading the query took too long") from None
    except LexicalFailed as error:
        raise EngineError(f"the query cannot be read as for the first page: {error}") from None


async def leave_out(context: RequestContext) -> None:
    """Leaves out of the selection what has what the query negates, where that is a condition and something is left."""
    phrases, words, view = context.result.understanding.negations, context.release.words, context.view
    if not phrases or words is None or context.query.understanding != HARD:
        return
    selected = context.selection.mask if context.selection is not None else view.mask(None)
    counted = selected
    if context.query.filter is not None and any(facet.exclude_own_filter for facet in context.query.listing.facets):
        counted = await on_thread(view.mask, context.added_filter)  # these facets count more than passes
    rows = await on_thread(_rows_of, counted, view.rows)
    try:
        conflicts = await words.conflicts(phrases, rows, view)
    except LexicalFailed as error:
        context.degrade(LEXICAL_FAILED, "what the query negates could not be matched", error)
        return
    left_out, mask, count = await on_thread(_without, rows[conflicts > 0], selected, view.rows)
    if count:
        context.left_out = left_out
        condition = "" if context.selection is None else context.selection.condition
        condition = f"{condition}!{value_digest(phrases)}"
        context.selection = Selection(mask, count, f"{condition}@{view.serial}", condition)


def _rows_of(mask: Mask | None, rows: int) -> Rows:
    """The rows that a mask marks, all of them without one."""
    return np.arange(rows) if mask is None else np.flatnonzero(mask)


def _without(conflicting: Rows, selected: Mask | None, rows: int) -> tuple[Mask, Mask, int]:
    """Which rows conflict, which selected ones do not, and how many those are."""
    left_out = np.zeros(rows, bool)
    left_out[conflicting] = True
    mask = ~left_out if selected is None else selected & ~left_out
    return left_out, mask, int(np.count_nonzero(mask))
