"""Fine-tunes the towers on judgments, by sentence-transformers' trainer."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset
from pydantic import Field
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.training_args import BatchSamplers

from core.errors import ModelError
from core.measures import CUTOFF, Grades, pool_ndcg
from core.progress import Report, ignore
from encoder.tower import SPEC_FILE
from encoder.train.export import export_model, load_encoder
from engine.card import keep_card
from engine.export import base_name, quiet_libraries
from engine.training import (
    CHECKPOINT,
    GOOD,
    POOR,
    REPORT_FILE,
    Judged,
    TrainingSettings,
    autocast,
    evaluator,
    judged,
    run_trainer,
    torch_threads,
    total_steps,
    trainer_arguments,
    validation_sample,
    write_report,
)

_PARITY_TEXTS = 64


class EncoderTraining(TrainingSettings):
    """How to fine-tune the towers."""

    negatives: int = Field(default=1, ge=0, le=8, description="judged negatives beside each positive")
    positives: int = Field(default=8, ge=1, description="at most so many positives of a query")
    scale: float = Field(default=20.0, gt=0, description="what cosines are multiplied by in the loss")
    distractors: int = Field(default=2000, ge=0, description="further products among which validation looks")


def train_encoder(
    texts: Mapping[str, str],
    judgments: pa.Table,
    output: Path,
    settings: EncoderTraining,
    report: Report = ignore,
    language: str | None = None,
) -> dict[str, Any]:
    """Fine-tunes, keeps the best checkpoint by validation, and exports it to `output` as towers.

    `texts` are product texts by id; `judgments` is a table of `core.judgments.JUDGMENTS_SCHEMA`. In-batch products and
    judged poor ones are the negatives (multiple negatives ranking loss, Henderson et al. 2017, arXiv 1705.00652).
    `language` is the shop's (BCP 47). Returns what `report.json` says. Raises ModelError when there is nothing to learn
    from or the base is no encoder.
    """
    began = time.monotonic()
    train, valid = judged(judgments, texts, "train"), judged(judgments, texts, "valid")
    sample = validation_sample(valid, settings)
    model = load_encoder(settings.base)
    for name in (SPEC_FILE, REPORT_FILE):
        (output / name).unlink(missing_ok=True)  # until the end, the folder says it is no towers
    output.mkdir(parents=True, exist_ok=True)
    examples = training_examples(train, texts, settings, model.prompts or {})
    with quiet_libraries(), torch_threads(settings.threads):
        shelf = shelf_of(sample, texts, settings)
        trainer = _trainer(model, examples, sample, shelf, output, settings)
        curve = run_trainer(trainer, settings, report)
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


def training_examples(
    train: Judged, texts: Mapping[str, str], settings: EncoderTraining, prompts: Mapping[str, str]
) -> Dataset:
    """Rows of one query, one good product and `negatives` poor ones: judged ones first, else any not judged good."""
    random = np.random.default_rng(settings.seed)
    everything = sorted({product for products in train.queries.values() for product in products})
    query_prefix, item_prefix = prompts.get("query", ""), prompts.get("document", "")
    rows: list[list[str]] = []
    for query, products in train.queries.items():
        good = [product for product, relevance in products.items() if relevance >= GOOD]
        poor = [product for product, relevance in products.items() if relevance <= POOR]
        good = sorted(random.permutation(good), key=lambda product: -products[product])[: settings.positives]
        for positive in good:
            chosen = [*random.permutation(poor)[: settings.negatives]]
            while len(chosen) < settings.negatives:
                other = everything[random.integers(len(everything))]
                if products.get(other, 0.0) < GOOD:
                    chosen.append(other)
            rows.append([query_prefix + query, *(item_prefix + texts[str(name)] for name in (positive, *chosen))])
    if not rows:
        raise ModelError("no query of the train split has a product in the upper half of the grades; nothing to learn")
    names = ["query", "positive", *(f"negative_{i}" for i in range(settings.negatives))]
    return Dataset.from_dict(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))


def _trainer(
    model: SentenceTransformer,
    examples: Dataset,
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
        train_dataset=examples,
        loss=MultipleNegativesRankingLoss(model, scale=settings.scale),
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
