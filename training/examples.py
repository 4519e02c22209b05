"""The examples of a training: judged queries of each split, and what other models and the retrieval add to them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from core.errors import ModelError
from evaluation.measures import Grades
from training.settings import TrainingSettings

# A value for each of n pairs of a query and a product text, shape (n,).
PairValues = Callable[[Sequence[str], Sequence[str]], NDArray[np.float32]]

# Of the grades' range: from GOOD up a product answers its query, and down to POOR it does not.
GOOD, POOR = 0.5, 0.34

# So many of the products that retrieval returns first are validated beside a query's judged ones.
BESIDE = 20


@dataclass(frozen=True, slots=True)
class JudgedQueries:
    """Judgments of one split: query -> product -> relevance from 0 to 1, by the range of grades in the whole set."""

    split: str
    queries: dict[str, dict[str, float]]

    @property
    def pairs(self) -> int:
        """The number of judgments."""
        return sum(map(len, self.queries.values()))


@dataclass(frozen=True)
class Examples:
    """What a training learns from and is validated on; product ids are keys of `texts`.

    `negatives` are hard negatives by train query, the best rank first; `retrieved` are products by validation query
    that retrieval returns first, above which the judged ones have to rank. `similarity` is the bi-encoder's cosine of
    pairs, for a cross-encoder that serves beside it. `teacher` scores pairs: logits for a bi-encoder to learn, for a
    cross-encoder the probabilities that hard negatives are relevant. `language` is the shop's (BCP 47).
    """

    texts: Mapping[str, str]
    train: JudgedQueries
    valid: JudgedQueries
    language: str | None = None
    negatives: Mapping[str, Sequence[str]] = field(default_factory=dict)
    retrieved: Mapping[str, Sequence[str]] = field(default_factory=dict)
    similarity: PairValues | None = None
    teacher: PairValues | None = None

    @classmethod
    def split(cls, texts: Mapping[str, str], judgments: pa.Table, language: str | None = None) -> "Examples":
        """Those of a table of `JUDGMENTS_SCHEMA`. Raises ModelError when a split has none about these products."""
        return cls(texts, select_split(judgments, texts, "train"), select_split(judgments, texts, "valid"), language)


def select_split(judgments: pa.Table, texts: Mapping[str, str], split: str) -> JudgedQueries:
    """The judgments of a split whose products have a text. Raises ModelError when nothing is left."""
    grades = judgments["grade"].to_numpy()
    low, high = float(grades.min()), float(grades.max())
    queries: dict[str, dict[str, float]] = {}
    columns = (judgments[name].to_pylist() for name in ("query", "product_id", "grade", "split"))
    for query, product, grade, part in zip(*columns, strict=True):
        if part == split and product in texts:
            queries.setdefault(query, {})[product] = (grade - low) / max(high - low, 1e-9)
    if not queries:
        raise ModelError(f"no judgment of split {split!r} is about a product of the catalog; give some to learn from")
    return JudgedQueries(split, queries)


def sample_by_grade(products: Mapping[str, float], count: int, random: np.random.Generator) -> list[str]:
    """At most `count` products, taken from each grade in turn, at random within a grade."""
    names = list(products)
    grades: dict[float, list[str]] = {}
    for place in random.permutation(len(names)):
        grades.setdefault(products[names[place]], []).append(names[place])
    turns = [(turn, grade, name) for grade, entries in grades.items() for turn, name in enumerate(entries)]
    turns.sort(key=lambda entry: (entry[0], -entry[1]))
    return [name for _, _, name in turns[:count]]


def sample_validation(judged: JudgedQueries, settings: TrainingSettings) -> Grades:
    """Queries with something to rank, drawn until their judgments reach `validation_pairs`.

    Many queries with a few products of every grade inform training more than few queries with all of theirs.
    """
    useful = [query for query, products in judged.queries.items() if max(products.values()) > min(products.values())]
    if not useful:
        raise ModelError(f"split {judged.split!r} has no query with two different grades; give some to validate on")
    chosen: dict[str, Mapping[str, float]] = {}
    total = 0
    random = np.random.default_rng(settings.seed)
    for place in random.permutation(len(useful)):
        graded = judged.queries[useful[place]]
        products = {name: graded[name] for name in sample_by_grade(graded, settings.validation_products, random)}
        if chosen and total + len(products) > settings.validation_pairs:
            break
        chosen[useful[place]] = products
        total += len(products)
    return chosen
