"""What fine-tuning a tower and a cross-encoder have in common. torch and transformers are imported when called."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.cores import available_cores
from core.errors import ModelError
from core.progress import Report
from evaluation.measures import Grades
from training import processes
from training.adapters import add_adapters, freeze_embeddings, freeze_unused, merge_adapters, set_dropout
from training.checkpoints import last_checkpoint, remove_checkpoints
from training.grouping import grouped_by_length
from training.settings import TrainingSettings

if TYPE_CHECKING:
    from transformers import Trainer, TrainerCallback

METRIC = "ndcg@10"


@dataclass(slots=True)
class Curve:
    """Validation scores by step, and the mean loss of the steps before each."""

    scores: list[tuple[int, float]] = field(default_factory=list)
    losses: list[tuple[int, float]] = field(default_factory=list)

    @classmethod
    def from_history(cls, history: Sequence[Mapping[str, Any]]) -> "Curve":
        """From a trainer's log, which reaches back beyond an interruption."""
        scores = [(entry["step"], entry[f"eval_{METRIC}"]) for entry in history if f"eval_{METRIC}" in entry]
        return cls(scores, [(entry["step"], entry["loss"]) for entry in history if "loss" in entry])

    @property
    def best(self) -> tuple[int, float]:
        """The earliest step with the highest score."""
        return max(self.scores, key=lambda entry: (entry[1], -entry[0]))


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
    """Sets the number of torch threads inside the block; None means one per core."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or max(1, available_cores() // processes.count_here()))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run_trainer(trainer: "Trainer", settings: TrainingSettings, report: Report, further: Any = None) -> Curve:
    """Trains to the end or to the early stop, and leaves the best weights in the trainer's model.

    A run that was cut off goes on from its last checkpoint, to the same result, if settings and examples are the same,
    and so is `further`, a JSON value of what else the loss goes by. Raises ModelError for `max_seconds` and several
    processes, whose clocks would stop at different steps.
    """
    from transformers import EarlyStoppingCallback, PrinterCallback

    if settings.max_seconds is not None and processes.count() > 1:
        raise ModelError("max_seconds is for one process; bound several by max_steps")

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
    if settings.max_seconds is not None:
        trainer.add_callback(_time_limit(settings.max_seconds))
    scratch = Path(trainer.args.output_dir)
    last = last_checkpoint(scratch, settings.model_dump(), trainer.train_dataset, further)
    trainer.args.eval_on_start = last is None  # that validation is among what the checkpoint holds
    with grouped_by_length(trainer.model):
        trainer.train(resume_from_checkpoint=str(last) if last else None)
    remove_checkpoints(scratch)
    merge_adapters(adapters)
    trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)  # its bf16 wrapper would be exported
    trainer.model.to("cpu")  # where models are exported and compared with what was
    return Curve.from_history(trainer.state.log_history)


def evaluator(score: Callable[[Any], float], grades: Grades) -> Any:
    """The trainers' evaluator: reports `score` of the model on the judged queries `grades` as their metric."""
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
    """The device that training runs on."""
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


def _time_limit(seconds: float) -> "TrainerCallback":
    """Ends training at the step after the time, with the validation that chooses the best checkpoint."""
    from transformers import TrainerCallback

    end = time.monotonic() + seconds

    class TimeLimit(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if time.monotonic() >= end:
                control.should_evaluate = control.should_save = control.should_training_stop = True

    return TimeLimit()
