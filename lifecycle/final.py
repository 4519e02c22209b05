"""Trains the final score of the release in service, and tunes its fusion, on queries that trained no model."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from core import measures
from core.comparison import paired
from core.errors import FeedError, ReleaseError
from core.fusion import RANK_CONSTANT
from core.judgments import load_judgments
from core.plan import Plan
from core.progress import Report, Steps
from core.releases import ReleaseStore
from lifecycle.evaluate import grades_of
from lifecycle.evaluation import CURRENT, find_release, open_place
from ranker.final import FinalSpec
from ranker.train.final import FinalTraining, Learned, Table, learn, write_final
from retrieval.admission import Admission
from retrieval.candidates import Found
from retrieval.features import FEATURES, with_relevance
from retrieval.loaded import LoadedRelease
from retrieval.query import Query
from retrieval.search import search

# How much the lexical source counts beside the dense one.
_RATIOS = (0.0, 0.25, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0)
# Candidates that a smaller depth to rescore has less.
_STEP = 4
_FUSED, _RERANKED, _FINAL, _PRERANKED = "fused", "fused, reranked", "final", "final without the cross-encoder"


Values = dict[str, float]  # by query


@dataclass(frozen=True)
class Asked:
    """A query, its c candidates, their features before the cross-encoder spoke, shape (c, f), and its word on each."""

    query: str
    found: Found
    features: NDArray[np.float32]
    relevance: NDArray[np.float32]
    ids: list[str]


@dataclass(frozen=True)
class Learning:
    """Both sets of trees, how many candidates are worth rescoring, and nDCG@10 of each stage on held-out queries."""

    first: Learned
    final: Learned
    depth: int
    values: dict[str, Values]


@dataclass(frozen=True)
class Outcome:
    """What was learned: the spec as it was written, and its measures on held-out queries."""

    spec: FinalSpec
    summary: dict[str, measures.Estimate]


def train_final(
    store: ReleaseStore, catalog: str, judgments: Path, split: str, output: Path, settings: FinalTraining, steps: Steps
) -> Outcome:
    """Learns from the split's queries and writes the result. Raises ReleaseError or FeedError."""
    table = load_judgments(judgments, to_learn=True)
    release = open_place(find_release(store, catalog, CURRENT))
    try:
        if release.words is None:
            raise ReleaseError(f"release {release.release_id} has no lexical index; run `tandem index` again first")
        grades = _grades(table, split, release)
        with steps.step("search and rescore") as report:
            asked = asyncio.run(_ask_all(release, list(grades), settings, report))
        lowest, _ = measures.grade_range(grades_of(table, "all"))
        ratio = tuned_ratio(asked, grades, lowest)
        with steps.step("learn"):
            learning = _learn(asked, grades, lowest, ratio, settings)
        spec = _spec(release, ratio, learning, split, settings)
        write_final(output, spec, learning.first.trees, learning.final.trees)
        return Outcome(spec, _summary(learning.values))
    finally:
        release.retire()


def tuned_ratio(asked: Sequence[Asked], grades: Mapping[str, Mapping[str, float]], lowest: float) -> float:
    """How much ranks by words are to count beside those of the towers: the best nDCG@10 of the fused lists."""

    def worth(ratio: float) -> float:
        rankings = {entry.query: _ranked(entry, fused_scores(entry.found, ratio)) for entry in asked}
        return float(np.mean(list(_ndcg(grades, rankings, lowest).values())))

    return max(_RATIOS, key=worth)


def fused_scores(found: Found, ratio: float) -> NDArray[np.float32]:
    """Reciprocal ranks with weights 1 and `ratio`, or 1 / ratio and 1 where words count more; shape (c,)."""
    assert found.dense and found.lexical
    dense, lexical = _weights(ratio)
    parts = [
        np.where(source.ranks > 0, weight / (RANK_CONSTANT + source.ranks), 0)
        for source, weight in ((found.dense, dense), (found.lexical, lexical))
    ]
    return np.sum(parts, 0).astype(np.float32)


def _weights(ratio: float) -> tuple[float, float]:
    return (1.0, ratio) if ratio <= 1 else (1 / ratio, 1.0)


