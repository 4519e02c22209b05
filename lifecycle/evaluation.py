"""Evaluates the release in service from its folder."""

import asyncio
from pathlib import Path

from core.judgments import load_judgments
from core.plan import Plan
from core.progress import Steps
from core.releases import ReleaseStore
from lifecycle.evaluate import Evaluation, evaluate
from retrieval.loaded import open_release


def evaluate_release(
    store: ReleaseStore,
    catalog: str,
    judgments: Path,
    split: str,
    relevant: float | None,
    rerank_depth: int,
    steps: Steps,
) -> Evaluation:
    """Loads the current release and measures it. Raises ReleaseError or FeedError."""
    table = load_judgments(judgments)
    current = store.current(catalog)
    assert current is not None, "a catalog without a release is not among the store's catalogs"
    release = open_release(store.path(catalog, current), store.verify(catalog, current))
    try:
        with steps.step("search") as report:
            plan = Plan(rerank_depth=rerank_depth)
            return asyncio.run(evaluate(release, table, split, plan, relevant, report))
    finally:
        release.retire()
