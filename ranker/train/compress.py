"""Makes a smaller cross-encoder from a trained one: pruned, then distilled to reproduce the teacher's scores."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import expit
from sentence_transformers import CrossEncoder, CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss, MarginMSELoss, MSELoss

from core.cores import available_cores
from core.digest import value_digest
from core.errors import ModelError
from core.progress import Report, ignore
from engine.onnx.session import OnnxModel, length_batches
from ranker.ranker import SPEC_FILE, Ranker
from ranker.train.export import load_ranker, write_model
from ranker.train.finetune import PARITY_PAIRS, check_export, predict_logits
from ranker.train.settings import Method
from ranker.train.validation import RankingValidation, Validation, no_similarity
from training.compress import (
    TEACHER,
    Distillation,
    compute_once,
    cut,
    remove_teacher_outputs,
    some_batches,
    teacher_checkpoint,
    untrained_curve,
)
from training.examples import Examples, sample_validation
from training.export import CHECKPOINT, longest_input, quiet_libraries
from training.loop import evaluator, run_trainer, torch_threads, total_steps, trainer_arguments
from training.stages import CheckedModel, ExportedModel, FittedModel, ModelStages, Task, best_of, clear_output, train
from training.vocabulary import trim_vocabulary

Pairs = Sequence[tuple[str, str]]

_NO_TEXTS: Mapping[str, str] = {}
_LOSSES = {"mse": MSELoss, "margin": MarginMSELoss, "bce": BinaryCrossEntropyLoss}


class RankerDistillation(Distillation):
    """How to compress the cross-encoder."""

    loss: Literal["mse", "margin", "bce"] = Field(
        default="mse",
        description=(
            "Difference to the teacher that is reduced: of logits (mse), of the margin between two products "
            "of a query (margin), or of probabilities (bce)."
        ),
    )


@dataclass(frozen=True)
class DistillationPairs:
    """Queries and product texts, judged or not, that a student learns its teacher's logits of.

    `teacher` is a folder that training left; `examples` have the queries to validate on.
    """

    examples: Examples
    teacher: Path
    pairs: Pairs


_Task = Task[DistillationPairs, RankerDistillation]
_Fitted = FittedModel[DistillationPairs, RankerDistillation, CrossEncoder, RankingValidation]
_Exported = ExportedModel[DistillationPairs, RankerDistillation, CrossEncoder, RankingValidation, Ranker]


def distil_ranker(
    pairs: DistillationPairs, output: Path, settings: RankerDistillation, report: Report = ignore
) -> dict[str, Any]:
    """Cuts the teacher, trains the rest on the teacher's logits of the pairs, and exports it to `output`.

    Validation and report are those of `train_ranker`. Losses: mean squared error of the logits or of their differences
    (Hofstätter et al. 2020, arXiv 2010.02666), or binary cross-entropy with the teacher's probabilities. Returns the
    content of `report.json`. Raises ModelError for a folder without checkpoint, or when there are no pairs.
    """
    return train(DISTILLATION, Task(pairs, settings, output), report)


def fit(task: _Task, report: Report) -> _Fitted:
    """Trains the student; returns it with the best weights. Raises ModelError."""
    examples, pairs, settings = task.examples.examples, task.examples.pairs, task.settings
    checkpoint, teacher = teacher_checkpoint(task.examples.teacher, task.output), Ranker.open(task.examples.teacher)
    judged = Validation.from_grades(
        sample_validation(examples.valid, settings), examples.texts, examples.similarity or no_similarity
    )
    validation = RankingValidation.from_examples(judged, examples)
    model = build_student(checkpoint, settings, pairs, examples.texts)
    clear_output(task.output, SPEC_FILE)
    if settings.epochs:
        logits = compute_teacher_logits(teacher, pairs, task.output, settings.threads)
        rows = distillation_examples(pairs, logits, settings)
        curve = run_trainer(
            _trainer(model, rows, validation, task.output, settings), settings, report, validation.others or None
        )
        model = best_of(model, curve, lambda: build_student(checkpoint, settings, pairs, examples.texts))
    else:
        curve = untrained_curve(model, validation.ndcg(predict_logits(model, validation.pairs)))
    return FittedModel(task, model, curve, validation, {"pairs": len(pairs)} | validation.counts)


def export(fitted: _Fitted) -> _Exported:
    """Writes the fp32 checkpoint and the int8 student, with the teacher's token limits."""
    task, teacher = fitted.task, Ranker.open(fitted.task.examples.teacher)
    fitted.model.save_pretrained(str(task.output / CHECKPOINT), create_model_card=False)
    limits = {name: getattr(teacher.spec, name) for name in ("max_query_tokens", "max_product_tokens")}
    pairs = fitted.validation.judged.pairs[:PARITY_PAIRS]
    write_model(fitted.model, teacher.spec.base, task.output, pairs, limits)
    return ExportedModel(fitted, Ranker.open(task.output))


