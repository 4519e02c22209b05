"""What fine-tuning a tower and a cross-encoder have in common. torch and transformers are imported when called."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from core.errors import ModelError
from core.progress import Report
from evaluation.measures import Grades
from training import processes
from training.adapters import add_adapters, freeze_embeddings, freeze_unused, merge_adapters, set_dropout
from training.card import write_card
from training.checkpoints import last_checkpoint, remove_checkpoints
from training.export import CHECKPOINT
from training.grouping import grouped_by_length

if TYPE_CHECKING:
    from sentence_transformers.base.model import BaseModel as Model
    from transformers import Trainer, TrainerCallback

# What is known, or said, of n queries and n product texts, pair by pair: shape (n,).
PairValues = Callable[[Sequence[str], Sequence[str]], NDArray[np.float32]]

METRIC = "ndcg@10"
REPORT_FILE = "report.json"

# Of the grades' range: from here up a product answers its query, and down to there it does not.
GOOD, POOR = 0.5, 0.34

# Of what retrieval finds for a query, so many of the first are validated beside its judged products.
BESIDE = 20


class TrainingSettings(BaseModel):
    """The knobs that both trainings have. Lengths are in tokens; `threads` None means one a core.

    Under torchrun, `batch_size` and `threads` are those of each process: a step takes as many batches as there are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    base: str | None = Field(
        default=None,
        description=(
            "Folder or hub id of the model to start from; none: the bundled MiniLM, or to compress the teacher itself."
        ),
    )
    epochs: float = Field(default=1.0, gt=0, description="Passes over the examples.")
    max_steps: int | None = Field(
        default=None, ge=1, description="Steps after which training stops, if the epochs have more."
    )
    batch_size: int = Field(default=32, ge=2, description="Examples of a step, in each process.")
    learning_rate: float = Field(default=5e-5, gt=0, description="Highest learning rate.")
    warmup: float = Field(
        default=0.1, ge=0, le=1, description="Share of the steps over which the learning rate rises from 0."
    )
    weight_decay: float = Field(default=0.0, ge=0, description="Weight decay of AdamW.")
    dropout: float | None = Field(
        default=None, ge=0, lt=1, description="Dropout while training; none: the base model's."
    )
    freeze_embeddings: bool = Field(default=False, description="Leave the base model's token embeddings unchanged.")
    lora: int | None = Field(
        default=None,
        ge=1,
        description=(
            "Rank of low-rank adapters that are trained in place of the weights; none: the weights are trained."
        ),
    )
    lora_alpha: float = Field(
        default=16.0, gt=0, description="An adapter's output is multiplied by this, divided by the rank."
    )
    lora_dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout before an adapter.")
    query_tokens: int = Field(default=32, ge=3, description="Tokens after which a query is cut.")
    product_tokens: int = Field(
        default=48, ge=8, description="Tokens after which a product text is cut while training."
    )
    evaluations: int = Field(default=4, ge=1, description="Validations, evenly spaced over the steps.")
    patience: int = Field(default=2, ge=1, description="Validations without a gain after which training stops.")
    validation_pairs: int = Field(default=1500, ge=1, description="Judged pairs to validate on.")
    validation_products: int = Field(
        default=12, ge=2, description="Judged products of a query to validate on, in even shares of each grade."
    )
    seed: int = Field(default=0, description="Seed of all random choices.")
    threads: int | None = Field(default=None, ge=1, description="Threads of each process; none: one for each core.")


class FineTuning(TrainingSettings):
    """What only trainings on judgments have: their base is a model of the same shape."""

    keep: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description=(
            "Share of the base's weights in the mean that is validated and exported; the trained weights have the rest."
        ),
    )
    keep_of: str | None = Field(
        default=None, description="Folder or hub id of the model whose weights are kept; none: the base."
    )

    @model_validator(mode="after")
    def _whole_weights(self) -> "FineTuning":
        if self.keep and self.lora:
            raise ValueError("keep averages weights, and lora trains none; leave one of them out")
        return self

    @property
    def kept(self) -> Self:
        """The same with the model whose weights are kept for a base."""
        return self.model_copy(update={"base": self.keep_of or self.base})


@dataclass(frozen=True, slots=True)
class Judged:
    """Judgments of one split: query -> product -> relevance from 0 to 1, by the range of grades in the whole set."""

    split: str
    queries: dict[str, dict[str, float]]

    @property
    def pairs(self) -> int:
        """How many judgments there are."""
        return sum(map(len, self.queries.values()))


