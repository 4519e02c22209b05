"""Fine-tunes the towers on judgments, by sentence-transformers' trainer."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments

from core.progress import Report, ignore
from encoder.bi_encoder import SPEC_FILE, BiEncoder
from encoder.train.base import load_base
from encoder.train.export import check_parity, write_model
from encoder.train.load import limit_length, prefix_tokens
from encoder.train.objective import Objective, make_objective
from encoder.train.samplers import RoundRobinSampler, batches
from encoder.train.settings import EncoderTraining
from evaluation.measures import CUTOFF, Grades, pool_ndcg
from training.averaging import Anchor
from training.examples import BESIDE, Examples, JudgedQueries, sample_validation
from training.export import CHECKPOINT, base_name
from training.loop import autocast, evaluator, run_trainer, total_steps, trainer_arguments
from training.stages import CheckedModel, ExportedModel, FittedModel, ModelStages, Task, best_of, clear_output, train

_PARITY_TEXTS = 512


@dataclass(frozen=True)
class SearchValidation:
    """Judged queries, and the texts of the products that they are to be found among, by id."""

    grades: Grades
    shelf: Mapping[str, str]


_Task = Task[Examples, EncoderTraining]
_Fitted = FittedModel[Examples, EncoderTraining, SentenceTransformer, SearchValidation]
_Exported = ExportedModel[Examples, EncoderTraining, SentenceTransformer, SearchValidation, BiEncoder]


def train_encoder(
    examples: Examples, output: Path, settings: EncoderTraining, report: Report = ignore
) -> dict[str, Any]:
    """Fine-tunes the towers on the examples, and exports the best checkpoint by validation to `output`.

    Returns the content of `report.json`. Raises ModelError when there is nothing to learn from, `distil` has no
    teacher, or the base is no encoder that the settings fit.
    """
    return train(FINE_TUNING, Task(examples, settings, output), report)


def fit(task: _Task, report: Report) -> _Fitted:
    """Trains the base; returns the model with the best weights. Raises ModelError."""
    examples, settings = task.examples, task.settings
    sample = sample_validation(examples.valid, settings)
    model = load_base(settings)
    clear_output(task.output, SPEC_FILE)
    distractors = _unjudged(examples.retrieved, sample, examples.valid)
    validation = SearchValidation(sample, make_shelf(sample, examples.texts, settings, distractors))
    objective = make_objective(model, examples, settings)
    anchor = Anchor(lambda: load_base(settings.averaged_with), settings.keep)
    score = anchor.scored(lambda current: validate(current, validation))
    trainer = _trainer(model, objective, evaluator(score, sample), task.output, settings)
    inputs = [objective.further, list(validation.shelf) if examples.retrieved else None]
    curve = run_trainer(trainer, settings, report, inputs)
    model = best_of(model, curve, lambda: load_base(settings))
    anchor.average(model)
    counts = {"train_queries": len(examples.train.queries), "train_judgments": examples.train.pairs}
    counts |= {"examples": objective.examples, "valid_queries": len(sample)}
    counts |= {"valid_judgments": sum(map(len, sample.values())), "valid_found": len(distractors)}
    return FittedModel(task, model, curve, validation, counts)


def export(fitted: _Fitted) -> _Exported:
    """Writes the fp32 checkpoint and the int8 towers."""
    settings, output = fitted.task.settings, fitted.task.output
    fitted.model.save_pretrained(str(output / CHECKPOINT), create_model_card=False)
    texts = parity_texts(fitted.task.examples.texts)
    limits = {"max_query_tokens": settings.query_tokens + prefix_tokens(fitted.model, fitted.model.prompts["query"])}
    write_model(fitted.model, base_name(settings.base), output, texts, limits)
    return ExportedModel(fitted, BiEncoder.open(output))


def check(exported: _Exported) -> CheckedModel:
    """Compares the int8 towers with the original. Raises ModelError where they are too far from it."""
    fitted = exported.fitted
    parity = check_parity(fitted.model, exported.artifact, parity_texts(fitted.task.examples.texts))
    return CheckedModel(fitted, {"parity": parity}, fitted.task.examples.language)


FINE_TUNING = ModelStages(fit, export, check)


def _trainer(
    model: SentenceTransformer,
    objective: Objective,
    validation: Any,
    output: Path,
    settings: EncoderTraining,
) -> SentenceTransformerTrainer:
    lengths = {"query": settings.query_tokens, "document": settings.product_tokens}
    limit_length(model, max(length + prefix_tokens(model, model.prompts[name]) for name, length in lengths.items()))
    steps = total_steps(objective.in_an_epoch, settings)
    common = trainer_arguments(settings, output, steps)
    # Processes come together after the last mini-batch, of which a query's own model is no part.
    common["ddp_find_unused_parameters"] = settings.mini_batch is not None
    arguments = SentenceTransformerTrainingArguments(
        **common,
        batch_sampler=batches,
        multi_dataset_batch_sampler=RoundRobinSampler,
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


def make_shelf(
    sample: Grades, texts: Mapping[str, str], settings: EncoderTraining, retrieved: Set[str] = frozenset()
) -> dict[str, str]:
    """Texts of the judged products and of the distractors: retrieval has to find the ones among the others.

    Distractors are `retrieved`, those with a text, and random ones.
    """
    certain = {product for products in sample.values() for product in products} | (texts.keys() & retrieved)
    others = sorted(texts.keys() - certain)
    count = min(settings.distractors, len(others))
    sampled = np.random.default_rng(settings.seed).choice(len(others), count, replace=False)
    return {name: texts[name] for name in [*sorted(certain), *(others[row] for row in sampled)]}


def _unjudged(retrieved: Mapping[str, Sequence[str]], sample: Grades, valid: JudgedQueries) -> set[str]:
    """What was found for the sample's queries and is not judged: one that is, and not in the sample, may be good."""
    return {name for query in sample for name in retrieved.get(query, ())[:BESIDE] if name not in valid.queries[query]}


def validate(model: SentenceTransformer, validation: SearchValidation, items: np.ndarray | None = None) -> float:
    """Mean nDCG@10 of searching the shelf; a product without judgment gains nothing.

    `items` are the shelf's unit vectors, shape (n, d), where another model computes them.
    """
    grades, shelf = validation.grades, validation.shelf
    with autocast():
        items = _vectors(model, list(shelf.values()), "document") if items is None else items
        queries = _vectors(model, list(grades), "query")
    best = np.argsort(-(queries @ items.T), axis=1, kind="stable")[:, :CUTOFF]
    products = list(shelf)
    rankings = {query: [products[row] for row in rows] for query, rows in zip(grades, best, strict=True)}
    return float(np.mean(list(pool_ndcg(grades, rankings, 0.0).values())))


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
