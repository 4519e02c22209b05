"""What makes a smaller model of a trained one, for towers and cross-encoders alike. torch is imported when called."""

import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from core.errors import ModelError
from core.progress import Report, ignore
from engine.training import CHECKPOINT, REPORT_FILE, TrainingSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TEACHER = "teacher"

_LISTS = ("layer", "layers")


class Distillation(TrainingSettings):
    """What is left of a trained model, and how it learns to answer as before. `base` None cuts the teacher itself."""

    learning_rate: float = Field(default=1e-4, gt=0)
    layers: int | None = Field(default=None, ge=1, description="transformer layers to keep; None keeps all")


def kept_layers(total: int, count: int) -> list[int]:
    """Places of `count` of `total` layers, evenly spread, the first and the last among them.

    Raises ModelError when there are not so many.
    """
    if not 1 <= count <= total:
        raise ModelError(f"{count} of {total} layers cannot be kept; choose 1 to {total}")
    return [round(place) for place in np.linspace(0, total - 1, count)]


def keep_layers(encoder: "PreTrainedModel", places: Sequence[int]) -> None:
    """Removes all other transformer layers and tells the config, so that the model saves and loads as any of its kind.

    Raises ModelError for an encoder that is not one list of layers, as one that shares them is not.
    """
    from torch import nn

    config = encoder.config
    total = config.num_hidden_layers
    found = [
        module
        for name, module in encoder.named_modules()
        if isinstance(module, nn.ModuleList) and name.rpartition(".")[2] in _LISTS and len(module) == total
    ]
    if len(found) != 1:
        raise ModelError(f"a model of type {config.model_type} has no single list of its layers; choose another base")
    layers = [found[0][place] for place in places]
    del found[0][:]
    for place, layer in enumerate(layers):
        found[0].append(layer)
        parts: Iterable[Any] = layer.modules()
        for part in parts:
            if hasattr(part, "layer_idx"):
                part.layer_idx = place
    config.num_hidden_layers = len(layers)
    if len(getattr(config, "layer_types", None) or ()) == total:
        config.layer_types = [config.layer_types[place] for place in places]


def teacher_checkpoint(teacher: Path, output: Path) -> Path:
    """The fp32 weights beside an exported model. Raises ModelError when it has none, or would be written over."""
    if output.resolve() == teacher.resolve():
        raise ModelError(f"{output}: is the model to compress; choose another folder for the output")
    if not (teacher / CHECKPOINT).is_dir():
        raise ModelError(f"{teacher}: has no {CHECKPOINT}; give a folder that `tandem train` left")
    return teacher / CHECKPOINT


def clear_output(output: Path, spec: str) -> None:
    """Until the end, the folder says that it is no model."""
    for name in (spec, REPORT_FILE):
        (output / name).unlink(missing_ok=True)
    output.mkdir(parents=True, exist_ok=True)


def remembered(
    path: Path,
    shape: tuple[int, ...],
    batches: Sequence[NDArray[np.int64]],
    compute: Callable[[NDArray[np.int64]], NDArray[np.float32]],
    workers: int,
    report: Report = ignore,
) -> NDArray[np.float32]:
    """An array of this shape whose rows `compute` gives for their places, kept in `path`: no row is computed twice.

    `batches` are the places to ask for at once, on so many threads. A run that was cut off leaves the rows it had.
    """
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        np.lib.format.open_memmap(part, "w+", np.float32, shape)[:] = np.nan
        part.replace(path)
    values = np.load(path, mmap_mode="r+")
    missing = [places for places in batches if np.isnan(values[places]).any()]
    done = shape[0] - sum(map(len, missing))
    with ThreadPoolExecutor(workers, thread_name_prefix="teacher") as pool:
        for places, rows in zip(missing, pool.map(compute, missing), strict=True):
            values[places] = rows
            done += len(places)
            report(done, shape[0])
    return values


def forget(output: Path) -> None:
    """Removes what the teacher said, once the student has learned it."""
    shutil.rmtree(output / TEACHER, ignore_errors=True)