@dataclass(slots=True)
class Curve:
    """Validation scores by step, and the mean loss of the steps before each."""

    scores: list[tuple[int, float]] = field(default_factory=list)
    losses: list[tuple[int, float]] = field(default_factory=list)

    @classmethod
    def of(cls, history: Sequence[Mapping[str, Any]]) -> "Curve":
        """From a trainer's log, which reaches back beyond an interruption."""
        scores = [(entry["step"], entry[f"eval_{METRIC}"]) for entry in history if f"eval_{METRIC}" in entry]
        return cls(scores, [(entry["step"], entry["loss"]) for entry in history if "loss" in entry])

    @property
    def best(self) -> tuple[int, float]:
        """The earliest step with the highest score."""
        return max(self.scores, key=lambda entry: (entry[1], -entry[0]))


def judged(judgments: pa.Table, texts: Mapping[str, str], split: str) -> Judged:
    """The judgments of a split whose products have a text. Raises ModelError when nothing is left."""
    grades = judgments["grade"].to_numpy()
    low, high = float(grades.min()), float(grades.max())
    queries: dict[str, dict[str, float]] = {}
    columns = (judgments[name].to_pylist() for name in ("query", "product_id", "grade", "split"))
    for query, product, grade, part in zip(*columns, strict=True):
        if part == split and product in texts:
            queries.setdefault(query, {})[product] = (grade - low) / max(high - low, 1e-9)
    if not queries:
        raise ModelError(f"no judgment of split {split!r} is about a product of the catalog; give some to learn from")
    return Judged(split, queries)


def spread(products: Mapping[str, float], count: int, random: np.random.Generator) -> list[str]:
    """At most `count` products, taken from each grade in turn, at random within a grade."""
    names = list(products)
    grades: dict[float, list[str]] = {}
    for place in random.permutation(len(names)):
        grades.setdefault(products[names[place]], []).append(names[place])
    turns = [(turn, grade, name) for grade, entries in grades.items() for turn, name in enumerate(entries)]
    turns.sort(key=lambda entry: (entry[0], -entry[1]))
    return [name for _, _, name in turns[:count]]


def validation_sample(judged: Judged, settings: TrainingSettings) -> Grades:
    """Queries with something to rank, drawn until their judgments reach `validation_pairs`.

    Many queries with a few products of every grade tell more than few queries with all of theirs.
    """
    useful = [query for query, products in judged.queries.items() if max(products.values()) > min(products.values())]
    if not useful:
        raise ModelError(f"split {judged.split!r} has no query with two different grades; give some to validate on")
    chosen: dict[str, Mapping[str, float]] = {}
    total = 0
    random = np.random.default_rng(settings.seed)
    for place in random.permutation(len(useful)):
        graded = judged.queries[useful[place]]
        products = {name: graded[name] for name in spread(graded, settings.validation_products, random)}
        if chosen and total + len(products) > settings.validation_pairs:
            break
        chosen[useful[place]] = products
        total += len(products)
    return chosen


def total_steps(examples: int, settings: TrainingSettings) -> int:
    """Optimiser steps of the whole run. Raises ModelError when several processes have not a whole batch each."""
    together = settings.batch_size * processes.count()
    if processes.count() > 1 and examples < together:
        raise ModelError(
            f"{examples:,} examples are no batch of {settings.batch_size} for each of {processes.count()} processes; "
            "give fewer processes or a smaller batch_size"
        )
    steps = max(1, round(examples / together * settings.epochs))
    return min(steps, settings.max_steps or steps)


