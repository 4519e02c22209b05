"""Fine-tunes the cross-encoder on graded pairs, by sentence-transformers' trainer.

Where the towers' similarity is at hand, a product's score is made of both, by weights fitted on validation judgments: a
cross-encoder that saw a few thousand judgments knows other things than the towers, but not yet more.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
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
from ranker.train.export import export_model, load_ranker, write_spec
from ranker.train.losses import make_loss, rows_per_batch
from ranker.train.mix import Lists, mix_report
from ranker.train.settings import Method, RankerTraining
from ranker.train.validation import Finding, Validation, calibration_report, no_similarity, reliability_report
from training.averaging import Anchor
from training.card import keep_card
from training.export import CHECKPOINT, base_name, quiet_libraries
from training.layers import keep_layers, kept_layers
from training.loop import (
    REPORT_FILE,
    Judged,
    PairValues,
    TrainingSettings,
    autocast,
    evaluator,
    judged,
    report_of_first,
    run_trainer,
    torch_threads,
    total_steps,
    trainer_arguments,
    validation_sample,
    write_report,
)
from training.processes import is_main_process

PARITY_PAIRS = 512


def train_ranker(
    texts: Mapping[str, str],
    judgments: pa.Table,
    output: Path,
    settings: RankerTraining,
    similarity: PairValues = no_similarity,
    report: Report = ignore,
    language: str | None = None,
    negatives: Mapping[str, Sequence[str]] = MappingProxyType({}),
    soft: PairValues | None = None,
    found: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> dict[str, Any]:
    """Fine-tunes, keeps the best checkpoint by validation, and exports it, calibrated, to `output` as a cross-encoder.

    `texts` are product texts by id; `judgments` is a table of `JUDGMENTS_SCHEMA`. The label of a pair is
    its grade's place in the range of grades. `similarity` is the towers' cosine of pairs; `negatives` are products by
    query that retrieval found, and `soft` how likely they are good after all (see `training_labels`). `found` are those
    that it finds first for queries to validate on, where the judged ones have to come before them. `language` is the
    shop's (BCP 47). Returns what `report.json` says. Raises ModelError when there is nothing to learn from or the base
    is no encoder.
    """
    began = time.monotonic()
    train, valid = judged(judgments, texts, "train"), judged(judgments, texts, "valid")
    validation = Validation.of(validation_sample(valid, settings), texts, similarity)
    model = _start(settings)
    if is_main_process():
        for name in (SPEC_FILE, REPORT_FILE):
            (output / name).unlink(missing_ok=True)  # until the end, the folder says it is no cross-encoder
        output.mkdir(parents=True, exist_ok=True)
    labels = training_labels(train, texts, settings, negatives, soft)
    examples = training_pairs(labels, texts) if settings.loss == "bce" else training_lists(labels, texts, settings)
    with quiet_libraries(), torch_threads(settings.threads):
        finding = Finding.of(validation, valid.queries, texts, similarity, found)
        anchor = Anchor(lambda: _start(settings.kept), settings.keep)
        score = anchor.scored(lambda current: finding.ndcg(logits_of(current, finding.pairs)))
        trainer = _trainer(model, examples, evaluator(score, finding.judged.grades), output, settings)
        curve = run_trainer(trainer, settings, report, finding.others or None)
        if not is_main_process():
            return report_of_first(output)
        if curve.best[0] == 0:
            trained, model = model, _start(settings)  # nothing was better
            keep_card(trained, model)
        anchor.average(model)
        model.save_pretrained(str(output / CHECKPOINT), create_model_card=False)
        limits = {"max_query_tokens": settings.query_tokens}
        parity = export_model(model, base_name(settings.base), output, validation.pairs[:PARITY_PAIRS], limits)
    data = {"train_queries": len(train.queries), "train_judgments": train.pairs, "examples": len(examples)}
    data["pairs"] = sum(map(len, labels.values()))
    data |= {"valid_queries": len(validation.grades), "valid_judgments": len(validation.pairs)}
    data["valid_unjudged"] = len(finding.others)
    parts: dict[str, Any] = {"data": data, "parity": parity}
    others = unfit(valid, validation, texts, similarity, settings)
    lists = Lists.of(valid, found, texts, similarity, settings.seed)
    parts |= calibrate_export(output, validation, others, settings.calibration, lists)
    parts |= {"seconds": round(time.monotonic() - began, 1)}
    return write_report(output, settings, curve, parts, model, language)


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
    model.max_length = settings.query_tokens + settings.product_tokens
    by_rows = settings.model_copy(update={"batch_size": rows_per_batch(settings)})
    steps = total_steps(len(examples), by_rows)
    return CrossEncoderTrainer(
        model=model,
        args=CrossEncoderTrainingArguments(**trainer_arguments(by_rows, output, steps)),
        train_dataset=examples,
        loss=make_loss(model, settings),
        evaluator=validation,
    )


def logits_of(model: CrossEncoder, pairs: list[tuple[str, str]]) -> NDArray[np.float32]:
    with autocast():
        options = {"batch_size": 64, "show_progress_bar": False, "convert_to_tensor": True}
        return model.predict(pairs, activation_fn=nn.Identity(), **options).float().cpu().numpy()


def unfit(
    valid: Judged, validation: Validation, texts: Mapping[str, str], similarity: PairValues, settings: TrainingSettings
) -> list[Validation]:
    """The pools in which nothing fits, beside those of the validation; none where there are none to be had."""
    pools = unfit_pools(valid, validation.grades, settings)
    return [Validation.of(pools, texts, similarity)] if pools else []


def calibrate_export(
    folder: Path,
    validation: Validation,
    others: list[Validation],
    method: Method,
    lists: Lists,
    unmeasured: float = UNMEASURED,
) -> dict[str, Any]:
    """Fits the exported model's own logits to the validation pairs, writes that into its spec, and reports on it.

    So too what it may say of the `lists` that retrieval finds; `unmeasured` is that where there are too few.
    """
    ranker = Ranker.open(folder)
    sides = [(side, _exported_logits(ranker, side.pairs)) for side in (validation, *others)]
    logits = sides[0][1]
    found = validation.calibration(logits, method)
    cutoff = cutoff_report(found, sides)
    held_out = validation.held_out(logits, method)
    mix = mix_report(lists, found, _exported_logits(ranker, lists.pairs), unmeasured)
    chosen = found.as_spec() | {"cutoff": cutoff["value"] if cutoff else None, "mix": mix["share"]}
    write_spec(folder, ranker.spec.model_copy(update=chosen))
    return {
        "calibration": found.as_spec() | {"method": method, "held_out": calibration_report(validation, logits)},
        "reliability": reliability_report(held_out) if held_out else None,
        "cutoff": cutoff,
        "mix": mix,
    }


def _exported_logits(ranker: Ranker, pairs: list[tuple[str, str]]) -> NDArray[np.float32]:
    model = OnnxModel(ranker.model_path)
    return np.array([model.run([tokens], [segments])[0] for tokens, segments in ranker.pack_pairs(pairs)], np.float32)
