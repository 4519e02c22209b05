"""Trains the final score of the release in service, and tunes its fusion, on queries that trained no model."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa

from core.errors import FeedError, ReleaseError
from core.plan import Plan
from core.progress import Report, Steps
from core.releases import ReleaseStore
from evaluation import measures
from evaluation.comparison import paired
from evaluation.judgments import load_judgments
from lifecycle.final_score.learning import (
    FINAL,
    FUSED,
    RERANKED,
    FinalModel,
    GradedQueries,
    QueryCandidates,
    Values,
    choose,
    evaluate_held_out,
    fusion_weights,
)
from lifecycle.quality.evaluate import select_grades
from lifecycle.quality.evaluation import CURRENT, find_release, open_place
from ranker.features import FEATURE_NAMES
from ranker.final import FinalSpec
from ranker.train.final import FinalTraining, write_final
from retrieval.pipeline.search import search
from retrieval.release.loaded import LoadedRelease
from retrieval.server.admission import Admission
from retrieval.wire.request import Query


@dataclass(frozen=True)
class FinalTrainingResult:
    """The result: the written spec, and its measures on held-out queries."""

    spec: FinalSpec
    summary: dict[str, measures.Estimate]


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
            queries = asyncio.run(_ask_all(release, list(grades), settings, report))
        lowest, _ = measures.grade_range(select_grades(table, "all"))
        judged = GradedQueries(grades, lowest)
        with steps.step("learn"):
            choice = choose(queries, judged, settings)
        with steps.step("learn again without those to measure by") as report:
            values = evaluate_held_out(queries, judged, settings, release.mix, report)
        spec = _spec(release, choice, values, split, settings)
        write_final(output, spec, choice.first.trees, choice.final.trees)
        return FinalTrainingResult(spec, _summary(values))
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


async def _ask_all(
    release: LoadedRelease, queries: Sequence[str], settings: FinalTraining, report: Report
) -> list[QueryCandidates]:
    """All candidates of both sources for each query, rescored."""
    plan = Plan(
        candidates=settings.candidates,
        lexical_candidates=settings.candidates,
        rerank_depth=min(500, 2 * settings.candidates),
        minimum_rerank=1,
    )
    with Admission(1).enter() as permit:
        result = []
        for done, text in enumerate(queries, 1):
            answer = await search(Query(text), plan, release, permit, None)
            if answer.candidates.evidence is not None and len(answer.candidates.rows):
                features = release.features(answer.candidates, answer.understanding)
                ids = [release.columns.id(int(row)) for row in answer.candidates.rows]
                result.append(QueryCandidates(text, answer.candidates, features, answer.relevance, ids))
            report(done, len(queries))
        return result


def _spec(
    release: LoadedRelease, choice: FinalModel, values: Mapping[str, Values], split: str, settings: FinalTraining
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
    }
    return FinalSpec(
        features=FEATURE_NAMES,
        dense_weight=dense,
        lexical_weight=lexical,
        rerank_depth=choice.depth,
        encoder=release.tower.digest,
        ranker=release.ranker.digest if release.ranker else "",
        report=report,
    )


def _summary(values: Mapping[str, Values]) -> dict[str, measures.Estimate]:
    return {stage: measures.estimate(list(by_query.values())) for stage, by_query in values.items()}
