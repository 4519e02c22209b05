"""How well models find and order: against BM25, the untuned towers and the two fused, on judged sets.

    python -m benchmarks.quality --data FOLDER --models NAME=FOLDER [--models ...] [--set home_depot:test] [--set ...]

A FOLDER of models has `encoder` and, to rerank, `ranker`. A set is a folder of DATA with `products.parquet` and
`judgments.parquet`, and the split to ask; `all` takes every query. Every system answers the same queries. Values are
means over queries with 95% intervals, and differences to the untuned towers are paired. `unseen` are queries whose
judged products have no judgment in train or valid. Parameters and results go to `benchmarks/results/quality.json`.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.bm25 import PlainBM25
from benchmarks.common import save
from core.errors import TandemError
from core.progress import Steps
from encoder.train.export import export_encoder
from evaluation.comparison import paired
from evaluation.judgments import load_judgments
from evaluation.measures import (
    Grades,
    PerQuery,
    Rankings,
    estimate,
    full_ranking_measures,
    grade_range,
    pool_ndcg,
    random_pool_ndcg,
)
from lifecycle.cli.progress import Bars
from lifecycle.examples.candidates import RetrievedProducts
from lifecycle.training.data import Inputs, read_data
from lifecycle.training.scoring import Teacher, TowerSimilarity

BM25, UNTUNED, FUSED = "BM25", "untuned towers", "RRF of both"
_DEPTH, _RERANKED = 100, 32
_RRF = 60  # Cormack, Clarke and Buettcher, "Reciprocal rank fusion" (SIGIR 2009)
_POOL = "nDCG@10, judged pool"


@dataclass(frozen=True)
class Shelf:
    """A judged set: product ids and texts by row, and the grades of the queries to ask, by product id."""

    name: str
    ids: list[str]
    texts: list[str]
    grades: Grades
    unseen: set[str]

    @property
    def queries(self) -> list[str]:
        """In the order of all scores."""
        return list(self.grades)


@dataclass(frozen=True)
class Answers:
    """A system's output: the best products of each query, and the scores of its judged ones, in their order."""

    rankings: Rankings
    pools: Mapping[str, NDArray[np.float32]]


def main() -> None:
    """Asks all systems on all sets, prints a table, and saves it."""
    options = _options()
    steps = Bars(Console(stderr=True))
    models = dict(_named(text) for text in options.models)
    results: dict[str, Any] = {}
    for text in options.set:
        name, _, split = text.partition(":")
        shelf = shelf_of(options.data / name, split or "test", steps)
        values = measure_systems(shelf, systems_of(shelf, models, options.rerank, steps))
        results[text] = {"queries": len(shelf.grades), "systems": _table(shelf, values)}
        _show(text, results[text])
    parameters = {"models": {name: Path(folder).name for name, folder in models.items()}, "sets": options.set}
    parameters |= {"depth": _DEPTH, "reranked": options.rerank, "rrf": _RRF}
    print(save(options.name, parameters, results))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--rerank", type=int, default=_RERANKED)
    parser.add_argument("--name", default="quality")
    options = parser.parse_args()
    options.set = options.set or ["home_depot:test", "crowdflower:all"]
    return options


def _named(text: str) -> tuple[str, Path]:
    name, separator, folder = text.partition("=")
    if not separator or not (Path(folder) / "encoder").is_dir():
        raise TandemError(f"--models {text}: give a name, =, and a folder that holds an encoder")
    return name, Path(folder)


def shelf_of(folder: Path, split: str, steps: Steps) -> Shelf:
    """The set in a folder, to ask the queries of a split. Raises FeedError."""
    judgments = folder / "judgments.parquet"
    texts = read_data(Inputs(folder / "products.parquet", None, judgments), steps).texts
    table = load_judgments(judgments)
    grades: dict[str, dict[str, float]] = {}
    trained: set[str] = set()
    columns = (table[name].to_pylist() for name in ("query", "product_id", "grade", "split"))
    for query, product, grade, part in zip(*columns, strict=True):
        if product in texts and split in (part, "all"):
            grades.setdefault(query, {})[product] = grade
        if part != "test" and split != "all":
            trained.add(product)
    unseen = {query for query, products in grades.items() if not products.keys() & trained}
    return Shelf(folder.name, list(texts), list(texts.values()), grades, unseen)


def systems_of(shelf: Shelf, models: Mapping[str, Path], reranked: int, steps: Steps) -> dict[str, Answers]:
    """BM25, untuned towers and both fused, then each model's towers alone and, where there is a ranker, both stages."""
    with tempfile.TemporaryDirectory() as scratch:
        export_encoder(None, Path(scratch), shelf.texts[:64])
        untuned, scores = towers_of(shelf, Path(scratch), steps)
    with steps.step("find words in common") as report:
        words = PlainBM25(shelf.texts)
        lexical = words.search(shelf.queries, len(shelf.texts), report)
    bm25 = _dense(lexical, len(shelf.texts))
    systems = {BM25: _answers(shelf, bm25), UNTUNED: untuned, FUSED: _answers(shelf, _fused(bm25, scores))}
    for name, folder in models.items():
        systems[f"{name}: towers"], scores = towers_of(shelf, folder / "encoder", steps)
        if (folder / "ranker").is_dir():
            systems[f"{name}: both stages"] = two_stages(shelf, folder / "ranker", scores, reranked, steps)
    return systems


def towers_of(shelf: Shelf, folder: Path, steps: Steps) -> tuple[Answers, NDArray[np.float32]]:
    """What the folder's towers answer, and their scores of all products, shape (q, n)."""
    towers = TowerSimilarity(folder)
    with steps.step(f"embed {shelf.name}") as report:
        items = towers.items(shelf.texts, report)
    scores = towers.queries(shelf.queries) @ items.T
    return _answers(shelf, scores), scores


