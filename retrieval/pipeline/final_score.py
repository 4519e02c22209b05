"""Runs the trees of a release's final score, and explains what they return."""

import asyncio
from collections.abc import Mapping, Sequence

import numpy as np

from core.errors import TandemError
from engine.expiry import on_thread
from engine.protocol import Vectors
from ranker.features import FEATURE_NAMES
from retrieval.pipeline.context import RequestContext
from retrieval.pipeline.result import EXPLANATION_SKIPPED, FeatureContribution
from retrieval.release.loaded import LoadedRelease

# The final score of more candidates takes a millisecond or more, and so a thread: the event loop serves others.
_AT_ONCE = 256
# Hits that are explained: 300 trees take some .5 ms for each.
MOST_EXPLAINED = 50


async def final_scores(release: LoadedRelease, table: Vectors, rescored: bool) -> Vectors:
    """The final scores, shape (c,), of c candidates' features, shape (c, f); `rescored`: whether any was rescored."""
    assert release.final is not None
    if len(table) <= _AT_ONCE:
        return release.final.scores(table, rescored)
    return await on_thread(release.final.scores, table, rescored)


async def explain(
    context: RequestContext, table: Vectors, rescored: bool, rules: dict[str, Vectors]
) -> list[tuple[FeatureContribution, ...]]:
    """What each feature contributed to the score of each of c candidates, the largest first; before them what each rule
    did, by its name and shape (c,).

    Nothing where there is no time, or where LightGBM is not installed; the result names that.
    """
    assert context.release.final is not None
    try:
        async with asyncio.timeout_at(context.optional_until()):
            gains = await on_thread(context.release.final.contributions, table, rescored)
    except TimeoutError:
        context.degrade(EXPLANATION_SKIPPED, "explaining the scores took too long")
        return []
    except TandemError as error:
        context.degrade(EXPLANATION_SKIPPED, "this service cannot explain scores", error)
        return []
    return feature_contributions(table, gains, FEATURE_NAMES, rules)


def feature_contributions(
    table: Vectors, gains: Vectors, names: Sequence[str], rules: Mapping[str, Vectors]
) -> list[tuple[FeatureContribution, ...]]:
    """What features contributed to c candidates, by their values and gains, both of shape (c, f), the largest first;
    before them what each rule did, by its name and shape (c,)."""
    orders = np.argsort(-np.abs(gains), axis=1, kind="stable").tolist()
    result = []
    for place, (order, values, own) in enumerate(zip(orders, table.tolist(), gains.tolist(), strict=True)):
        by_rule = ((name, float(gain[place])) for name, gain in rules.items())
        moved = (FeatureContribution(name, 1.0, gain) for name, gain in by_rule if gain)
        features = (FeatureContribution(names[f], values[f], own[f]) for f in order if own[f])
        result.append((*moved, *features))
    return result
