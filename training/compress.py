"""Compression of a trained model, for towers and cross-encoders alike. torch is imported when called."""

import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from core.durable import FAILURES, allocate
from core.errors import ModelError
from core.progress import Report, ignore
from training.export import CHECKPOINT
from training.layers import keep_layers, kept_layers
from training.loop import Curve
from training.prune import prune_neurons
from training.settings import TrainingSettings

if TYPE_CHECKING:
    import torch
    from sentence_transformers.base.model import BaseModel as Model
    from transformers import PreTrainedModel

TEACHER = "teacher"

Batch = TypeVar("Batch")
Example = TypeVar("Example")


class Distillation(TrainingSettings):
    """The size of the student, and how it is distilled. With `base` None the teacher itself is pruned."""

    epochs: float = Field(
        default=1.0, ge=0, description="Passes over what the teacher scored; 0 cuts the model and trains nothing."
    )
    learning_rate: float = Field(default=1e-4, gt=0, description="Highest learning rate.")
    layers: int | None = Field(default=None, ge=1, description="Transformer layers to keep; none: all.")
    ffn_share: float = Field(default=1.0, gt=0, le=1, description="Share of the feed-forward neurons to keep.")
    trim_vocabulary: bool = Field(
        default=False, description="Keep only the tokens of the catalog and of the train queries."
    )


def cut(
    encoder: "PreTrainedModel",
    settings: Distillation,
    run: "Callable[[Batch], torch.Tensor]",
    batches: Iterable[Batch],
) -> None:
    """Removes the neurons and layers that the settings do not keep; see `prune_neurons` for the rest."""
    if settings.ffn_share < 1:
        prune_neurons(encoder, settings.ffn_share, run, batches)  # first, while the answers are still the teacher's
    if settings.layers is not None:
        keep_layers(encoder, kept_layers(encoder.config.num_hidden_layers, settings.layers))


def some_batches(examples: Sequence[Example], seed: int, count: int = 512, size: int = 32) -> list[list[Example]]:
    """Batches of examples sampled for `cut`: a neuron's importance is the same on a few hundred as on all."""
    places = np.random.default_rng(seed).permutation(len(examples))[:count]
    return [[examples[place] for place in places[start : start + size]] for start in range(0, len(places), size)]


def teacher_checkpoint(teacher: Path, output: Path) -> Path:
    """The fp32 weights beside an exported model. Raises ModelError when it has none, or would be written over."""
    if output.resolve() == teacher.resolve():
        raise ModelError(f"{output}: is the model to compress; choose another folder for the output")
    if not (teacher / CHECKPOINT).is_dir():
        raise ModelError(f"{teacher}: has no {CHECKPOINT}; give a folder that `tandem train` left")
    return teacher / CHECKPOINT


def compute_once(
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
        try:
            values = np.lib.format.open_memmap(part, "w+", np.float32, shape)
            allocate(part)
        except FAILURES:
            part.unlink(missing_ok=True)
            raise
        values[:] = np.nan
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


def untrained_curve(model: "Model", score: float) -> Curve:
    """The curve of a student that is pruned and not trained; its model card lists no training data."""
    model.model_card_data.train_datasets = []
    return Curve([(0, score)])


def remove_teacher_outputs(output: Path) -> None:
    """Removes the teacher's cached outputs, once the student is trained."""
    shutil.rmtree(output / TEACHER, ignore_errors=True)
