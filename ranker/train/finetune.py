"""Fine-tunes the cross-encoder on graded pairs, by sentence-transformers' trainer.

Where the towers' similarity is at hand, a product's score is made of both, by weights fitted on validation judgments: a
cross-encoder trained on a few thousand judgments differs from the towers, but is not yet better.
"""

from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray
from sentence_transformers import CrossEncoder, CrossEncoderTrainer, CrossEncoderTrainingArguments
from torch import nn

from core.progress import Report, ignore
from engine.onnx.session import OnnxModel
from ranker.mix import UNMEASURED
from ranker.ranker import SPEC_FILE, Ranker
from ranker.train.cutoff import cutoff_report, unfit_pools
from ranker.train.examples import training_labels, training_lists, training_pairs
from ranker.train.export import check_parity, load_ranker, write_model, write_spec
from ranker.train.losses import make_loss, rows_per_batch
from ranker.train.mix import RetrievedLists, mix_report
from ranker.train.settings import Method, RankerTraining
from ranker.train.validation import (
    RankingValidation,
    Validation,
    calibration_report,
    no_similarity,
    reliability_report,
)
from training.averaging import Anchor
from training.examples import Examples, sample_validation
from training.export import CHECKPOINT, base_name, longest_input
from training.layers import keep_layers, kept_layers
from training.loop import autocast, evaluator, run_trainer, total_steps, trainer_arguments
from training.stages import CheckedModel, ExportedModel, FittedModel, ModelStages, Task, best_of, clear_output, train

PARITY_PAIRS = 512


_Task = Task[Examples, RankerTraining]
_Fitted = FittedModel[Examples, RankerTraining, CrossEncoder, RankingValidation]
_Exported = ExportedModel[Examples, RankerTraining, CrossEncoder, RankingValidation, Ranker]


def train_ranker(examples: Examples, output: Path, settings: RankerTraining, report: Report = ignore) -> dict[str, Any]:
    """Fine-tunes on the examples, and exports the best checkpoint by validation, calibrated, to `output`.

    The label of a pair is its grade's place in the range of grades. Returns the content of `report.json`. Raises
    ModelError when there is nothing to learn from or the base is no encoder.
    """
    return train(FINE_TUNING, Task(examples, settings, output), report)


def fit(task: _Task, report: Report) -> _Fitted:
    """Trains the base; returns the model with the best weights. Raises ModelError."""
    examples, settings = task.examples, task.settings
    similarity = examples.similarity or no_similarity
    judged = Validation.from_grades(sample_validation(examples.valid, settings), examples.texts, similarity)
    model = _start(settings)
    clear_output(task.output, SPEC_FILE)
    labels = training_labels(examples, settings)
    texts = examples.texts
    rows = training_pairs(labels, texts) if settings.loss == "bce" else training_lists(labels, texts, settings)
    validation = RankingValidation.from_examples(judged, examples)
    anchor = Anchor(lambda: _start(settings.averaged_with), settings.keep)
    score = anchor.scored(lambda current: validation.ndcg(predict_logits(current, validation.pairs)))
    trainer = _trainer(model, rows, evaluator(score, judged.grades), task.output, settings)
    curve = run_trainer(trainer, settings, report, validation.others or None)
    model = best_of(model, curve, lambda: _start(settings))
    anchor.average(model)
    counts = {"train_queries": len(examples.train.queries), "train_judgments": examples.train.pairs}
    counts |= {"examples": len(rows), "pairs": sum(map(len, labels.values()))}
    return FittedModel(task, model, curve, validation, counts | validation.counts)


def export(fitted: _Fitted) -> _Exported:
    """Writes the fp32 checkpoint and the int8 cross-encoder."""
    settings, output = fitted.task.settings, fitted.task.output
    fitted.model.save_pretrained(str(output / CHECKPOINT), create_model_card=False)
    limits = {"max_query_tokens": settings.query_tokens}
    pairs = fitted.validation.judged.pairs[:PARITY_PAIRS]
    write_model(fitted.model, base_name(settings.base), output, pairs, limits)
    return ExportedModel(fitted, Ranker.open(output))


