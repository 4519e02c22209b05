"""Fine-tunes the towers on judgments, by sentence-transformers' trainer."""

import time
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments

from core.progress import Report, ignore
from encoder.bi_encoder import SPEC_FILE
from encoder.train.base import load_base
from encoder.train.export import export_model
from encoder.train.objective import Objective, make_objective
from encoder.train.samplers import Turns, batches
from encoder.train.settings import EncoderTraining
from evaluation.measures import CUTOFF, Grades, pool_ndcg
from training.averaging import Anchor
from training.card import keep_card
from training.export import CHECKPOINT, base_name, quiet_libraries
from training.loop import (
    BESIDE,
    REPORT_FILE,
    Judged,
    PairValues,
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

_PARITY_TEXTS = 512
_NONE: Mapping[str, Sequence[str]] = {}


def train_encoder(
    texts: Mapping[str, str],
    judgments: pa.Table,
    output: Path,
    settings: EncoderTraining,
    negatives: Mapping[str, Sequence[str]] = _NONE,
    found: Mapping[str, Sequence[str]] = _NONE,
    teacher: PairValues | None = None,
    report: Report = ignore,
    language: str | None = None,
) -> dict[str, Any]:
    """Fine-tunes, keeps the best checkpoint by validation, and exports it to `output` as towers.

    `texts` are product texts by id; `judgments` is a table of `JUDGMENTS_SCHEMA`; `negatives` are mined
    ones, query -> product ids, best first; `found` are products that some retrieval finds first for queries to validate
    on, where the judged ones have to come before them; `teacher` gives the scores to learn by `distil`. `language` is
    the shop's (BCP 47). Returns what `report.json` says. Raises ModelError when there is nothing to learn from or the
    base is no encoder that the settings fit.
    """
    began = time.monotonic()
    train, valid = judged(judgments, texts, "train"), judged(judgments, texts, "valid")
    sample = validation_sample(valid, settings)
    model = load_base(settings)
    if is_main_process():
        for name in (SPEC_FILE, REPORT_FILE):
            (output / name).unlink(missing_ok=True)  # until the end, the folder says it is no towers
        output.mkdir(parents=True, exist_ok=True)
    with quiet_libraries(), torch_threads(settings.threads):
        distractors = _unjudged(found, sample, valid)
        shelf = shelf_of(sample, texts, settings, distractors)
        objective = make_objective(model, train, texts, settings, negatives, teacher)
        anchor = Anchor(lambda: load_base(settings.kept), settings.keep)
        score = anchor.scored(lambda current: validate(current, sample, shelf))
        trainer = _trainer(model, objective, evaluator(score, sample), output, settings)
        curve = run_trainer(trainer, settings, report, [objective.further, list(shelf) if found else None])
        if not is_main_process():
            return report_of_first(output)
        if curve.best[0] == 0:
            trained, model = model, load_base(settings)  # nothing learned was better than what was there
            keep_card(trained, model)
        anchor.average(model)
        model.save_pretrained(str(output / CHECKPOINT), create_model_card=False)
        limits = {"max_query_tokens": settings.query_tokens}
        parity = export_model(model, base_name(settings.base), output, parity_texts(texts), limits)
    data = {"train_queries": len(train.queries), "train_judgments": train.pairs, "examples": objective.examples}
    data |= {"valid_queries": len(sample), "valid_judgments": sum(map(len, sample.values()))}
    data |= {"valid_found": len(distractors)}
    parts = {"data": data, "parity": parity, "seconds": round(time.monotonic() - began, 1)}
    return write_report(output, settings, curve, parts, model, language)


def _trainer(
    model: SentenceTransformer,
    objective: Objective,
    validation: Any,
    output: Path,
    settings: EncoderTraining,
) -> SentenceTransformerTrainer:
    model.max_seq_length = max(settings.query_tokens, settings.product_tokens)
    steps = total_steps(objective.in_an_epoch, settings)
    common = trainer_arguments(settings, output, steps)
    # Processes come together after the last mini-batch, of which a query's own model is no part.
    common["ddp_find_unused_parameters"] = settings.mini_batch is not None
    arguments = SentenceTransformerTrainingArguments(
        **common,
        batch_sampler=batches,
        multi_dataset_batch_sampler=Turns,
        router_mapping={} if settings.shared else {name: _side(name) for name in objective.columns},
    )
    return SentenceTransformerTrainer(
        model=model,
        args=arguments,
        train_dataset=objective.dataset,
        loss=objective.loss,
        evaluator=validation,
    )


def _side(column: str) -> str:
    return "query" if column == "query" else "document"


def shelf_of(
    sample: Grades, texts: Mapping[str, str], settings: EncoderTraining, found: Set[str] = frozenset()
) -> dict[str, str]:
    """Texts of the judged products and of the distractors: retrieval has to find the ones among the others.

    Distractors are `found`, those with a text, and random ones.
    """
    certain = {product for products in sample.values() for product in products} | (texts.keys() & found)
    others = sorted(texts.keys() - certain)
    count = min(settings.distractors, len(others))
    drawn = np.random.default_rng(settings.seed).choice(len(others), count, replace=False)
    return {name: texts[name] for name in [*sorted(certain), *(others[row] for row in drawn)]}


def _unjudged(found: Mapping[str, Sequence[str]], sample: Grades, valid: Judged) -> set[str]:
    """What was found for the sample's queries and is not judged: one that is, and not in the sample, may be good."""
    return {name for query in sample for name in found.get(query, ())[:BESIDE] if name not in valid.queries[query]}


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
    options = {
        "task": prompt,
        "batch_size": 64,
        "normalize_embeddings": True,
        "show_progress_bar": False,
        "convert_to_tensor": True,
    }
    return model.encode(texts, prompt_name=name, **options).float().cpu().numpy()


def parity_texts(texts: Mapping[str, str]) -> list[str]:
    """Some of the texts, evenly spaced, to compare an exported model with its original."""
    values = list(texts.values())
    return values[:: max(1, len(values) // _PARITY_TEXTS)][:_PARITY_TEXTS]
