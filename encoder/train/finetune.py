"""Fine-tunes the towers on judgments, by sentence-transformers' trainer."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.training_args import BatchSamplers
from torch import nn

from core.measures import CUTOFF, Grades, pool_ndcg
from core.progress import Report, ignore
from encoder.tower import SPEC_FILE
from encoder.train.examples import Examples, training_examples
from encoder.train.export import export_model, load_encoder
from encoder.train.false_negatives import FalseNegatives
from encoder.train.losses import ranking_loss
from encoder.train.settings import EncoderTraining
from engine.card import keep_card
from engine.export import base_name, quiet_libraries
from engine.processes import count, first
from engine.training import (
    CHECKPOINT,
    REPORT_FILE,
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

_PARITY_TEXTS = 64
_NONE: Mapping[str, Sequence[str]] = {}


def train_encoder(
    texts: Mapping[str, str],
    judgments: pa.Table,
    output: Path,
    settings: EncoderTraining,
    negatives: Mapping[str, Sequence[str]] = _NONE,
    report: Report = ignore,
    language: str | None = None,
) -> dict[str, Any]:
    """Fine-tunes, keeps the best checkpoint by validation, and exports it to `output` as towers.

    `texts` are product texts by id; `judgments` is a table of `core.judgments.JUDGMENTS_SCHEMA`; `negatives` are mined
    ones, query -> product ids, best first. `language` is the shop's (BCP 47). Returns what `report.json` says. Raises
    ModelError when there is nothing to learn from or the base is no encoder.
    """
    began = time.monotonic()
    train, valid = judged(judgments, texts, "train"), judged(judgments, texts, "valid")
    sample = validation_sample(valid, settings)
    model = load_encoder(settings.base)
    if first():
        for name in (SPEC_FILE, REPORT_FILE):
            (output / name).unlink(missing_ok=True)  # until the end, the folder says it is no towers
        output.mkdir(parents=True, exist_ok=True)
    examples = training_examples(train, texts, settings, model.prompts or {}, negatives)
    # Between processes nothing else keeps a query's other answers, or another's same product, apart.
    masked = settings.mask_false_negatives or count() > 1
    mask = FalseNegatives(examples, train, texts) if masked else None
    with quiet_libraries(), torch_threads(settings.threads):
        shelf = shelf_of(sample, texts, settings)
        loss = ranking_loss(model, settings, mask)
        trainer = _trainer(model, examples, loss, sample, shelf, output, settings)
        curve = run_trainer(trainer, settings, report, train.queries if mask else None)
        if not first():
            return report_of_first(output)
        if curve.best[0] == 0:
            trained, model = model, load_encoder(settings.base)  # nothing learned was better than what was there
            keep_card(trained, model)
        model.save_pretrained(str(output / CHECKPOINT), create_model_card=False)
        limits = {"max_query_tokens": settings.query_tokens}
        parity = export_model(model, base_name(settings.base), output, _some(texts), limits)
    data = {"train_queries": len(train.queries), "train_judgments": train.pairs, "examples": len(examples)}
    data |= {"valid_queries": len(sample), "valid_judgments": sum(map(len, sample.values()))}
    parts = {"data": data, "parity": parity, "seconds": round(time.monotonic() - began, 1)}
    return write_report(output, settings, curve, parts, model, language)


def _trainer(
    model: SentenceTransformer,
    examples: Examples,
    loss: nn.Module,
    sample: Grades,
    shelf: Mapping[str, str],
    output: Path,
    settings: EncoderTraining,
) -> SentenceTransformerTrainer:
    model.max_seq_length = max(settings.query_tokens, settings.product_tokens)
    steps = total_steps(len(examples), settings)
    arguments = SentenceTransformerTrainingArguments(
        **trainer_arguments(settings, output, steps), batch_sampler=BatchSamplers.NO_DUPLICATES
    )
    return SentenceTransformerTrainer(
        model=model,
        args=arguments,
        train_dataset=examples.rows,
        loss=loss,
        evaluator=evaluator(lambda current: validate(current, sample, shelf), sample),
    )


def shelf_of(sample: Grades, texts: Mapping[str, str], settings: EncoderTraining) -> dict[str, str]:
    """Texts of the judged products and of the distractors: retrieval has to find the ones among the others."""
    judged_ones = {product for products in sample.values() for product in products}
    others = sorted(texts.keys() - judged_ones)
    count = min(settings.distractors, len(others))
    drawn = np.random.default_rng(settings.seed).choice(len(others), count, replace=False)
    return {name: texts[name] for name in [*sorted(judged_ones), *(others[row] for row in drawn)]}


def validate(
    model: SentenceTransformer, sample: Grades, shelf: Mapping[str, str], items: np.ndarray | None = None
) -> float:
    """Mean nDCG@10 of searching the shelf; what is not judged gains nothing.

    `items` are the shelf's unit vectors, shape (n, d), where another model makes them.
    """
    with autocast():
        items = _vectors(model, list(shelf.values()), "document") if items is None else items
        queries = _vectors(model, list(sample), "query")
    best = np.argsort(-(queries @ items.T), axis=1, kind="stable")[:, :CUTOFF]
    products = list(shelf)
    rankings = {query: [products[row] for row in rows] for query, rows in zip(sample, best, strict=True)}
    return float(np.mean(list(pool_ndcg(sample, rankings, 0.0).values())))


def _vectors(model: SentenceTransformer, texts: list[str], prompt: str) -> np.ndarray:
    name = prompt if prompt in (model.prompts or {}) else None
    options = {"batch_size": 64, "normalize_embeddings": True, "show_progress_bar": False, "convert_to_tensor": True}
    return model.encode(texts, prompt_name=name, **options).float().cpu().numpy()


def _some(texts: Mapping[str, str]) -> list[str]:
    values = list(texts.values())
    return values[:: max(1, len(values) // _PARITY_TEXTS)][:_PARITY_TEXTS]