def check(exported: _Exported) -> CheckedModel:
    """Compares int8 with the original, and calibrates it as the teacher is. Raises ModelError."""
    task = exported.fitted.task
    examples, teacher = task.examples.examples, Ranker.open(task.examples.teacher)
    method: Method = "isotonic" if teacher.spec.knots else "platt"
    measures = check_export(exported, examples, method, 0, teacher.spec.mix)
    remove_teacher_outputs(task.output)
    return CheckedModel(exported.fitted, measures | {"teacher": teacher.digest}, examples.language)


DISTILLATION = ModelStages(fit, export, check)


def build_student(
    checkpoint: Path, settings: RankerDistillation, pairs: Pairs, texts: Mapping[str, str] = _NO_TEXTS
) -> CrossEncoder:
    """The untrained student: the teacher's checkpoint, or `settings.base`, pruned as the settings specify.

    Neurons are chosen on some of the `pairs`; a trimmed vocabulary is that of all of them and of `texts`.
    """
    model = load_ranker(settings.base or str(checkpoint), settings.seed)
    with quiet_libraries(), torch_threads(settings.threads):
        some = some_batches(pairs, settings.seed)
        cut(model.model, settings, lambda batch: model(model.preprocess(batch))["scores"], some)
        if settings.trim_vocabulary:
            trim_vocabulary(model[0], itertools.chain(texts.values(), *zip(*pairs, strict=True)))
            for head in model:
                if getattr(head, "separator", None) is not None:  # it refers to the token by its id, which has changed
                    head.separator = model.tokenizer.sep_token_id
    return model


def compute_teacher_logits(
    teacher: Ranker, pairs: Pairs, output: Path, threads: int | None = None, report: Report = ignore
) -> NDArray[np.float32]:
    """The exported teacher's logit of each pair, shape (n,), kept below `output` until the student is done.

    Raises ModelError when there are no pairs.
    """
    if not pairs:
        raise ModelError("no pair of query and product to learn from; give some")
    tokens, segments = zip(*teacher.pack_pairs(pairs), strict=True)
    model = OnnxModel(teacher.model_path)

    def compute(places: NDArray[np.int64]) -> NDArray[np.float32]:
        return model.run([tokens[place] for place in places], [segments[place] for place in places])

    lengths = list(map(len, tokens))
    path = output / TEACHER / f"{value_digest([teacher.digest, list(pairs)])}.npy"
    workers = threads or available_cores()
    return compute_once(path, (len(pairs),), length_batches(lengths), compute, workers, report)


def distillation_examples(pairs: Pairs, logits: NDArray[np.float32], settings: RankerDistillation) -> Dataset:
    """Rows of query, product and the teacher's label, or of query, two products and both labels for loss `margin`."""
    if settings.loss == "margin":
        return _margins(pairs, logits, settings.seed)
    labels = expit(logits) if settings.loss == "bce" else np.asarray(logits)
    queries, products = (list(column) for column in zip(*pairs, strict=True))
    return Dataset.from_dict({"query": queries, "product": products, "label": labels})


def _margins(pairs: Pairs, logits: NDArray[np.float32], seed: int) -> Dataset:
    """Each query's products two by two in random order; of an odd number, the last goes with the first."""
    random = np.random.default_rng(seed)
    groups: dict[str, list[int]] = {}
    for place, (query, _) in enumerate(pairs):
        groups.setdefault(query, []).append(place)
    rows: list[tuple[str, str, str, list[float]]] = []
    for query, places in groups.items():
        order = random.permutation(places)
        for first, second in zip(order[::2], [*order[1::2], *order[: len(order) % 2]], strict=True):
            if first != second:
                rows.append((query, pairs[first][1], pairs[second][1], [float(logits[first]), float(logits[second])]))
    if not rows:
        raise ModelError("no query has two products; give more pairs, or choose another loss than margin")
    names = ("query", "first", "second", "label")
    return Dataset.from_dict(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))


def _trainer(
    model: CrossEncoder, rows: Dataset, validation: RankingValidation, output: Path, settings: RankerDistillation
) -> CrossEncoderTrainer:
    def score(current: CrossEncoder) -> float:
        return validation.ndcg(predict_logits(current, validation.pairs))

    model.max_length = min(settings.query_tokens + settings.product_tokens, longest_input(model))
    arguments = trainer_arguments(settings, output, total_steps(len(rows), settings))
    return CrossEncoderTrainer(
        model=model,
        args=CrossEncoderTrainingArguments(**arguments),
        train_dataset=rows,
        loss=_LOSSES[settings.loss](model),
        evaluator=evaluator(score, validation.judged.grades),
    )
