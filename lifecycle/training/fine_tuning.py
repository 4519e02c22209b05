"""Trains one model on a shop's files: read → examples → negatives → fit → export → check → record."""

from pathlib import Path
from typing import Any

from core.progress import Silent, Steps
from lifecycle.tracking.tracker import NullTracker, Tracker
from lifecycle.training.data import Inputs, make_examples, read_data
from lifecycle.training.negatives import add_negatives
from lifecycle.training.record import Kind, make_lineage, train_and_record
from lifecycle.training.scoring import TowerSimilarity
from training.export import base_name
from training.processes import is_main_process
from training.settings import FineTuning
from training.stages import ModelStages, Task

_TITLES: dict[Kind, str] = {"encoder": "fine-tune the towers", "ranker": "fine-tune the ranker"}


def train_model(
    kind: Kind,
    inputs: Inputs,
    output: Path,
    settings: dict[str, Any],
    steps: Steps,
    tracker: Tracker,
    base_origin: str | None = None,
) -> dict[str, Any]:
    """Fine-tunes one model and leaves it in `output`, exported, with its lineage and curves; returns its report.

    Settings that are None keep their defaults. `base_origin` is where their base was taken from. Under torchrun the
    first process writes and prints for all. Raises FeedError or ModelError.
    """
    if not is_main_process():
        steps, tracker = Silent(), NullTracker()
    similarity = TowerSimilarity(inputs.towers) if inputs.towers else None
    data = read_data(inputs, steps)
    lineage = make_lineage(kind, inputs, data.mapping, base_name(settings.get("base")), base_origin=base_origin)
    stages, chosen = fine_tuning(kind, {name: value for name, value in settings.items() if value is not None})
    examples = make_examples(data)
    examples = add_negatives(examples, data.products, inputs, similarity, chosen.base, steps)
    return train_and_record(lineage, stages, Task(examples, chosen, output), _TITLES[kind], steps, tracker)


def fine_tuning(kind: Kind, settings: dict[str, Any]) -> tuple[ModelStages, FineTuning]:
    """The stages that fit, export and check a model of this kind, and all its settings. Loads torch."""
    if kind == "encoder":
        from encoder.train import finetune as encoder
        from encoder.train.settings import EncoderTraining

        return encoder.FINE_TUNING, EncoderTraining(**settings)
    from ranker.train import finetune as ranker
    from ranker.train.settings import RankerTraining

    return ranker.FINE_TUNING, RankerTraining(**settings)
