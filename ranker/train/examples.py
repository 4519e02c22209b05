"""Training examples of the cross-encoder: judged, random and retrieved irrelevant products."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from core.errors import ModelError
from ranker.train.settings import RankerTraining
from training.examples import POOR, Examples, PairValues, sample_by_grade

Labels = dict[str, dict[str, float]]  # query -> product -> label from 0 to 1


def training_labels(examples: Examples, settings: RankerTraining) -> Labels:
    """The products to learn from and their labels: judged ones in even shares of each grade, hard and random negatives.

    Hard negatives of queries without judgments are left out. The label of a judged product is its judgment, and above
    `POOR` it is no negative; the label of another is 0, or the teacher's probability: a relevant product that nobody
    judged is not labelled irrelevant. Random products have label 0. Raises ModelError when the teacher returns no
    probabilities.
    """
    train, texts, negatives, teacher = examples.train, examples.texts, examples.negatives, examples.teacher
    random = np.random.default_rng(settings.seed)
    everything = sorted({product for products in train.queries.values() for product in products})
    result: Labels = {}
    unjudged: list[tuple[str, str]] = []
    for query, judged in train.queries.items():
        labels = {name: judged[name] for name in sample_by_grade(judged, settings.judgments, random)}
        names = dict.fromkeys(negatives.get(query, ()))
        usable = [name for name in names if name in texts and name not in labels and judged.get(name, 0.0) <= POOR]
        mined = [usable[place] for place in random.permutation(len(usable))[: settings.hard_negatives]]
        labels |= {name: judged.get(name, 0.0) for name in mined}
        unjudged += [(query, name) for name in mined if name not in judged]
        others = [everything[place] for place in random.integers(len(everything), size=settings.random_negatives)]
        labels |= {name: 0.0 for name in others if name not in judged and name not in labels}
        result[query] = labels
    if teacher and unjudged:
        for (query, name), probability in zip(unjudged, _probabilities(teacher, unjudged, texts), strict=True):
            result[query][name] = float(probability)
    return result


def training_pairs(labels: Labels, texts: Mapping[str, str]) -> Dataset:
    """Rows of query, product and label."""
    rows = [(query, texts[name], label) for query, products in labels.items() for name, label in products.items()]
    return _dataset(("query", "product", "label"), rows)


def training_lists(labels: Labels, texts: Mapping[str, str], settings: RankerTraining) -> Dataset:
    """Rows of query, products and labels: at most `list_length` products of a query, of all its labels, shuffled.

    Losses of an order break ties by place, so a list sorted by its labels would leak them. A list of one label
    has no order: it is left out where the loss is of the order only. Raises ModelError when no list is left.
    """
    random = np.random.default_rng(settings.seed)
    rows: list[tuple[str, list[str], list[float]]] = []
    for query, products in labels.items():
        for names in _deal(products, settings.list_length, random):
            values = [products[name] for name in names]
            if settings.bce_weight or min(values) < max(values):
                rows.append((query, [texts[name] for name in names], values))
    if not rows:
        raise ModelError("no query has products of two grades to order; give some, or train with loss 'bce'")
    return _dataset(("query", "products", "labels"), rows)


def _deal(products: Mapping[str, float], length: int, random: np.random.Generator) -> list[list[str]]:
    """The fewest possible lists, filled in descending order of label, each then shuffled."""
    names = [list(products)[place] for place in random.permutation(len(products))]
    names.sort(key=lambda name: -products[name])
    count = -(-len(names) // length)
    hands = [names[turn::count] for turn in range(count)]
    return [[hand[place] for place in random.permutation(len(hand))] for hand in hands]


def _probabilities(teacher: PairValues, pairs: list[tuple[str, str]], texts: Mapping[str, str]) -> NDArray[np.float32]:
    values = teacher([query for query, _ in pairs], [texts[name] for _, name in pairs])
    if values.shape != (len(pairs),) or not ((values >= 0) & (values <= 1)).all():
        raise ModelError("the teacher of the mined negatives has to give one probability from 0 to 1 for each pair")
    return values


def _dataset(names: tuple[str, str, str], rows: Sequence[tuple[Any, Any, Any]]) -> Dataset:
    return Dataset.from_dict(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
