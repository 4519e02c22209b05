"""Trains the final score of the release in service, and tunes its fusion, on queries that trained no model."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa

from core.errors import FeedError, ReleaseError
from core.progress import Steps
from core.releases import ReleaseStore
from evaluation import measures
from evaluation.comparison import paired
from evaluation.judgments import load_judgments
from lifecycle.final_score.candidates import search_all
from lifecycle.final_score.costs import measured_costs
from lifecycle.final_score.learning import (
    FINAL,
    FUSED,
    RERANKED,
    FinalModel,
    GradedQueries,
    Values,
    choose,
    evaluate_held_out,
    fusion_weights,
)
from lifecycle.quality.costs import StageCost
from lifecycle.quality.evaluate import select_grades
from lifecycle.quality.evaluation import CURRENT, find_release, open_place
from ranker.features import TREE_FEATURES
from ranker.final import FinalSpec
from ranker.train.final import FinalTraining, write_final
from retrieval.release.loaded import LoadedRelease


@dataclass(frozen=True)
class FinalTrainingResult:
    """The result: the written spec, its measures on held-out queries, and what each stage gains and takes there."""

    spec: FinalSpec
    summary: dict[str, measures.Estimate]
    costs: list[StageCost]


def train_final(
    store: ReleaseStore, catalog: str, judgments: Path, split: str, output: Path, settings: FinalTraining, steps: Steps
) -> FinalTrainingResult:
    """Learns from the split's queries and writes the result. Raises ReleaseError or FeedError."""
    table = load_judgments(judgments, to_learn=True)
    release = open_place(find_release(store, catalog, CURRENT))
    try:
        if release.words is None:
            raise ReleaseError(f"release {release.release_id} has no lexical index; run `tandem index` again first")
        grades = _grades(table, split, release)
        with steps.step("search and rescore") as report:
            queries = asyncio.run(search_all(release, list(grades), settings, report))
        lowest, _ = measures.grade_range(select_grades(table, "all"))
        judged = GradedQueries(grades, lowest)
        with steps.step("learn"):
            choice = choose(queries, judged, settings)
        with steps.step("learn again without those to measure by") as report:
            values = evaluate_held_out(queries, judged, settings, release.mix, report)
        costs = measured_costs(queries, judged, values, settings.rerank_depth, choice.depth)
        spec = _spec(release, choice, values, costs, split, settings)
        write_final(output, spec, choice.first.learned.trees, choice.final.learned.trees)
        return FinalTrainingResult(spec, _summary(values), costs)
    finally:
        release.retire()


def _grades(table: pa.Table, split: str, release: LoadedRelease) -> dict[str, dict[str, float]]:
    held = frozenset(release.columns.ids())
    grades = {query: products for query, products in select_grades(table, split).items() if held & products.keys()}
    if len(grades) < 10:
        raise FeedError(
            f"split {split!r} has {len(grades)} queries with products of the catalog; give a split with ten, better 300"
        )
    return grades


def _spec(
    release: LoadedRelease,
    choice: FinalModel,
    values: Mapping[str, Values],
    costs: Sequence[StageCost],
    split: str,
    settings: FinalTraining,
) -> FinalSpec:
    dense, lexical = fusion_weights(choice.ratio)
    report = {
        "release": release.release_id,
        "split": split,
        "settings": settings.model_dump(mode="json"),
        "queries": len(values[FINAL]),
        "held out": {stage: asdict(estimate) for stage, estimate in _summary(values).items()},
        "final over reranked": asdict(paired(values[RERANKED], values[FINAL])),
        "final over fused": asdict(paired(values[FUSED], values[FINAL])),
        "stages": [cost.as_json() for cost in costs],
    }
    return FinalSpec(
        features=TREE_FEATURES,
        dense_weight=dense,
        lexical_weight=lexical,
        rerank_depth=choice.depth,
        encoder=release.tower.digest,
        ranker=release.ranker.digest if release.ranker else "",
        report=report,
    )


def _summary(values: Mapping[str, Values]) -> dict[str, measures.Estimate]:
    return {stage: measures.estimate(list(by_query.values())) for stage, by_query in values.items()}
