"""Trains a final score on several shops at once, for shops that nobody has judged."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from core.errors import FeedError, ReleaseError
from core.progress import Steps
from evaluation.judgments import load_judgments
from evaluation.measures import grade_range
from lifecycle.examples.pseudo import PseudoQuerySettings, attribute_queries, pseudo_queries
from lifecycle.final_score.candidates import search_all
from lifecycle.final_score.learning import FINAL, FUSED, PRERANKED, GradedQueries, fusion_weights
from lifecycle.final_score.portable import (
    LeftOut,
    PortableModel,
    ShopQueries,
    learn_portable,
    leave_one_out,
    mean_of_shops,
    surely_loses,
)
from lifecycle.quality.evaluate import select_grades
from lifecycle.quality.evaluation import ReleaseLocation, open_place
from ranker.features import PORTABLE_FEATURES
from ranker.final import FinalSpec
from ranker.train.final import FinalTraining, write_final
from retrieval.release.loaded import LoadedRelease

LEAST_SHOPS, LEAST_QUERIES = 3, 10
# Queries of a shop, at most.
QUERIES = 400


@dataclass(frozen=True)
class ShopRelease:
    """A shop to learn from: where its release lies, and its judgments; without them, queries are made of its catalog.

    `split` is of the judgments: queries that trained none of its models.
    """

    name: str
    place: ReleaseLocation
    judgments: Path | None = None
    split: str = "valid"


@dataclass(frozen=True)
class ShopsOutcome:
    """The written spec, and each shop by what was learned from the others."""

    spec: FinalSpec
    left_out: list[LeftOut]


@dataclass(frozen=True)
class _Collected:
    """The queries of all shops, and which towers and cross-encoder answered them, by shop."""

    shops: list[ShopQueries] = field(default_factory=list)
    towers: dict[str, str] = field(default_factory=dict)
    rankers: set[str] = field(default_factory=set)


def train_final_of_shops(
    shops: Sequence[ShopRelease], output: Path, settings: FinalTraining, steps: Steps, queries: int = QUERIES
) -> ShopsOutcome:
    """Learns one score from all shops and writes it; it goes with any towers.

    Searches so many queries of each at most. Raises FeedError or ReleaseError.
    """
    if len(shops) < LEAST_SHOPS:
        raise FeedError(f"a final score of several shops needs {LEAST_SHOPS} or more: each is left out once to measure")
    collected = _Collected()
    for shop in shops:
        _collect(shop, collected, settings, queries, steps)
    with steps.step("learn"):
        model = learn_portable(collected.shops, settings)
    with steps.step("learn again without each shop") as report:
        left_out = leave_one_out(collected.shops, settings, report)
    spec = _spec(model, left_out, collected, settings)
    write_final(output, spec)
    return ShopsOutcome(spec, left_out)


def _collect(shop: ShopRelease, collected: _Collected, settings: FinalTraining, most: int, steps: Steps) -> None:
    release = open_place(shop.place)
    try:
        if release.words is None:
            raise ReleaseError(f"release {release.release_id} has no lexical index; run `tandem index` again first")
        grades, lowest, highest = _judged(shop, release) if shop.judgments else _made_up(release, most)
        chosen = _drawn(grades, most, settings.seed)
        if len(chosen) < LEAST_QUERIES:
            raise FeedError(f"{shop.name}: {len(chosen)} queries have products of the catalog; give ten, better 300")
        with steps.step(f"search {shop.name}") as report:
            answered = asyncio.run(search_all(release, list(chosen), settings, report))
        queries = [entry for entry in answered if max(chosen[entry.query].values()) > lowest]
        graded = GradedQueries(chosen, lowest)
        collected.shops.append(ShopQueries(shop.name, queries, graded, highest, made_up=shop.judgments is None))
        collected.towers[shop.name] = release.tower.digest
        if release.ranker is not None:
            collected.rankers.add(release.ranker.digest)
    finally:
        release.retire()


def _judged(shop: ShopRelease, release: LoadedRelease) -> tuple[dict[str, dict[str, float]], float, float]:
    """The grades of the split's queries that have a good product in the catalog, and the range of all grades."""
    assert shop.judgments is not None
    table = load_judgments(shop.judgments, to_learn=True)
    lowest, highest = grade_range(select_grades(table, "all"))
    held = frozenset(release.columns.ids())
    chosen = {
        query: products
        for query, products in select_grades(table, shop.split).items()
        if held & products.keys() and max(products.values()) > lowest
    }
    return chosen, lowest, highest


