"""From a trained model's folder, a feed and judgments to a smaller model's folder."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.progress import Steps
from encoder.bi_encoder import BiEncoder
from lifecycle.examples.candidates import Candidates, nearest
from lifecycle.examples.products import Products
from lifecycle.examples.rounds import FOUND, found_first
from lifecycle.tracking.tracker import Tracker
from lifecycle.training.fine_tuning import Inputs, Kind, lineage_of, read_inputs, recorded
from lifecycle.training.similarity import TowerSimilarity
from lifecycle.training.trial import RankerTrial, Row, TowerTrial, trial_rows
from ranker.ranker import Ranker
from training.compress import Distillation, teacher_checkpoint
from training.loop import Judged, PairValues, TrainingSettings, judged, validation_sample

ROW_FILE = "compression.json"
_ASK = "ask the teacher"


@dataclass(frozen=True, slots=True)
class Material:
    """What a student learns from besides judged pairs: products found for each query; for towers, so many products."""

    candidates: int = 20
    products: int = 50_000


def compress_model(
    kind: Kind,
    teacher: Path,
    inputs: Inputs,
    material: Material,
    output: Path,
    settings: dict[str, Any],
    steps: Steps,
    tracker: Tracker,
) -> Row:
    """Compresses the model that `teacher` holds and leaves it in `output` as `train_model` does.

    Returns what it costs and keeps beside its teacher, on validation queries; the same is in `compression.json`. The
    teacher's queries are those of the train split. Raises FeedError, ModelError, or pydantic's for impossible settings.
    """
    teacher_checkpoint(teacher, output)
    (output / ROW_FILE).unlink(missing_ok=True)
    whole = BiEncoder.open(teacher) if kind == "encoder" else Ranker.open(teacher)
    similarity = TowerSimilarity(inputs.towers) if inputs.towers else None
    shop = read_inputs(inputs, steps)
    texts, table = shop.texts, shop.judgments
    train = judged(table, texts, "train")
    lineage = lineage_of(kind, inputs, shop.mapping, whole.spec.base, {"teacher": whole.digest})
    if isinstance(whole, BiEncoder):
        chosen, distil = _towers(whole, list(train.queries), texts, material, output, settings, steps)
    else:
        chosen, distil = _ranker(whole, train, shop.products, similarity, material, output, settings, steps)
        if similarity is not None:  # what is served, beside which the student has to be worth its while
            found = found_first(judged(table, texts, "valid"), shop.products, similarity, FOUND, steps)
            distil = partial(distil, found=found)

    def distilled() -> dict[str, Any]:
        with steps.step("teach the student") as report:
            return distil(texts, table, output, report=report, language=shop.mapping.catalog.language)

    recorded(lineage, chosen, distilled, output, tracker)
    trial = trial_of(kind, judged(table, texts, "valid"), texts, chosen, similarity)
    with steps.step("compare with the teacher"):
        row = trial_rows(trial, {"teacher": trial.subject(teacher), "student": trial.subject(output)}, "teacher")[
            "student"
        ]
    (output / ROW_FILE).write_text(json.dumps(row.as_json(), indent=2) + "\n")
    return row


def trial_of(
    kind: Kind, valid: Judged, texts: Mapping[str, str], settings: TrainingSettings, similarity: PairValues | None
) -> RankerTrial | TowerTrial:
    """The validation of a training with these settings, for exported models. Loads torch."""
    grades = validation_sample(valid, settings)
    if kind == "ranker":
        return RankerTrial(grades, texts, similarity or _unknown)
    from encoder.train.finetune import EncoderTraining, shelf_of

    return TowerTrial(grades, shelf_of(grades, texts, EncoderTraining(seed=settings.seed)))


def _unknown(queries: Sequence[str], products: Sequence[str]) -> NDArray[np.float32]:
    return np.zeros(len(queries), np.float32)


def _towers(
    teacher: BiEncoder,
    queries: list[str],
    texts: Mapping[str, str],
    material: Material,
    output: Path,
    given: dict[str, Any],
    steps: Steps,
) -> tuple[Distillation, Callable[..., dict[str, Any]]]:
    from encoder.train.compress import EncoderDistillation, distil_encoder, teacher_vectors

    settings = EncoderDistillation(**given)
    products = _drawn(list(texts.values()), material.products, settings.seed)
    if settings.epochs:
        with steps.step(_ASK) as report:
            teacher_vectors(teacher, queries, products, output, settings, report)
    return settings, partial(distil_encoder, teacher.folder, queries, products, settings=settings)


def _ranker(
    teacher: Ranker,
    train: Judged,
    products: Products,
    similarity: TowerSimilarity | None,
    material: Material,
    output: Path,
    given: dict[str, Any],
    steps: Steps,
) -> tuple[Distillation, Callable[..., dict[str, Any]]]:
    from ranker.train.compress import RankerDistillation, distil_ranker, teacher_logits
    from ranker.train.finetune import no_similarity

    settings = RankerDistillation(**given)
    with steps.step("find products to ask of") as report:
        pairs = ranker_pairs(train, products, material.candidates, similarity)
        report(len(pairs), len(pairs))
    if settings.epochs:
        with steps.step(_ASK) as report:
            teacher_logits(teacher, pairs, output, settings.threads, report)
    known = similarity or no_similarity
    return settings, partial(distil_ranker, teacher.folder, pairs, settings=settings, similarity=known)


def ranker_pairs(
    train: Judged, products: Products, candidates: int, similarity: TowerSimilarity | None = None
) -> list[tuple[str, str]]:
    """Each query with its judged products and the first `candidates` of words and, where given, of the towers.

    These are what the ranker will be asked; pairs of one text are given once.
    """
    queries, texts = list(train.queries), products.texts
    sources: list[Candidates] = []
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
