"""Fine-tunes the towers on made-up queries: as on judgments, with the voters' scores for a teacher."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.progress import Steps
from encoder.train import finetune
from encoder.train.pace import seconds_per_step
from encoder.train.settings import EncoderTraining
from lifecycle.adapt.labels import LabelledQueries, Labels, Pools
from lifecycle.adapt.queries import ShopQuery
from lifecycle.adapt.settings import AdaptSettings
from lifecycle.adapt.shop import UnjudgedShop
from lifecycle.tracking.lineage import Lineage
from lifecycle.tracking.tracker import Tracker
from lifecycle.training.record import train_and_record
from training.examples import Examples, JudgedQueries
from training.stages import Task

# What a step of `encoder/train/pace.py` reads; a training's steps cost a little more than their tokens.
_PACE_TOKENS, _OVERHEAD = 64 * 24, 1.25
_QUERY_TOKENS, _CHARACTERS_A_TOKEN = 8, 4.0
_VALID_NEGATIVES = 5
# Steps that take as long as all validations.
_VALIDATIONS = 20


@dataclass(frozen=True)
class EnsembleScores:
    """The ensemble's scores of pairs of a query and a product text.

    What is not in a query's pool has the lowest score of those that are.
    """

    known: Mapping[tuple[str, str], float]
    lowest: Mapping[str, float]

    @classmethod
    def collect(
        cls, queries: Sequence[ShopQuery], pools: Pools, labels: Labels, texts: Sequence[str]
    ) -> "EnsembleScores":
        """Of all queries and their pools."""
        known: dict[tuple[str, str], float] = {}
        lowest: dict[str, float] = {}
        for query, rows, scores in zip(queries, pools.rows, labels.scores, strict=True):
            held = rows >= 0
            for row, score in zip(rows[held], scores[held], strict=True):
                known[query.text, texts[row]] = float(score)
            lowest[query.text] = float(scores[held].min(initial=0.0))
        return cls(known, lowest)

    def __call__(self, queries: Sequence[str], texts: Sequence[str]) -> NDArray[np.float32]:
        """Shape (n,), of the query and the text of each place."""
        pairs = zip(queries, texts, strict=True)
        return np.array([self.known.get((query, text), self.lowest[query]) for query, text in pairs], np.float32)


def make_examples(
    shop: UnjudgedShop, train: LabelledQueries, valid: LabelledQueries, scores: EnsembleScores | None
) -> Examples:
    """The examples of a training, with products by their row as id."""
    texts = dict(zip(map(str, range(len(shop.texts))), shop.texts, strict=True))
    negatives = {query: list(map(str, rows)) for query, rows in train.negatives.items()}
    return Examples(
        texts,
        JudgedQueries("train", {query: _by_id(graded) for query, graded in train.relevance.items()}),
        # A query with a single grade validates nothing: some of its negatives have another.
        JudgedQueries(
            "valid",
            {
                query: _by_id(dict.fromkeys(valid.negatives[query][:_VALID_NEGATIVES], 0.0) | graded)
                for query, graded in valid.relevance.items()
            },
        ),
        shop.language,
        negatives,
        teacher=scores,
    )


def _by_id(graded: Mapping[int, float]) -> dict[str, float]:
    return {str(row): value for row, value in graded.items()}


def training_settings(base: str | None, shared: bool, settings: AdaptSettings) -> EncoderTraining:
    """The training of the towers whose checkpoint is `base` (see `load_encoder`), one model for both sides or two."""
    return EncoderTraining(
        base=base,
        shared=shared,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        negatives=settings.negatives,
        positives=1,
        mask_false_negatives=True,
        distil=settings.distil,
        teacher_temperature=settings.temperature,
        keep=settings.keep,
        evaluations=2,
        validation_pairs=1200,
        distractors=500,
        seed=settings.seed,
    )


def affordable_steps(base: str | None, texts: Sequence[str], settings: AdaptSettings, seconds: float) -> int:
    """How many steps the seconds leave time for on this machine, at the measured pace."""
    tokens = np.mean([min(len(text) / _CHARACTERS_A_TOKEN, 48) for text in texts])
    step = settings.batch_size * (_QUERY_TOKENS + (1 + settings.negatives) * float(tokens)) / _PACE_TOKENS
    return int(seconds / (seconds_per_step(base) * step * _OVERHEAD)) - _VALIDATIONS


def fit_towers(
    examples: Examples, settings: EncoderTraining, output: Path, lineage: Lineage, steps: Steps, tracker: Tracker
) -> dict[str, Any]:
    """fit → export → check → record; returns the training's report. Raises ModelError."""
    task = Task(examples, settings, output)
    return train_and_record(lineage, finetune.FINE_TUNING, task, "adapt the towers", steps, tracker)
