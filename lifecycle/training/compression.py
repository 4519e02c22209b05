"""From a trained model's folder, a feed and judgments to a smaller model's folder."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.progress import Steps
from encoder.bi_encoder import BiEncoder
from lifecycle.examples.candidates import RetrievedProducts, nearest
from lifecycle.examples.products import Products
from lifecycle.tracking.tracker import Tracker
from lifecycle.training.data import Inputs, make_examples, read_data
from lifecycle.training.negatives import RETRIEVED, retrieve_first
from lifecycle.training.record import Kind, make_lineage, train_and_record
from lifecycle.training.scoring import TowerSimilarity
from lifecycle.training.trial import RankerTrial, TowerTrial, TrialResult, compare_subjects
from ranker.ranker import Ranker
from training.compress import teacher_checkpoint
from training.examples import Examples, JudgedQueries, PairValues, sample_validation
from training.settings import TrainingSettings
from training.stages import ModelStages, Task

ROW_FILE = "compression.json"
_ASK = "ask the teacher"


@dataclass(frozen=True, slots=True)
class StudentData:
    """What a student learns from besides judged pairs: products found for each query; for towers, so many products."""

    candidates: int = 20
    products: int = 50_000


def compress_model(
    kind: Kind,
    teacher: Path,
    inputs: Inputs,
    material: StudentData,
    output: Path,
    settings: dict[str, Any],
    steps: Steps,
    tracker: Tracker,
) -> TrialResult:
    """Compresses the model that `teacher` holds and leaves it in `output` as `train_model` does.

    Returns what it costs and keeps beside its teacher, on validation queries; the same is in `compression.json`. The
    teacher's queries are those of the train split. Raises FeedError, ModelError, or pydantic's for impossible settings.
    """
    teacher_checkpoint(teacher, output)
    (output / ROW_FILE).unlink(missing_ok=True)
    whole = BiEncoder.open(teacher) if kind == "encoder" else Ranker.open(teacher)
    similarity = TowerSimilarity(inputs.towers) if inputs.towers else None
    data = read_data(inputs, steps)
    lineage = make_lineage(kind, inputs, data.mapping, whole.spec.base, {"teacher": whole.digest})
    chosen = _distillation(kind, settings)
    examples = make_examples(data)
    if isinstance(whole, BiEncoder):
        stages, task = _encoder_task(whole, examples, material, output, chosen, steps)
    else:
        pairs = _teacher_pairs(examples, data.products, material, similarity, steps)
        if similarity is not None:  # as served: the student has to gain on what the towers and words rank
            retrieved = retrieve_first(examples.valid, data.products, similarity, RETRIEVED, steps)
            examples = replace(examples, retrieved=retrieved, similarity=similarity)
        stages, task = _ranker_task(whole, examples, pairs, output, chosen, steps)
    train_and_record(lineage, stages, task, "teach the student", steps, tracker)
    trial = make_trial(kind, examples.valid, examples.texts, chosen, similarity)
    with steps.step("compare with the teacher"):
        row = compare_subjects(trial, {"teacher": trial.subject(teacher), "student": trial.subject(output)}, "teacher")[
            "student"
        ]
    (output / ROW_FILE).write_text(json.dumps(row.as_json(), indent=2) + "\n")
    return row


def make_trial(
    kind: Kind,
    valid: JudgedQueries,
    texts: Mapping[str, str],
    settings: TrainingSettings,
    similarity: PairValues | None,
) -> RankerTrial | TowerTrial:
    """The validation of a training with these settings, for exported models. Loads torch."""
    grades = sample_validation(valid, settings)
    if kind == "ranker":
        return RankerTrial(grades, texts, similarity or _unknown)
    from encoder.train.finetune import EncoderTraining, make_shelf

    return TowerTrial(grades, make_shelf(grades, texts, EncoderTraining(seed=settings.seed)))


def _unknown(queries: Sequence[str], products: Sequence[str]) -> NDArray[np.float32]:
    return np.zeros(len(queries), np.float32)


def _distillation(kind: Kind, settings: dict[str, Any]) -> Any:
    """All settings of the student's training. Loads torch."""
    if kind == "encoder":
        from encoder.train.compress import EncoderDistillation

        return EncoderDistillation(**settings)
    from ranker.train.compress import RankerDistillation

    return RankerDistillation(**settings)


def _encoder_task(
    teacher: BiEncoder, examples: Examples, material: StudentData, output: Path, settings: Any, steps: Steps
) -> tuple[ModelStages, Task[Any, Any]]:
    """Texts to embed as the teacher does, which embeds them first."""
    from encoder.train.compress import DISTILLATION, DistillationTexts, compute_teacher_vectors

    queries = list(examples.train.queries)
    products = _drawn(list(examples.texts.values()), material.products, settings.seed)
    if settings.epochs:
        with steps.step(_ASK) as report:
            compute_teacher_vectors(teacher, queries, products, output, settings, report)
    return DISTILLATION, Task(DistillationTexts(examples, teacher.folder, queries, products), settings, output)


def _ranker_task(
    teacher: Ranker,
    examples: Examples,
    pairs: list[tuple[str, str]],
    output: Path,
    settings: Any,
    steps: Steps,
) -> tuple[ModelStages, Task[Any, Any]]:
    """Pairs to score as the teacher does, which scores them first."""
    from ranker.train.compress import DISTILLATION, DistillationPairs, compute_teacher_logits

    if settings.epochs:
        with steps.step(_ASK) as report:
            compute_teacher_logits(teacher, pairs, output, settings.threads, report)
    return DISTILLATION, Task(DistillationPairs(examples, teacher.folder, pairs), settings, output)


def _teacher_pairs(
    examples: Examples, products: Products, material: StudentData, similarity: TowerSimilarity | None, steps: Steps
) -> list[tuple[str, str]]:
    with steps.step("find products to ask of") as report:
        pairs = ranker_pairs(examples.train, products, material.candidates, similarity)
        report(len(pairs), len(pairs))
    return pairs


def ranker_pairs(
    train: JudgedQueries, products: Products, candidates: int, similarity: TowerSimilarity | None = None
) -> list[tuple[str, str]]:
    """Each query with its judged products and the first `candidates` of words and, where given, of the towers.

    These are the pairs the ranker will score; each pair of texts occurs once.
    """
    queries, texts = list(train.queries), products.texts
    sources: list[RetrievedProducts] = []
    if candidates:
        sources.append(products.lexical.search(queries, candidates))
        if similarity:
            sources.append(nearest(similarity.queries(queries), similarity.items(list(texts)), candidates))
    pairs: dict[tuple[str, str], None] = {}
    for place, query in enumerate(queries):
        pairs |= dict.fromkeys((query, texts[products.rows[product]]) for product in train.queries[query])
        for source in sources:
            pairs |= dict.fromkeys((query, texts[row]) for row in source.rows[place] if row >= 0)
    return list(pairs)


def _drawn(texts: list[str], count: int, seed: int) -> list[str]:
    different = list(dict.fromkeys(texts))
    places = np.random.default_rng(seed).permutation(len(different))[:count]
    return [different[place] for place in places]