def _learn(
    asked: Sequence[Asked],
    grades: Mapping[str, Mapping[str, float]],
    lowest: float,
    ratio: float,
    settings: FinalTraining,
) -> Learning:
    """First trees that see nothing of the cross-encoder, then those that see its word on what the first put first."""
    fused = [fused_scores(entry.found, ratio) for entry in asked]
    gains = [_gains(entry, grades[entry.query], lowest) for entry in asked]

    blind = [entry.features for entry in asked]

    def tables(heard: Iterable[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        return [with_relevance(table, relevance) for table, relevance in zip(blind, heard, strict=True)]

    def learned(rows: Iterable[NDArray[np.float32]]) -> Learned:
        return learn([Table(row, gain) for row, gain in zip(rows, gains, strict=True)], FEATURES, settings)

    def heard(worth: Iterable[NDArray[np.float32]], depth: int) -> list[NDArray[np.float32]]:
        return [_cut(entry.relevance, scores, depth) for entry, scores in zip(asked, worth, strict=True)]

    def measured(scores: Iterable[NDArray[np.float32]]) -> Values:
        return _ndcg(grades, {e.query: _ranked(e, s) for e, s in zip(asked, scores, strict=True)}, lowest)

    first = final = learned(blind)
    worth = first.held_out(blind)
    depth, values = 0, measured(worth)
    rescored = heard(fused, settings.rerank_depth)
    by_stage = {_FUSED: fused, _RERANKED: list(map(_reranked, fused, rescored))}
    result = {stage: measured(scores) for stage, scores in by_stage.items()} | {_PRERANKED: values}
    if settings.rerank_depth and not all(np.isnan(entry.relevance).all() for entry in asked):
        final = learned(tables(heard(worth, settings.rerank_depth)))
        depth, values = _enough(settings, lambda depth: measured(final.held_out(tables(heard(worth, depth)))))
    return Learning(first, final, depth, result | {_FINAL: values})


def _enough(settings: FinalTraining, measured: Callable[[int], Values]) -> tuple[int, Values]:
    """The depth below which more than the allowed nDCG@10 may be lost, by the 95% interval, and the values there.

    A few less at a time, so that one depth which is good by chance does not decide.
    """
    depth = settings.rerank_depth
    whole = values = measured(depth)
    while depth > _STEP:
        fewer = measured(depth - _STEP)
        if measures.estimate([fewer[query] - whole[query] for query in whole]).low < -settings.depth_loss:
            break
        depth, values = depth - _STEP, fewer
    return depth, values


def _reranked(fused: NDArray[np.float32], relevance: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(np.isnan(relevance), fused - 1, relevance)


def _cut(relevance: NDArray[np.float32], worth: NDArray[np.float32], depth: int) -> NDArray[np.float32]:
    """The relevance of the candidates that are worth most; NaN for the others, as if there was no time."""
    kept = np.full(len(relevance), np.nan, np.float32)
    first = np.argsort(-worth, kind="stable")[:depth]
    kept[first] = relevance[first]
    return kept


def _gains(entry: Asked, grades: Mapping[str, float], lowest: float) -> NDArray[np.float64]:
    return np.array([2 ** (grades.get(name, lowest) - lowest) - 1 for name in entry.ids])


def _ranked(entry: Asked, scores: NDArray[np.float32]) -> list[str]:
    return [entry.ids[place] for place in np.argsort(-scores, kind="stable")]


def _ndcg(
    grades: Mapping[str, Mapping[str, float]], rankings: Mapping[str, list[str]], lowest: float
) -> dict[str, float]:
    chosen = {query: dict(grades[query]) for query in rankings}
    _, highest = measures.grade_range(chosen)
    return measures.full_ranking_measures(chosen, dict(rankings), lowest, highest)["nDCG@10"]


def _grades(table: pa.Table, split: str, release: LoadedRelease) -> dict[str, dict[str, float]]:
    held = frozenset(release.columns.ids())
    grades = {query: products for query, products in grades_of(table, split).items() if held & products.keys()}
    if len(grades) < 10:
        raise FeedError(
            f"split {split!r} has {len(grades)} queries with products of the catalog; give a split with ten, better 300"
        )
    return grades


async def _ask_all(
    release: LoadedRelease, queries: Sequence[str], settings: FinalTraining, report: Report
) -> list[Asked]:
    """Everything both sources find for each query, all of it rescored."""
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
            if answer.found.evidence is not None and len(answer.found.rows):
                ids = [release.columns.id(int(row)) for row in answer.found.rows]
                result.append(Asked(text, answer.found, release.features(answer.found), answer.relevance, ids))
            report(done, len(queries))
        return result


def _spec(release: LoadedRelease, ratio: float, learning: Learning, split: str, settings: FinalTraining) -> FinalSpec:
    dense, lexical = _weights(ratio)
    values = learning.values
    report = {
        "release": release.release_id,
        "split": split,
        "settings": settings.model_dump(mode="json"),
        "queries": len(values[_FINAL]),
        "held out": {stage: asdict(estimate) for stage, estimate in _summary(values).items()},
        "final over reranked": asdict(paired(values[_RERANKED], values[_FINAL])),
    }
    return FinalSpec(
        features=tuple(FEATURES),
        dense_weight=dense,
        lexical_weight=lexical,
        rerank_depth=learning.depth,
        encoder=release.tower.digest,
        ranker=release.ranker.digest if release.ranker else "",
        report=report,
    )


def _summary(values: Mapping[str, Values]) -> dict[str, measures.Estimate]:
    return {stage: measures.estimate(list(of.values())) for stage, of in values.items()}
