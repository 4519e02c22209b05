"""Evaluates releases from their folders: the one in service, or two against each other."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from catalog.table import ProductTable
from core.errors import ReleaseError
from core.manifest import Manifest
from core.plan import Plan
from core.progress import Report, Steps
from core.releases import ReleaseStore
from evaluation.classification import Pairs
from evaluation.judgments import load_frequencies, load_judgments
from lifecycle.quality import costs
from lifecycle.quality.comparison import NDCG, Comparison, ReleaseQuality, compare, side
from lifecycle.quality.costs import stage_costs, time_stages
from lifecycle.quality.evaluate import (
    FINAL,
    FUSED,
    MIXED,
    PRERANKED,
    RERANKED,
    RETRIEVED,
    WORDS,
    Evaluation,
    evaluate,
    score_pools,
    select_grades,
    select_pools,
)
from lifecycle.quality.slices import Slices, slice_queries
from lifecycle.quality.stages import StageComparison, compare_stages
from retrieval.release.loaded import LoadedRelease, open_release

CURRENT = "current"


@dataclass(frozen=True, slots=True)
class ReleaseLocation:
    """Where a release lies."""

    store: ReleaseStore
    catalog: str
    release: str

    @property
    def manifest(self) -> Manifest:
        """Raises ReleaseError when there is none."""
        return self.store.manifest(self.catalog, self.release)

    def columns(self) -> ProductTable:
        """The products, their digests verified. Raises ReleaseError."""
        self.store.verify(self.catalog, self.release, "products.arrow")
        return ProductTable(self.store.path(self.catalog, self.release) / "products.arrow")


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """What is measured: see `tandem evaluate`."""

    judgments: Path
    split: str = "test"
    relevant: float | None = None
    rerank_depth: int | None = None
    cutoff: float | None = None


def find_release(store: ReleaseStore, catalog: str, name: str) -> ReleaseLocation:
    """A release by its id, by `current`, or by its folder in any folder of releases. Raises ReleaseError."""
    if name == CURRENT:
        current = store.current(catalog)
        assert current is not None, "a catalog without a release is not among the store's catalogs"
        return ReleaseLocation(store, catalog, current)
    folder = Path(name).resolve()
    if "/" in name and folder.parent.parent.name == "catalogs":
        place = ReleaseLocation(ReleaseStore(folder.parents[2]), folder.parent.name, folder.name)
    elif "/" in name:
        raise ReleaseError(f"{name}: give a release's folder as RELEASES/catalogs/CATALOG/RELEASE")
    else:
        place = ReleaseLocation(store, catalog, name)
    assert place.manifest
    return place


def evaluate_release(
    store: ReleaseStore, catalog: str, ask: EvaluationRequest, steps: Steps
) -> tuple[Evaluation, StageComparison]:
    """Measures the current release, and each stage against what is served. Raises ReleaseError or FeedError."""
    table = load_judgments(ask.judgments)
    place = find_release(store, catalog, CURRENT)
    release = open_place(place)
    plan = Plan(rerank_depth=ask.rerank_depth)
    try:
        with steps.step("time the stages") as report:  # first: nothing is cached yet
            seconds = asyncio.run(time_stages(release, list(select_grades(table, ask.split)), plan, report))
        with steps.step("search") as report:
            evaluation = asyncio.run(evaluate(release, table, ask.split, plan, ask.relevant, report))
    finally:
        release.retire()
    stages = compare_stages(evaluation, _slices(place.columns(), table, ask), _titles(place))
    return evaluation, replace(stages, costs=stage_costs(_ndcg_by_stage(evaluation), seconds))


def _ndcg_by_stage(evaluation: Evaluation) -> dict[str, Mapping[str, float]]:
    """nDCG@10 by query, by the names of `costs`; `final` is what is served."""
    names = {WORDS: costs.WORDS, RETRIEVED: costs.TOWERS, FUSED: costs.FUSED}
    names |= {PRERANKED: costs.PRERANK, RERANKED: costs.RESCORING, MIXED: costs.FINAL, FINAL: costs.FINAL}
    return {name: evaluation.values[stage][NDCG] for stage, name in names.items() if stage in evaluation.values}


def compare_releases(
    a: ReleaseLocation, b: ReleaseLocation, ask: EvaluationRequest, steps: Steps
) -> tuple[Comparison, Slices]:
    """Measures both, one after the other, on the same queries and products. Raises ReleaseError or FeedError."""
    if (a.store.root.resolve(), a.catalog, a.release) == (b.store.root.resolve(), b.catalog, b.release):
        raise ReleaseError(f"both are release {a.release}: give two, by id or as RELEASES/catalogs/CATALOG/RELEASE")
    table = load_judgments(ask.judgments)
    same = a.manifest.snapshot.catalog_id == b.manifest.snapshot.catalog_id
    ids = b.columns().ids()
    held = ids if same else frozenset(ids) & frozenset(a.columns().ids())
    sides = {}
    for label, place in (("A", a), ("B", b)):
        with steps.step(f"search with {label}") as report:
            sides[label] = _measured(place, table, ask, held, report)
    slices = _slices(b.columns(), table, ask)
    return compare(sides["A"], sides["B"], same, slices, _titles(a, b)), slices


def open_place(place: ReleaseLocation) -> LoadedRelease:
    """Loads a release and verifies its digests. Raises ReleaseError."""
    manifest = place.store.verify(place.catalog, place.release)
    return open_release(place.store.path(place.catalog, place.release), manifest)


def _measured(
    place: ReleaseLocation, table: pa.Table, ask: EvaluationRequest, held: Collection[str], report: Report
) -> ReleaseQuality:
    async def measured() -> ReleaseQuality:
        plan = Plan(rerank_depth=ask.rerank_depth)
        evaluation = await evaluate(release, table, ask.split, plan, ask.relevant, report, held)
        own = release.ranker.cutoff if release.ranker else None
        known = ask.cutoff is not None or own is not None
        valid = None if known else await _valid_pairs(release, table, evaluation.relevant, held, plan)
        return side(evaluation, valid, ask.cutoff, own)

    release = open_place(place)
    try:
        return asyncio.run(measured())
    finally:
        release.retire()


async def _valid_pairs(
    release: LoadedRelease, table: pa.Table, relevant: float, held: Collection[str], plan: Plan
) -> Pairs | None:
    """The judged pairs of the valid split, on which a cutoff is chosen."""
    pools = select_pools(select_grades(table, "valid"), held)
    if release.ranker is None or not pools:
        return None
    return Pairs.from_pools(pools, (await score_pools(release, pools, plan))[RERANKED], relevant)


def _slices(columns: ProductTable, table: pa.Table, ask: EvaluationRequest) -> Slices:
    """The slices of the split's queries. A split that is evaluated was not trained on, even if its name is valid."""
    trained = {"train", "valid"} - {ask.split}
    judged = {product for split in trained for products in select_grades(table, split).values() for product in products}
    return slice_queries(select_grades(table, ask.split), columns, judged, load_frequencies(ask.judgments))


def _titles(*places: ReleaseLocation) -> Callable[[str], str]:
    """The title of a product, of the last place that has it."""
    shelves = [
        (columns, {name: row for row, name in enumerate(columns.ids())})
        for columns in (place.columns() for place in reversed(places))
    ]

    def title(product: str) -> str:
        titles = (columns.row(rows[product], ["title"])["title"] for columns, rows in shelves if product in rows)
        return next(titles, product)

    return title
