"""Understands a query before it is searched: price bounds, the release's rewrites, and spelling."""

import asyncio
import contextlib
from dataclasses import replace

from retrieval.pipeline.context import RequestContext
from retrieval.pipeline.lexical import LexicalFailed
from text.price_bounds import PriceBounds

# Of the time left: everything else waits for rewrites and spelling, which take far less.
_SHARE = 0.1


async def understand(context: RequestContext) -> PriceBounds | None:
    """Replaces the context's query by the one to search for, and returns the price bounds that it states."""
    text, bounds = context.release.price_bounds(context.query.text)
    text = await _rewrite_and_correct(context, text)
    if text != context.query.text:
        context.query = replace(context.query, text=text)
        context.result.searched_query = text
    return bounds


async def _rewrite_and_correct(context: RequestContext, text: str) -> str:
    """The text after rewrites and spelling, as far as they came in time. The lexical source reports what fails."""
    words = context.release.words
    if words is None:
        return text
    seconds = context.seconds_left()
    with contextlib.suppress(TimeoutError, LexicalFailed):
        async with asyncio.timeout(None if seconds is None else _SHARE * seconds):
            text = await words.apply_rewrites(text)
            if context.plan.lexical_candidates:
                text = await words.correct_spelling(text)
    return text
