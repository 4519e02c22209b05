"""One training, stage by stage: fit → export → check → report. Each stage takes what the one before returned."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from core.progress import Report, ignore
from training import processes
from training.card import keep_card, write_card
from training.export import CHECKPOINT, quiet_libraries
from training.loop import METRIC, Curve, torch_threads
from training.settings import TrainingSettings

REPORT_FILE = "report.json"

_Examples = TypeVar("_Examples")
_Settings = TypeVar("_Settings", bound=TrainingSettings)
_Model = TypeVar("_Model")
_Validation = TypeVar("_Validation")
_Artifact = TypeVar("_Artifact")


@dataclass(frozen=True, slots=True)
class Task(Generic[_Examples, _Settings]):
    """What to train: examples, settings, and the folder that the model is exported to."""

    examples: _Examples
    settings: _Settings
    output: Path


@dataclass(frozen=True, slots=True)
class FittedModel(Generic[_Examples, _Settings, _Model, _Validation]):
    """A torch model with the best weights of its training. `counts` describe its data in the report."""

    task: Task[_Examples, _Settings]
    model: _Model
    curve: Curve
    validation: _Validation
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class ExportedModel(Generic[_Examples, _Settings, _Model, _Validation, _Artifact]):
    """The fitted model with its exported artifact, opened as in serving."""

    fitted: FittedModel[_Examples, _Settings, _Model, _Validation]
    artifact: _Artifact


@dataclass(frozen=True, slots=True)
class CheckedModel:
    """An exported model and its measures, by their names in `report.json`."""

    fitted: FittedModel[Any, Any, Any, Any]
    measures: dict[str, Any]
    language: str | None


class ModelStages(NamedTuple):
    """The training stages of one kind of model."""

    fit: Callable[[Task[Any, Any], Report], FittedModel[Any, Any, Any, Any]]
    export: Callable[[Any], ExportedModel[Any, Any, Any, Any, Any]]
    check: Callable[[Any], CheckedModel]


def train(stages: ModelStages, task: Task[Any, Any], report: Report = ignore) -> dict[str, Any]:
    """Trains one model and writes it into the task's folder; returns its report. Under torchrun one process writes."""
    began = time.monotonic()
    with quiet_libraries(), torch_threads(task.settings.threads):
        fitted = stages.fit(task, report)
        if not processes.is_main_process():
            return read_report(task.output)
        exported = stages.export(fitted)
        checked = stages.check(exported)
    return write_report(checked, time.monotonic() - began)


def clear_output(output: Path, spec: str) -> None:
    """Makes the folder, without the files that mark a complete model until the training ends."""
    if processes.is_main_process():
        for name in (spec, REPORT_FILE):
            (output / name).unlink(missing_ok=True)
        output.mkdir(parents=True, exist_ok=True)


def best_of(model: _Model, curve: Curve, load_base: Callable[[], _Model]) -> _Model:
    """The trained model, or the base with the trained model's card where no step ranks better."""
    if curve.best[0] > 0:
        return model
    base = load_base()
    keep_card(model, base)
    return base


def write_report(checked: CheckedModel, seconds: float) -> dict[str, Any]:
    """Writes the checkpoint's card and, last of all, `report.json`: where it is, the folder is whole.

    Returns the report. `seconds` is what the training took.
    """
    fitted = checked.fitted
    step, score = fitted.curve.best
    report = {
        "data": fitted.counts,
        **checked.measures,
        "seconds": round(seconds, 1),
        "settings": fitted.task.settings.model_dump(),
        "validation": [{"step": at, METRIC: value} for at, value in fitted.curve.scores],
        "loss": [{"step": at, "loss": value} for at, value in fitted.curve.losses],
        "start": fitted.curve.scores[0][1],
        "best_step": step,
        "best": score,
    }
    scores = {METRIC: score, f"{METRIC} before training": report["start"]}
    write_card(fitted.model, fitted.task.output / CHECKPOINT, scores, checked.language)
    (fitted.task.output / REPORT_FILE).write_text(json.dumps(report, indent=2) + "\n")
    return read_report(fitted.task.output)


def read_report(output: Path) -> dict[str, Any]:
    """The report, once the process that writes it is done."""
    processes.barrier()
    report: dict[str, Any] = json.loads((output / REPORT_FILE).read_text())
    return report
