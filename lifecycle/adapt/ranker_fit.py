"""Fine-tunes the cross-encoder on made-up queries: lists of their first products, labelled by the ensemble."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.plan import RERANK_DEPTH
from lifecycle.adapt.candidates import Towers
from lifecycle.adapt.check import Orders
from lifecycle.adapt.labels import LabelledQueries, Labels, Pools
from lifecycle.adapt.queries import ShopQuery
from lifecycle.adapt.settings import AdaptSettings
from lifecycle.adapt.shop import UnjudgedShop
from lifecycle.adapt.voters import SCORED
from ranker.train.settings import RankerTraining
from training.examples import BESIDE, POOR, Examples, JudgedQueries

_LIST = 8
_PAIRS = 32  # of a step
_HARD, _RANDOM = 2, 1
_PASSES = 3  # validations: one before the training, two in it
_LEAST_VALIDATION, _MOST_VALIDATION = 240, 1500
_MOST_MIXED = 400
# Of the cross-encoder's time: its steps, its validations, and the lists by which its share in ranking is measured.
# Export and calibration take about as long as steps, and the check has a quarter.
_STEPS, _VALIDATIONS, _MIX = 0.3, 0.06, 0.08
_FORWARD = 1 / 3  # of a step
_OVERHEAD = 1.25


@dataclass(frozen=True)
class Affordable:
    """How much there is time for: steps, pairs to validate on, queries to measure its share in ranking by."""

    steps: int
    validation_pairs: int
    mixed: int

    @classmethod
    def within(cls, seconds: float, seconds_per_pair: float, pace: float) -> "Affordable":
        """`seconds_per_pair` is a training step's, `pace` the pairs per second of the exported model."""
        seconds = max(seconds, 0.0)
        steps = int(_STEPS * seconds / (_PAIRS * seconds_per_pair * _OVERHEAD))
        pairs = int(_VALIDATIONS * seconds / _PASSES / (seconds_per_pair * _FORWARD))
        mixed = int(_MIX * seconds * pace / RERANK_DEPTH)
        return cls(steps, min(max(pairs, _LEAST_VALIDATION), _MOST_VALIDATION), min(mixed, _MOST_MIXED))


class TowerCosines:
    """The cosines of pairs by the towers that serve, from the vectors that they have of all products."""

    def __init__(self, towers: Towers, texts: Sequence[str]) -> None:
        self._towers = towers
        self._rows = {text: row for row, text in enumerate(texts)}

    def __call__(self, queries: Sequence[str], texts: Sequence[str]) -> NDArray[np.float32]:
        """Shape (n,), of the query and the product text of each place."""
        names = list(dict.fromkeys(queries))
        if not names:
            return np.zeros(0, np.float32)
        vectors = dict(zip(names, self._towers.queries(names), strict=True))
        items = self._towers.items[[self._rows[text] for text in texts]]
        return np.einsum("nd,nd->n", np.array([vectors[query] for query in queries]), items)


def soft_labels(
    queries: Sequence[ShopQuery], pools: Pools, labels: Labels, labelled: LabelledQueries
) -> dict[str, dict[int, float]]:
    """Of each labelled query the first products as served, by row, with labels from 0 to 1.

    Those of `labelled` keep theirs; others have what the ensemble thinks of them, from 0 to what is no good product.
    """
    result = {}
    for place, query in enumerate(queries):
        if query.text not in labelled.relevance:
            continue
        rows, scores = pools.rows[place][:SCORED], labels.scores[place][:SCORED]
        rows, scores = rows[rows >= 0], scores[rows >= 0]
        low, high = (float(bound(scores)) for bound in (np.min, np.max)) if len(rows) else (0.0, 1.0)
        shares = POOR * (scores - low) / max(high - low, 1e-9)
        soft = dict(zip(rows.tolist(), shares.tolist(), strict=True))
        known = labelled.relevance[query.text]
        result[query.text] = soft | {row: value for row, value in known.items() if row in soft or value == 1.0}
    return result


def ranker_examples(
    shop: UnjudgedShop,
    towers: Towers,
    train: Mapping[str, Mapping[int, float]],
    negatives: Mapping[str, Sequence[int]],
    valid: Mapping[str, Mapping[str, float]],
    orders: Mapping[str, NDArray[np.int64]],
    mixed: int,
) -> Examples:
    """The examples of a training, with products by their row as id.

    `train` has soft labels; `valid` has grades of known products by held-out query, and `orders` what is served for it
    without a cross-encoder. By the first `mixed` of these the share in ranking is measured.
    """
    texts = dict(zip(map(str, range(len(shop.texts))), shop.texts, strict=True))
    firsts = {query: list(map(str, orders[query][:RERANK_DEPTH])) for query in valid}
    graded = {
        query: dict.fromkeys(firsts[query][:BESIDE], 0.0)
        | {row: grade for row, grade in grades.items() if row in firsts[query] or grade == 1.0}
        for query, grades in valid.items()
    }
    return Examples(
        texts,
        JudgedQueries("train", {query: {str(row): v for row, v in known.items()} for query, known in train.items()}),
        JudgedQueries("valid", graded),
        shop.language,
        {query: list(map(str, rows)) for query, rows in negatives.items() if query in train},
        {query: firsts[query] for query in list(valid)[:mixed]},
        TowerCosines(towers, shop.texts),
    )


def ranker_settings(base: str, affordable: Affordable, seconds: float, settings: AdaptSettings) -> RankerTraining:
    """The training of the cross-encoder whose checkpoint is `base`; its steps take `seconds` at most."""
    return RankerTraining(
        base=base,
        epochs=settings.epochs,
        max_steps=max(affordable.steps, 1),
        max_seconds=max(seconds * (_STEPS + _VALIDATIONS), 1.0),
        batch_size=_PAIRS,
        learning_rate=settings.ranker_learning_rate,
        loss="listwise",
        list_length=_LIST,
        judgments=SCORED,
        hard_negatives=_HARD,
        random_negatives=_RANDOM,
        keep=settings.keep,
        evaluations=_PASSES - 1,
        validation_pairs=affordable.validation_pairs,
        seed=settings.seed,
    )


def first_orders(queries: Sequence[ShopQuery], orders: Orders) -> dict[str, NDArray[np.int64]]:
    """The orders by query."""
    return {query.text: rows for query, rows in zip(queries, orders, strict=True)}
