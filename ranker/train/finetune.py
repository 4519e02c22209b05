"""Fine-tunes the cross-encoder on graded pairs, by sentence-transformers' trainer."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset
from pydantic import Field
from sentence_transformers import CrossEncoder, CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss

from core.measures import Grades
from core.progress import Report, ignore
from engine.export import base_name, quiet_libraries
from engine.training import (
    CHECKPOINT,
    REPORT_FILE,
    Judged,
    TrainingSettings,
    autocast,
    evaluator,
    judged,
    mean_ndcg,
    run_trainer,
    torch_threads,
    total_steps,
    trainer_arguments,
    validation_sample,
    write_report,
)
from ranker.ranker import SPEC_FILE
from ranker.train.export import export_model, load_ranker

_PARITY_PAIRS = 64


class RankerTraining(TrainingSettings):
    """How to fine-tune the cross-encoder."""

    judgments: int = Field(default=12, ge=1, description="at most so many judged products of a query, all grades alike")
    random_negatives: int = Field(default=2, ge=0, description="products of other queries beside them, as irrelevant")


def train_ranker(
    texts: Mapping[str, str], judgments: pa.Table, output: Path, settings: RankerTraining, report: Report = ignore
) -> dict[str, Any]:
    """Fine-tunes, keeps the best checkpoint by validation, and exports it to `output` as a cross-encoder.

    `texts` are product texts by id; `judgments` is a table of `core.judgments.JUDGMENTS_SCHEMA`. The target of a pair
    is its grade's place in the range of grades, the loss binary cross-entropy. Returns what `report.json` says. Raises
    ModelError when there is nothing to learn from or the base is no encoder.
    """
    began = time.monotonic()
    train, valid = judged(judgments, texts, "train"), judged(judgments, texts, "valid")
    sample = validation_sample(valid, settings.validation_pairs, settings.seed)
    model = load_ranker(settings.base, settings.seed)
    for name in (SPEC_FILE, REPORT_FILE):
        (output / name).unlink(missing_ok=True)  # until the end, the folder says it is no cross-encoder
    output.mkdir(parents=True, exist_ok=True)
    examples = training_pairs(train, texts, settings)
    with quiet_libraries(), torch_threads(settings.threads):
        trainer = _trainer(model, examples, sample, texts, output, settings)
        curve = run_trainer(trainer, settings, report)
        model.save_pretrained(str(output / CHECKPOINT), create_model_card=False)
        pairs = [(query, texts[product]) for query, products in sample.items() for product in products]
        limits = {"max_query_tokens": settings.query_tokens}
        parity = export_model(model, base_name(settings.base), output, pairs[:_PARITY_PAIRS], limits)
    data = {"train_queries": len(train.queries), "train_judgments": train.pairs, "examples": len(examples)}
    data |= {"valid_queries": len(sample), "valid_judgments": sum(map(len, sample.values()))}
    return write_report(
        output, settings, curve, {"data": data, "parity": parity, "seconds": round(time.monotonic() - began, 1)}
    )


def training_pairs(train: Judged, texts: Mapping[str, str], settings: RankerTraining) -> Dataset:
    """Rows of query, product and label: judged ones in even shares of each grade, and random ones with label 0."""
    random = np.random.default_rng(settings.seed)
    everything = sorted({product for products in train.queries.values() for product in products})
    rows: list[tuple[str, str, float]] = []
    for query, products in train.queries.items():
        rows += [(query, texts[name], products[name]) for name in spread(products, settings.judgments, random)]
        others = [everything[place] for place in random.integers(len(everything), size=settings.random_negatives)]
        rows += [(query, texts[name], 0.0) for name in others if name not in products]
    columns = zip(("query", "product", "label"), map(list, zip(*rows, strict=True)), strict=True)
    return Dataset.from_dict(dict(columns))


def spread(products: Mapping[str, float], count: int, random: np.random.Generator) -> list[str]:
    """At most `count` products, taken from each grade in turn, at random within a grade."""
    grades: dict[float, list[str]] = {}
    for place in random.permutation(len(products)):
        name = list(products)[place]
        grades.setdefault(products[name], []).append(name)
    turns = [(turn, grade, name) for grade, names in grades.items() for turn, name in enumerate(names)]
    turns.sort(key=lambda entry: (entry[0], -entry[1]))
    return [name for _, _, name in turns[:count]]


def _trainer(
    model: CrossEncoder,
    examples: Dataset,
    sample: Grades,
    texts: Mapping[str, str],
    output: Path,
    settings: RankerTraining,
) -> CrossEncoderTrainer:
    model.max_length = settings.query_tokens + settings.product_tokens
    steps = total_steps(len(examples), settings)
    return CrossEncoderTrainer(
        model=model,
        args=CrossEncoderTrainingArguments(**trainer_arguments(settings, output, steps)),
        train_dataset=examples,
        loss=BinaryCrossEntropyLoss(model),
        evaluator=evaluator(lambda current: _validate(current, sample, texts)),
    )


def _validate(model: CrossEncoder, sample: Grades, texts: Mapping[str, str]) -> float:
    pairs = [(query, texts[product]) for query, products in sample.items() for product in products]
    with autocast():
        scores = model.predict(pairs, batch_size=64, show_progress_bar=False, convert_to_tensor=True).float().numpy()
    ends = np.cumsum([len(products) for products in sample.values()])
    parts = np.split(scores, ends[:-1])
    return mean_ndcg(sample, {query: part.tolist() for query, part in zip(sample, parts, strict=True)})
