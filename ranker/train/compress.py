"""Makes a smaller cross-encoder of a trained one: cut, then taught to answer as the whole one did."""

import itertools
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from datasets import Dataset
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import expit
from sentence_transformers import CrossEncoder, CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss, MarginMSELoss, MSELoss

from core.digest import value_digest
from core.errors import ModelError
from core.progress import Report, ignore
from engine.onnx.session import OnnxModel, length_batches
from ranker.ranker import SPEC_FILE, Ranker
from ranker.train.export import export_model, load_ranker
from ranker.train.finetune import PARITY_PAIRS, calibrate_export, logits_of, unfit
from ranker.train.mix import Lists
from ranker.train.settings import Method
from ranker.train.validation import Finding, Validation, no_similarity
from training.card import keep_card
from training.compress import (
    TEACHER,
    Distillation,
    clear_output,
    cut,
    forget,
    remembered,
    some_batches,
    teacher_checkpoint,
    untaught,
)
from training.export import CHECKPOINT, quiet_libraries
from training.loop import (
    PairValues,
    evaluator,
    judged,
    run_trainer,
    torch_threads,
    total_steps,
    trainer_arguments,
    validation_sample,
    write_report,
)
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


def distil_ranker(
    teacher: Path,
    pairs: Pairs,
    texts: Mapping[str, str],
    judgments: pa.Table,
    output: Path,
    settings: RankerDistillation,
    similarity: PairValues = no_similarity,
    report: Report = ignore,
    language: str | None = None,
    found: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> dict[str, Any]:
    """Cuts the cross-encoder that `teacher` holds, teaches it the teacher's logits, and exports it to `output`.

    `teacher` is a folder that training left; `pairs` are queries and product texts, judged or not. Validation, on the
    valid split of `judgments` and beside `found`, and what is written are those of `train_ranker`. Losses: mean squared
    error of the logits or of their differences (Hofstätter et al. 2020, arXiv 2010.02666), or binary cross-entropy with
    the teacher's probabilities. Returns what `report.json` says. Raises ModelError for a folder without checkpoint, or
    when there are no pairs.
    """
    began = time.monotonic()
    checkpoint, master = teacher_checkpoint(teacher, output), Ranker.open(teacher)
    valid = judged(judgments, texts, "valid")
    validation = Validation.of(validation_sample(valid, settings), texts, similarity)
    finding = Finding.of(validation, valid.queries, texts, similarity, found)
    model = student(checkpoint, settings, pairs, texts)
    clear_output(output, SPEC_FILE)
    with quiet_libraries(), torch_threads(settings.threads):
        if settings.epochs:
            logits = teacher_logits(master, pairs, output, settings.threads)
            trainer = _trainer(model, distillation_examples(pairs, logits, settings), finding, output, settings)
            curve = run_trainer(trainer, settings, report, finding.others or None)
            if curve.best[0] == 0:
                taught, model = model, student(checkpoint, settings, pairs, texts)  # nothing learned was better
                keep_card(taught, model)
        else:
            curve = untaught(model, finding.ndcg(logits_of(model, finding.pairs)))
        model.save_pretrained(str(output / CHECKPOINT), create_model_card=False)
        limits = {name: getattr(master.spec, name) for name in ("max_query_tokens", "max_product_tokens")}
        parity = export_model(model, master.spec.base, output, validation.pairs[:PARITY_PAIRS], limits)
    data = {"pairs": len(pairs), "valid_queries": len(validation.grades), "valid_judgments": len(validation.pairs)}
    data["valid_unjudged"] = len(finding.others)
    parts: dict[str, Any] = {"data": data, "parity": parity}
    method: Method = "isotonic" if master.spec.knots else "platt"
    others, lists = unfit(valid, validation, texts, similarity, settings), Lists.of(valid, found, texts, similarity)
    parts |= calibrate_export(output, validation, others, method, lists, master.spec.mix)
    parts |= {"teacher": master.digest, "seconds": round(time.monotonic() - began, 1)}
    made = write_report(output, settings, curve, parts, model, language)
    forget(output)
    return made


def student(
    checkpoint: Path, settings: RankerDistillation, pairs: Pairs, texts: Mapping[str, str] = _NO_TEXTS
) -> CrossEncoder:
    """The untaught student: the teacher's checkpoint, or `settings.base`, cut as the settings say.

    Neurons are chosen on some of the `pairs`; a trimmed vocabulary is that of all of them and of `texts`.
    """
    model = load_ranker(settings.base or str(checkpoint), settings.seed)
    with quiet_libraries(), torch_threads(settings.threads):
        some = some_batches(pairs, settings.seed)
        cut(model.model, settings, lambda batch: model(model.preprocess(batch))["scores"], some)
        if settings.trim_vocabulary:
            trim_vocabulary(model[0], itertools.chain(texts.values(), *zip(*pairs, strict=True)))
            for head in model:
                if getattr(head, "separator", None) is not None:  # it knows the token by its id, which is another now
                    head.separator = model.tokenizer.sep_token_id
    return model


def teacher_logits(
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
    workers = threads or len(os.sched_getaffinity(0))
    return remembered(path, (len(pairs),), length_batches(lengths), compute, workers, report)


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
    model: CrossEncoder, examples: Dataset, finding: Finding, output: Path, settings: RankerDistillation
) -> CrossEncoderTrainer:
    model.max_length = settings.query_tokens + settings.product_tokens
    arguments = trainer_arguments(settings, output, total_steps(len(examples), settings))
    return CrossEncoderTrainer(
        model=model,
        args=CrossEncoderTrainingArguments(**arguments),
        train_dataset=examples,
        loss=_LOSSES[settings.loss](model),
        evaluator=evaluator(lambda current: finding.ndcg(logits_of(current, finding.pairs)), finding.judged.grades),
    )
