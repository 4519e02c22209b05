"""What each stage is worth in a shop that the final score never saw: words, towers, both, reranked, all.

    python -m benchmarks.hybrid --final FOLDER --work FOLDER --models FOLDER --catalog FILE --judgments FILE
    python -m benchmarks.hybrid --final FOLDER --work FOLDER --folds WORK [--set crowdflower] --name hybrid_folds

The first way indexes one shop with models that `tandem train` left. The second takes the folds of `benchmarks.folds`,
each with its own models and its own held-out queries, and has all queries together. The final score may come of other
towers than those that serve, as long as those were tuned from them: `tandem index` refuses that, this does not, since a
shop with few judgments has no queries to learn one from. All stages are paired with the last. Parameters and results go
to `benchmarks/results/<name>.json`.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.common import save
from benchmarks.quality import beside
from core.errors import TandemError
from core.plan import Plan
from core.progress import Steps
from core.releases import ReleaseStore
from evaluation.judgments import load_judgments
from evaluation.measures import Grades, PerQuery, full_ranking_measures, grade_range
from indexer.inputs import IndexOptions
from indexer.job import index_feed
from indexer.models import ModelFolders
from lifecycle.cli.progress import Bars
from lifecycle.feeds import read_mapping
from lifecycle.quality.evaluate import FINAL, rows_by_stage, select_grades
from lifecycle.quality.evaluation import CURRENT, find_release, open_place
from ranker.final import FinalScore
from retrieval.pipeline.search import search
from retrieval.release.loaded import LoadedRelease
from retrieval.server.admission import Admission
from retrieval.wire.request import Query

_DEPTH = 100
Rankings = dict[str, dict[str, list[str]]]  # by stage and query


@dataclass(frozen=True)
class Shop:
    """A catalog, the models that serve it, and the judged queries to ask."""

    models: Path
    catalog: Path
    mapping: Path | None
    judgments: Path
    split: str
    releases: Path


def main() -> None:
    """Indexes what is not indexed yet, asks all, and saves the table."""
    options = _options()
    steps = Bars(Console(stderr=True))
    final = FinalScore.open(options.final)
    grades: dict[str, dict[str, float]] = {}
    rankings: Rankings = {}
    for shop in _shops(options):
        release = _opened(shop, final, steps)
        judged = select_grades(load_judgments(shop.judgments), shop.split)
        for stage, ranked in asyncio.run(_ask(release, judged, steps)).items():
            rankings.setdefault(stage, {}).update(ranked)
        grades.update(judged)
        release.retire()
    lowest, highest = grade_range(grades)
    values: dict[str, PerQuery] = {
        stage: full_ranking_measures(grades, ranked, lowest, (lowest + highest) / 2)
        for stage, ranked in rankings.items()
    }
    results: dict[str, Any] = {stage: beside(ranked, values[FINAL], FINAL) for stage, ranked in values.items()}
    for stage, row in results.items():
        cells = (f"{name} {row[name]['mean']:.4f}" for name in ("nDCG@10", "recall@100"))
        print(f"{stage}: {' | '.join(cells)}", flush=True)
    parameters = {"queries": len(grades), "split": options.split, "folds": options.folds is not None}
    parameters |= {
        "plan": Plan().model_dump(mode="json"),
        "fusion": [final.spec.dense_weight, final.spec.lexical_weight],
    }
    print(save(options.name, parameters, results))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--final", type=Path, required=True, help="folder that `tandem train final` left")
    parser.add_argument("--work", type=Path, required=True, help="folder for the releases")
    parser.add_argument("--models", type=Path, help="folder with an encoder and a ranker")
    parser.add_argument("--catalog", type=Path)
    parser.add_argument("--mapping", type=Path)
    parser.add_argument("--judgments", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--folds", type=Path, help="the work folder of `benchmarks.folds`")
    parser.add_argument("--set", default="crowdflower")
    parser.add_argument("--name", default="hybrid")
    options = parser.parse_args()
    if options.folds is None and not (options.models and options.catalog and options.judgments):
        parser.error("give --folds, or --models, --catalog and --judgments")
    return options


def _shops(options: argparse.Namespace) -> Iterator[Shop]:
    if options.folds is None:
        yield Shop(
            options.models, options.catalog, options.mapping, options.judgments, options.split, options.work / "shop"
        )
        return
    folds = sorted(options.folds.glob("fold-*"))
    if not folds:
        raise TandemError(f"{options.folds} holds no folds; run `python -m benchmarks.folds` first")
    for fold in folds:
        data = fold / "data" / options.set
        yield Shop(
            fold / "models",
            data / "products.parquet",
            None,
            data / "judgments.parquet",
            "test",
            options.work / fold.name,
        )


def _opened(shop: Shop, final: FinalScore, steps: Steps) -> LoadedRelease:
    store = ReleaseStore(shop.releases)
    models = ModelFolders(shop.models / "encoder", shop.models / "ranker")
    outcome = index_feed(shop.catalog, read_mapping(shop.mapping), models, IndexOptions(), store, steps)
    release = open_place(find_release(store, outcome.manifest.catalog, CURRENT))
    release.final = final
    return release


async def _ask(release: LoadedRelease, grades: Grades, steps: Steps) -> Rankings:
    rankings: Rankings = {}
    with Admission(1).enter() as permit, steps.step("search") as report:
        for done, text in enumerate(grades, 1):
            answer = await search(Query(text, top_k=_DEPTH), Plan(), release, permit, None)
            for stage, rows in rows_by_stage(answer, release).items():
                rankings.setdefault(stage, {})[text] = [release.columns.id(int(row)) for row in rows]
            report(done, len(grades))
    return rankings


if __name__ == "__main__":
    try:
        main()
    except TandemError as error:
        sys.exit(f"benchmark: {error}")
