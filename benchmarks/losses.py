"""The ranker's losses compared: one cross-encoder by each, of the same towers, judgments and negatives.

    python -m benchmarks.losses --data FOLDER --towers FOLDER --work FOLDER [--epochs 0.6]

All see the same products of the same queries equally often, those found by BM25 and by the towers among them, and
differ in the loss alone. What is trained is not trained again. Then they rescore what the towers find for the test
queries; differences are paired with the first, binary cross-entropy. Parameters and results go to
`benchmarks/results/losses.json`.
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from benchmarks.common import save
from benchmarks.quality import beside, measured, shelf_of, systems_of
from core.errors import TandemError
from core.progress import Steps
from engine.training import REPORT_FILE, judged
from lifecycle.examples.mining import Mining
from lifecycle.examples.rounds import found_first, mine_negatives
from lifecycle.progress import Bars
from lifecycle.recipes.recipe import recipe_of
from lifecycle.recipes.sets import LearningSet, read_sets
from lifecycle.similarity import TowerSimilarity
from ranker.train.finetune import train_ranker
from ranker.train.settings import RankerTraining

LOSSES = ("bce", "listwise", "pairwise")


def main() -> None:
    """Trains what is missing, asks all, and saves the table."""
    options = _options()
    steps = Bars(Console(stderr=True))
    recipe = recipe_of("home_depot")
    (entry,) = read_sets(recipe.sources, options.data, 0, steps)
    settings = recipe.ranker.model_copy(update={"epochs": options.epochs, "max_steps": None})
    models = {loss: options.work / loss for loss in LOSSES}
    if not all((folder / "ranker" / REPORT_FILE).is_file() for folder in models.values()):
        _train(entry, options.towers, models, settings, steps)
    shelf = shelf_of(options.data / entry.source.name, "test", steps)
    values = measured(shelf, systems_of(shelf, models, options.rerank, steps))
    first = values[f"{LOSSES[0]}: both stages"]
    results = {loss: beside(values[f"{loss}: both stages"], first, LOSSES[0]) for loss in LOSSES}
    results["towers"] = beside(values[f"{LOSSES[0]}: towers"], first, LOSSES[0])
    for name, row in results.items():
        print(name, {measure: round(value["mean"], 4) for measure, value in row.items()})
    parameters = {"ranker": settings.model_dump(mode="json"), "reranked": options.rerank, "queries": len(shelf.grades)}
    print(save("losses", parameters, results))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--towers", type=Path, required=True, help="a folder that `tandem train` left")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--epochs", type=float, default=0.6)
    parser.add_argument("--rerank", type=int, default=32)
    return parser.parse_args()


def _train(entry: LearningSet, towers: Path, models: dict[str, Path], settings: RankerTraining, steps: Steps) -> None:
    similarity = TowerSimilarity(towers)
    train = judged(entry.judgments, entry.texts, "train")
    mined = mine_negatives(train, entry.products, similarity, Mining(), steps).table.sort_by("rank")
    negatives: dict[str, list[str]] = {}
    for query, product in zip(mined["query"].to_pylist(), mined["product_id"].to_pylist(), strict=True):
        negatives.setdefault(query, []).append(product)
    valid = judged(entry.judgments, entry.texts, "valid")
    found = found_first(valid, entry.products, similarity, 20, steps)
    for loss, folder in models.items():
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "encoder").exists():
            (folder / "encoder").symlink_to(towers.resolve())
        if (folder / "ranker" / REPORT_FILE).is_file():
            continue
        # As many pairs a step and a rate alike: lists hold fewer than they may.
        with steps.step(f"train {loss}") as report:
            train_ranker(
                entry.texts,
                entry.judgments,
                folder / "ranker",
                settings.model_copy(update={"loss": loss}),
                similarity=similarity,
                negatives=negatives,
                found=found,
                report=report,
                language=entry.language,
            )


if __name__ == "__main__":
    try:
        main()
    except TandemError as error:
        sys.exit(f"benchmark: {error}")