def check(exported: _Exported) -> CheckedModel:
    """Compares int8 with the original, and calibrates it. Raises ModelError where it is too far from that."""
    task = exported.fitted.task
    measures = check_export(exported, task.examples, task.settings.calibration, task.settings.seed)
    return CheckedModel(exported.fitted, measures, task.examples.language)


FINE_TUNING = ModelStages(fit, export, check)


def _start(settings: RankerTraining) -> CrossEncoder:
    """The untrained cross-encoder, with as many layers as the settings keep of the base's."""
    model = load_ranker(settings.base, settings.seed, settings.head)
    total = model.config.num_hidden_layers
    if settings.layers is not None and settings.layers != total:
        keep_layers(model.model, kept_layers(total, settings.layers))
    return model


def _trainer(
    model: CrossEncoder,
    examples: Dataset,
    validation: Any,
    output: Path,
    settings: RankerTraining,
) -> CrossEncoderTrainer:
    model.max_length = min(settings.query_tokens + settings.product_tokens, longest_input(model))
    by_rows = settings.model_copy(update={"batch_size": rows_per_batch(settings)})
    steps = total_steps(len(examples), by_rows)
    return CrossEncoderTrainer(
        model=model,
        args=CrossEncoderTrainingArguments(**trainer_arguments(by_rows, output, steps)),
        train_dataset=examples,
        loss=make_loss(model, settings),
        evaluator=validation,
    )


def predict_logits(model: CrossEncoder, pairs: list[tuple[str, str]]) -> NDArray[np.float32]:
    with autocast():
        options = {"batch_size": 64, "show_progress_bar": False, "convert_to_tensor": True}
        return model.predict(pairs, activation_fn=nn.Identity(), **options).float().cpu().numpy()


def check_export(
    exported: ExportedModel[Any, Any, CrossEncoder, RankingValidation, Ranker],
    examples: Examples,
    method: Method,
    seed: int,
    unmeasured: float = UNMEASURED,
) -> dict[str, Any]:
    """Measures of the exported model for the report: parity, calibration, cutoff, and its share beside fusion.

    Fits the exported model's own logits to the validation pairs, and writes calibration, cutoff and share into its
    spec. The share is `unmeasured` where too few queries have retrieved products. Raises ModelError.
    """
    fitted, ranker = exported.fitted, exported.artifact
    validation = fitted.validation.judged
    parity = check_parity(fitted.model, ranker, validation.pairs[:PARITY_PAIRS])
    similarity = examples.similarity or no_similarity
    pools = unfit_pools(examples.valid, validation.grades, fitted.task.settings)
    unfit = [Validation.from_grades(pools, examples.texts, similarity)] if pools else []
    sides = [(side, _exported_logits(ranker, side.pairs)) for side in (validation, *unfit)]
    logits = sides[0][1]
    calibration = validation.calibration(logits, method)
    cutoff = cutoff_report(calibration, sides)
    held_out = validation.held_out(logits, method)
    lists = RetrievedLists.from_judged(examples.valid, examples.retrieved, examples.texts, similarity, seed)
    mix = mix_report(lists, calibration, _exported_logits(ranker, lists.pairs), unmeasured)
    chosen = calibration.as_spec() | {"cutoff": cutoff["value"] if cutoff else None, "mix": mix["share"]}
    write_spec(ranker.folder, ranker.spec.model_copy(update=chosen))
    return {
        "parity": parity,
        "calibration": calibration.as_spec() | {"method": method, "held_out": calibration_report(validation, logits)},
        "reliability": reliability_report(held_out) if held_out else None,
        "cutoff": cutoff,
        "mix": mix,
    }


def _exported_logits(ranker: Ranker, pairs: list[tuple[str, str]]) -> NDArray[np.float32]:
    model = OnnxModel(ranker.model_path)
    return np.array([model.run([tokens], [segments])[0] for tokens, segments in ranker.pack_pairs(pairs)], np.float32)
