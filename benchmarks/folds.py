"""The general recipe on a set held out by query: folds share all stages but the last.

    python -m benchmarks.folds --data FOLDER --work FOLDER [--folds 5] [--only 0] [--set crowdflower]

Each fold holds out a fifth of the set's queries, and learns from the others, an eighth of them for validation. The
stages before the last, which see nothing of the set, are made once. What is done is not done again. Values are means
over all held-out queries with 95% intervals, paired with the untuned towers on the same queries. Parameters and results
go to `benchmarks/results/folds_<set>.json`.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from benchmarks.common import save
from benchmarks.quality import UNTUNED, beside, measure_systems, shelf_of, systems_of
from core.errors import TandemError
from core.strings import query_key
from evaluation.measures import PerQuery
from lifecycle.cli.progress import Bars
from lifecycle.recipes.builtin import find_recipe
from lifecycle.recipes.recipe import Recipe
from lifecycle.recipes.run import run_recipe
from lifecycle.tracking.tracker import NullTracker

_VALID = 8  # of the queries that are not held out, every so many-th validates


def main() -> None:
    """Trains the folds that are missing, asks each about its own queries, and saves all of them together."""
    options = _options()
    steps = Bars(Console(stderr=True))
    recipe = find_recipe(options.recipe).model_copy(update={"compression": None, "ranker_from": "any"})
    per_system: dict[str, PerQuery] = {}
    seconds: dict[str, float] = {}
    for number in options.only or range(options.folds):
        folder = options.work / f"fold-{number}"
        data = _fold(recipe, options.data, options.set, number, options.folds, folder / "data")
        began = time.monotonic()
        stages = options.stages or options.work / "stages"
        run_recipe(recipe, data, folder / "models", steps, NullTracker(), stages=stages, notify=print)
        took = _remembered(folder / "seconds.json", round(time.monotonic() - began, 1))
        shelf = shelf_of(data / options.set, "test", steps)
        for name, values in measure_systems(shelf, systems_of(shelf, {"recipe": folder / "models"}, 32, steps)).items():
            for measure, queries in values.items():
                per_system.setdefault(name, {}).setdefault(measure, {}).update(queries)
        seconds[f"fold {number}"] = took
    systems = {name: beside(values, per_system[UNTUNED], "untuned") for name, values in per_system.items()}
    results: dict[str, Any] = {"seconds of the last stage": seconds, "systems": systems}
    for name, values in results["systems"].items():
        print(name, {measure: round(value["mean"], 4) for measure, value in values.items()})
    print(save(f"folds_{options.set}", {"folds": options.folds, "recipe": recipe.model_dump(mode="json")}, results))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--stages", type=Path, help="those of a run of the recipe, if there is one already")
    parser.add_argument("--recipe", default="general")
    parser.add_argument("--set", default="crowdflower")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--only", type=int, action="append")
    return parser.parse_args()


def _fold(recipe: Recipe, data: Path, name: str, number: int, folds: int, folder: Path) -> Path:
    """The data folder with this fold's queries as the set's test split, and links to all else."""
    for source in recipe.sources:
        for file in filter(None, (source.catalog, source.judgments)):
            link = folder / file
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists() and file != f"{name}/judgments.parquet":
                link.symlink_to((data / file).resolve())
    table = pq.read_table(data / name / "judgments.parquet", columns=["query", "product_id", "grade"])
    splits = _splits(table["query"].to_pylist(), number, folds)
    pq.write_table(table.append_column("split", pa.array(splits)), folder / name / "judgments.parquet")
    return folder


def _splits(queries: Sequence[str], number: int, folds: int) -> list[str]:
    """The split of each judgment; queries that differ in case and spaces alone stay together."""
    keys = sorted({query_key(query) for query in queries})
    places = {keys[place]: turn for turn, place in enumerate(np.random.default_rng(0).permutation(len(keys)))}

    def split(turn: int) -> str:
        if turn % folds == number:
            return "test"
        return "valid" if turn // folds % _VALID == 0 else "train"

    return [split(places[query_key(query)]) for query in queries]


def _remembered(path: Path, seconds: float) -> float:
    """The longest that a fold took: a later run finds its work done."""
    before = json.loads(path.read_text()) if path.is_file() else 0.0
    path.write_text(json.dumps(max(before, seconds)))
    return max(before, seconds)


if __name__ == "__main__":
    try:
        main()
    except TandemError as error:
        sys.exit(f"benchmark: {error}")