def _made_up(release: LoadedRelease, most: int) -> tuple[dict[str, dict[str, float]], float, float]:
    """Queries of the catalog: half by words of one product, which alone is good, half by a brand or a colour and a
    product type, for which all products that have both are."""
    catalog = pa.Table.from_batches(list(release.columns.batches()))
    made = pseudo_queries(catalog, (), PseudoQuerySettings(queries=max(1, most // 2), per_product=1))
    grades = {
        query: {product: 1.0}
        for query, product in zip(made["query"].to_pylist(), made["product_id"].to_pylist(), strict=True)
    }
    attributes = {query: dict.fromkeys(good, 1.0) for query, good in attribute_queries(catalog).items()}
    return grades | _drawn(attributes, most - len(grades), 0), 0.0, 1.0


def _drawn(grades: Mapping[str, dict[str, float]], most: int, seed: int) -> dict[str, dict[str, float]]:
    """At most so many of the queries, drawn."""
    queries = sorted(grades)
    drawn = np.random.default_rng(seed).permutation(len(queries))[:most]
    return {queries[place]: grades[queries[place]] for place in drawn}


def _spec(
    model: PortableModel, left_out: Sequence[LeftOut], collected: _Collected, settings: FinalTraining
) -> FinalSpec:
    dense, lexical = fusion_weights(model.ratio)
    ranker = collected.rankers.pop() if model.depth and len(collected.rankers) == 1 else ""
    return FinalSpec(
        features=PORTABLE_FEATURES,
        first_weights=_all_weights(model.first_weights),
        weights=_all_weights(model.weights),
        dense_weight=dense,
        lexical_weight=lexical,
        rerank_depth=model.depth,
        encoder="",
        ranker=ranker,
        report={
            "towers": collected.towers,
            "settings": settings.model_dump(mode="json"),
            "ridge": model.ridge,
            **left_out_report(left_out),
        },
    )


def _all_weights(weights: Mapping[str, float]) -> dict[str, float]:
    return {name: float(weights.get(name, 0.0)) for name in PORTABLE_FEATURES}


def left_out_report(left_out: Sequence[LeftOut]) -> dict[str, Any]:
    """What was measured of each shop by what was learned of the others, as a JSON value; the worst shop by its name."""
    shops: dict[str, Any] = {}
    for entry in left_out:
        over = {stage: asdict(entry.over_fused(stage)) for stage in (PRERANKED, FINAL)}
        means = {stage: float(np.mean(list(values.values()))) for stage, values in entry.values.items()}
        shops[entry.shop.name] = {
            "queries": len(entry.shop.queries),
            "made up": entry.shop.made_up,
            "nDCG@10": means,
            "over fused": over,
            "rerank depth": entry.model.depth,
            "stages": [cost.as_json() for cost in entry.costs],
        }
    gains = {entry.shop.name: _differences(entry) for entry in left_out}
    mean, error = mean_of_shops(list(gains.values()))
    return {
        "shops left out": shops,
        "mean over fused": {"mean": mean, "standard error": error},
        "worst shop": min(gains, key=lambda name: float(np.mean(gains[name]))),
        "surely lost in": [name for name, gain in gains.items() if surely_loses(gain)],
    }


def _differences(entry: LeftOut) -> list[float]:
    fused, final = entry.values[FUSED], entry.values[FINAL]
    return [final[query] - fused[query] for query in fused]