def two_stages(shelf: Shelf, ranker: Path, scores: NDArray[np.float32], reranked: int, steps: Steps) -> Answers:
    """The towers' first products in the order of the calibrated score; the rest stay behind them."""
    rows = {product: row for row, product in enumerate(shelf.ids)}
    best = np.argsort(-scores, axis=1, kind="stable")[:, :_DEPTH]
    places = np.repeat(np.arange(len(shelf.grades)), reranked)
    judged = [(place, rows[name]) for place, products in enumerate(shelf.grades.values()) for name in products]
    every = np.concatenate([np.stack([places, best[:, :reranked].ravel()], axis=1), np.array(judged)])
    with steps.step(f"rescore {shelf.name}") as report:
        teacher_scores = Teacher(ranker).pair_scores(shelf.queries, shelf.texts, lambda q, r: scores[q, r])(*every.T)
        report(len(every), len(every))
    top = teacher_scores[: len(places)].reshape(len(shelf.grades), reranked)
    order = np.take_along_axis(best[:, :reranked], np.argsort(-top, axis=1, kind="stable"), axis=1)
    rankings = {
        query: [shelf.ids[row] for row in (*first, *rest)]
        for query, first, rest in zip(shelf.queries, order, best[:, reranked:], strict=True)
    }
    ends = np.cumsum([len(products) for products in shelf.grades.values()])
    return Answers(rankings, dict(zip(shelf.queries, np.split(teacher_scores[len(places) :], ends[:-1]), strict=True)))


def _answers(shelf: Shelf, scores: NDArray[np.float32]) -> Answers:
    """Answers from the scores of every query and product, shape (q, n)."""
    rows = {product: row for row, product in enumerate(shelf.ids)}
    best = np.argpartition(-scores, min(_DEPTH, scores.shape[1] - 1), axis=1)[:, :_DEPTH]
    best = np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable"), 1)
    rankings = {query: [shelf.ids[row] for row in rows] for query, rows in zip(shelf.queries, best, strict=True)}
    pools = {
        query: line[[rows[name] for name in products]]
        for (query, products), line in zip(shelf.grades.items(), scores, strict=True)
    }
    return Answers(rankings, pools)


def _dense(retrieved: RetrievedProducts, count: int) -> NDArray[np.float32]:
    """Scores of all products, shape (q, count); those not found have 0."""
    scores = np.zeros((len(retrieved.rows), count), np.float32)
    for line, rows, values in zip(scores, retrieved.rows, retrieved.scores, strict=True):
        line[rows[rows >= 0]] = values[rows >= 0]
    return scores


def _fused(*sources: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum of 1 / (60 + rank) over the sources' scores, each of shape (q, n)."""
    total = np.zeros_like(sources[0])
    for scores in sources:
        for line, values in zip(total, scores, strict=True):
            order = np.argsort(-values, kind="stable")
            line[order] += 1 / (_RRF + 1 + np.arange(len(order)))
    return total


def measure_systems(shelf: Shelf, systems: Mapping[str, Answers]) -> dict[str, PerQuery]:
    """Each system's measures by query."""
    lowest, highest = grade_range(shelf.grades)
    values: dict[str, PerQuery] = {}
    for name, answers in systems.items():
        by_measure = full_ranking_measures(shelf.grades, answers.rankings, lowest, (lowest + highest) / 2)
        pools = {
            query: [list(products)[place] for place in np.argsort(-answers.pools[query], kind="stable")]
            for query, products in shelf.grades.items()
        }
        values[name] = by_measure | {_POOL: pool_ndcg(shelf.grades, pools, lowest)}
    return values


def _table(shelf: Shelf, values: Mapping[str, PerQuery]) -> dict[str, Any]:
    """Each system's measures, and their paired differences to the untuned towers' on the same queries."""
    lowest, _ = grade_range(shelf.grades)
    chance = {q: random_pool_ndcg(p, lowest) for q, p in shelf.grades.items() if max(p.values()) > lowest}
    result: dict[str, Any] = {"random order": {_POOL: asdict(estimate(list(chance.values())))}}
    for name, by_measure in values.items():
        result[name] = {measure: asdict(estimate(list(queries.values()))) for measure, queries in by_measure.items()}
        result[name]["lift over random"] = asdict(paired(chance, by_measure[_POOL]).difference)
        for measure in ("nDCG@10", "recall@100", _POOL):
            test = paired(values[UNTUNED][measure], by_measure[measure])
            result[name][f"{measure} over untuned"] = asdict(test.difference) | {"p": test.p}
            some = {query: value for query, value in by_measure[measure].items() if query in shelf.unseen}
            if some and len(some) < len(shelf.grades):
                result[name][f"{measure}, unseen"] = asdict(estimate(list(some.values())))
    return result


def beside(values: PerQuery, first: PerQuery, name: str) -> dict[str, Any]:
    """The means of a system's measures with their intervals, and their paired differences to those of `first`."""
    row: dict[str, Any] = {}
    for measure, queries in values.items():
        test = paired(first[measure], queries)
        row[measure] = asdict(estimate(list(queries.values())))
        row[f"{measure} over {name}"] = asdict(test.difference) | {"p": test.p}
    return row


def _show(name: str, result: dict[str, Any]) -> None:
    print(f"\n{name}: {result['queries']} queries")
    for system, values in result["systems"].items():
        parts = [
            f"{measure} {by_measure['mean']:.3f} [{by_measure['low']:.3f}, {by_measure['high']:.3f}]"
            for measure, by_measure in values.items()
        ]
        print(f"  {system}: " + " | ".join(parts), flush=True)


if __name__ == "__main__":
    try:
        main()
    except TandemError as error:
        sys.exit(f"benchmark: {error}")