def trainer_arguments(settings: TrainingSettings, output: Path, steps: int) -> dict[str, Any]:
    """Arguments of sentence-transformers' trainers: the best checkpoint by validation is kept, nothing is sent away."""
    every = max(1, -(-steps // settings.evaluations))
    return {
        "output_dir": str(output / "scratch"),
        "max_steps": steps,
        "per_device_train_batch_size": settings.batch_size,
        "learning_rate": settings.learning_rate,
        "warmup_steps": round(steps * settings.warmup),
        "weight_decay": settings.weight_decay,
        "eval_strategy": "steps",
        "eval_steps": every,
        "save_strategy": "steps",
        "save_steps": every,
        "save_total_limit": 1,
        "restore_callback_states_from_checkpoint": True,  # early stopping counts on where it was
        "load_best_model_at_end": True,
        "metric_for_best_model": f"eval_{METRIC}",
        "greater_is_better": True,
        "eval_on_start": True,
        "logging_steps": max(1, every // 4),
        "seed": settings.seed,
        "data_seed": settings.seed,
        "bf16": _fast_bf16(),
        "use_cpu": device() == "cpu",
        "disable_tqdm": True,
        "report_to": "none",
        "dataloader_num_workers": 0,
        "ddp_find_unused_parameters": False,  # see `freeze_unused`
        "dataloader_drop_last": processes.count() > 1,  # every process needs as many batches, and all of one size
    }


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """So many threads inside; None means one a core."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or max(1, len(os.sched_getaffinity(0)) // processes.count_here()))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run_trainer(trainer: "Trainer", settings: TrainingSettings, report: Report, further: Any = None) -> Curve:
    """Trains to the end or to the early stop, and leaves the best weights in the trainer's model.

    A run that was cut off goes on from its last checkpoint, to the same result, if settings and examples are the same,
    and so is `further`, a JSON value of what else the loss goes by.
    """
    from transformers import EarlyStoppingCallback, PrinterCallback

    if settings.dropout is not None:
        set_dropout(trainer.model, settings.dropout)
    if settings.freeze_embeddings:
        freeze_embeddings(trainer.model)
    # After the trainer was made, which sets the seed: adapters begin the same each time.
    lora = settings.lora
    adapters = add_adapters(trainer, lora, settings.lora_alpha, settings.lora_dropout) if lora else []
    if processes.count() > 1:
        freeze_unused(trainer)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(EarlyStoppingCallback(settings.patience))
    trainer.add_callback(_reporter(report))
    scratch = Path(trainer.args.output_dir)
    last = last_checkpoint(scratch, settings.model_dump(), trainer.train_dataset, further)
    trainer.args.eval_on_start = last is None  # that validation is among what the checkpoint holds
    with grouped_by_length(trainer.model):
        trainer.train(resume_from_checkpoint=str(last) if last else None)
    remove_checkpoints(scratch)
    merge_adapters(adapters)
    trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)  # its bf16 wrapper would be exported
    trainer.model.to("cpu")  # where models are exported and compared with what was
    return Curve.of(trainer.state.log_history)


def write_report(
    output: Path,
    settings: TrainingSettings,
    curve: Curve,
    parts: dict[str, Any],
    model: "Model",
    language: str | None,
) -> dict[str, Any]:
    """Writes the checkpoint's card and, last of all, `report.json`: where it is, the folder is whole.

    `language` is the shop's (BCP 47), for the card. Returns what the report says.
    """
    step, score = curve.best
    report = {
        **parts,
        "settings": settings.model_dump(),
        "validation": [{"step": at, METRIC: value} for at, value in curve.scores],
        "loss": [{"step": at, "loss": value} for at, value in curve.losses],
        "start": curve.scores[0][1],
        "best_step": step,
        "best": score,
    }
    scores = {METRIC: score, f"{METRIC} before training": report["start"]}
    write_card(model, output / CHECKPOINT, scores, language)
    (output / REPORT_FILE).write_text(json.dumps(report, indent=2) + "\n")
    return report_of_first(output)


def report_of_first(output: Path) -> dict[str, Any]:
    """What `report.json` says, once the process that writes it has."""
    processes.barrier()
    report: dict[str, Any] = json.loads((output / REPORT_FILE).read_text())
    return report


def evaluator(score: Callable[[Any], float], grades: Grades) -> Any:
    """What the trainers call to validate: gives `score` of the model on the judged queries `grades` as their metric."""
    from sentence_transformers.sentence_transformer.evaluation import BaseEvaluator

    class Validation(BaseEvaluator):
        def __init__(self) -> None:
            super().__init__()
            self.primary_metric = METRIC

        @property
        def description(self) -> str:
            return "Validation queries"

        def get_config_dict(self) -> dict[str, Any]:
            return {"split": "valid", "queries": len(grades), "judgments": sum(map(len, grades.values()))}

        def __call__(self, model: Any, output_path: Any = None, epoch: int = 0, steps: int = 0) -> dict[str, float]:
            metrics = {METRIC: score(model)}
            self.store_metrics_in_model_card_data(model, metrics, epoch, steps)
            return metrics

    return Validation()


def autocast() -> Any:
    """bf16 arithmetic where the hardware has it, else none; for validation, as the trainer does for training.

    Not where processes share a validation: the library runs the others' part outside of this.
    """
    import torch

    return torch.autocast(device(), torch.bfloat16, enabled=_fast_bf16() and processes.count() == 1)


def device() -> str:
    """Where training computes."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _fast_bf16() -> bool:
    import torch

    if device() == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported())


def _reporter(report: Report) -> "TrainerCallback":
    from transformers import TrainerCallback

    class Reporter(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            report(state.global_step, state.max_steps)

    return Reporter()
