"""The ranker's losses compared: one cross-encoder by each, of the same towers, judgments and negatives.

    python -m benchmarks.losses --data FOLDER --towers FOLDER --work FOLDER [--epochs 0.6]

All see the same products of Home Depot's queries, equally often and in as many steps, those found by BM25 and by the
towers among them, and differ in the loss alone. What is trained is not trained again. Then they rescore what the towers
find for the test queries; differences are paired with the first, binary cross-entropy. Parameters and results go to
`benchmarks/results/losses.json`.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from benchmarks.common import save
from benchmarks.quality import beside, measure_systems, shelf_of, towers_of, two_stages
from core.errors import TandemError
from core.progress import Steps
from lifecycle.cli.progress import Bars
from lifecycle.examples.mining import Mining, group_by_query
from lifecycle.recipes.builtin import find_recipe
from lifecycle.recipes.sets import TrainingSet, read_sets
from lifecycle.training.negatives import RETRIEVED, mine_negatives, retrieve_first
from lifecycle.training.scoring import TowerSimilarity
from ranker.train.examples import training_labels, training_lists
from ranker.train.finetune import train_ranker
from ranker.train.losses import rows_per_batch
from ranker.train.settings import RankerTraining
from training.examples import Examples
from training.stages import REPORT_FILE

LOSSES = ("bce", "listwise", "pairwise")


def main() -> None:
    """Trains what is missing, asks all, and saves the table."""
    options = _options()
    steps = Bars(Console(stderr=True))
    recipe = find_recipe("home_depot")
    (entry,) = read_sets(recipe.sources, options.data, 0, steps)
    assert recipe.ranker is not None, "this recipe trains one"
    settings = recipe.ranker.model_copy(update={"epochs": options.epochs, "max_steps": None})
    models = {loss: options.work / loss for loss in LOSSES}
    if not all((folder / REPORT_FILE).is_file() for folder in models.values()):
        _train(entry, options.towers, models, settings, steps)
    shelf = shelf_of(options.data / entry.source.name, "test", steps)
    tower_answers, scores = towers_of(shelf, options.towers, steps)
    systems = {loss: two_stages(shelf, folder, scores, options.rerank, steps) for loss, folder in models.items()}
    values = measure_systems(shelf, systems | {"towers": tower_answers})
    results = {name: beside(by_measure, values[LOSSES[0]], LOSSES[0]) for name, by_measure in values.items()}
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


def _train(entry: TrainingSet, towers: Path, models: dict[str, Path], settings: RankerTraining, steps: Steps) -> None:
    similarity = TowerSimilarity(towers)
    examples = Examples.split(entry.texts, entry.judgments, entry.products.language)
    mined = mine_negatives(examples.train, entry.products, similarity, Mining(), steps)
    retrieved = retrieve_first(examples.valid, entry.products, similarity, RETRIEVED, steps)
    examples = replace(examples, negatives=group_by_query(mined.table), retrieved=retrieved, similarity=similarity)
    for loss, folder in models.items():
        if (folder / REPORT_FILE).is_file():
            continue
        chosen = settings.model_copy(update={"loss": loss})
        if loss == "bce":  # as many pairs a step as the lists hold, which are seldom full
            labels = training_labels(examples, chosen)
            lists = training_lists(labels, entry.texts, chosen)
            pairs = sum(map(len, lists["products"])) / len(lists) * rows_per_batch(settings)
            chosen = chosen.model_copy(update={"batch_size": round(pairs)})
        with steps.step(f"train {loss}") as report:
            train_ranker(examples, folder, chosen, report)


if __name__ == "__main__":
    try:
        main()
    except TandemError as error:
        sys.exit(f"benchmark: {error}")
