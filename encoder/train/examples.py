"""What the towers learn from: rows of a query, a product that answers it, and products that do not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice, zip_longest

import numpy as np
from datasets import Dataset

from core.errors import ModelError
from encoder.train.settings import EncoderTraining
from training.examples import GOOD, POOR, JudgedQueries, sample_by_grade


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """m rows. `rows` has their texts and, as `label`, their numbers; `products` are n + 1 ids a row, good one first."""

    rows: Dataset
    queries: list[str]
    products: list[list[str]]

    def __len__(self) -> int:
        return len(self.queries)


def training_rows(
    train: JudgedQueries,
    texts: Mapping[str, str],
    settings: EncoderTraining,
    prompts: Mapping[str, str],
    mined: Mapping[str, Sequence[str]],
) -> TrainingRows:
    """Rows of one query, one good product and `settings.negatives` that are not judged good.

    These are `mined` ones (query -> ids) in their order and judged poor ones by turns, which a query's rows share out,
    then any. A mined one that is judged or has no text is passed over. Raises ModelError when there is no row to make.
    """
    random = np.random.default_rng(settings.seed)
    count = settings.negatives
    everything = sorted({product for products in train.queries.values() for product in products})
    queries: list[str] = []
    chosen: list[list[str]] = []
    for query, products in train.queries.items():
        good = [product for product, relevance in products.items() if relevance >= GOOD]
        poor = [product for product, relevance in products.items() if relevance <= POOR]
        unjudged = list(dict.fromkeys(name for name in mined.get(query, ()) if name in texts and name not in products))
        hard = [
            str(name) for pair in zip_longest(unjudged, random.permutation(poor)) for name in pair if name is not None
        ]
        turns = cycle(hard)
        good = sorted(random.permutation(good), key=lambda product: -products[product])
        for positive in good[: settings.positives]:
            row = [positive, *islice(turns, min(len(hard), count))]
            while len(row) <= count and len(good) < len(everything):
                other = everything[random.integers(len(everything))]
                if products.get(other, 0.0) < GOOD:
                    row.append(other)
            if len(row) > count:
                queries.append(query)
                chosen.append([str(name) for name in row])
    if not queries:
        raise ModelError("no query of the train split has a product in the upper half of the grades; nothing to learn")
    return TrainingRows(_dataset(queries, chosen, texts, prompts), queries, chosen)


def graded_pairs(
    train: JudgedQueries, texts: Mapping[str, str], settings: EncoderTraining, prompts: Mapping[str, str]
) -> Dataset:
    """Judged pairs, query by query, with relevance as `label`: at most `graded_products` of each, all grades alike."""
    random = np.random.default_rng(settings.seed)
    query_prefix, item_prefix = prompts.get("query", ""), prompts.get("document", "")
    rows = [
        (query_prefix + query, item_prefix + texts[name], products[name])
        for query, products in train.queries.items()
        for name in sample_by_grade(products, settings.graded_products, random)
    ]
    columns = zip(("query", "product", "label"), map(list, zip(*rows, strict=True)), strict=True)
    return Dataset.from_dict(dict(columns))


def _dataset(
    queries: list[str], products: list[list[str]], texts: Mapping[str, str], prompts: Mapping[str, str]
) -> Dataset:
    query_prefix, item_prefix = prompts.get("query", ""), prompts.get("document", "")
    columns = {"query": [query_prefix + query for query in queries]}
    for place, names in enumerate(zip(*products, strict=True)):
        columns[f"negative_{place - 1}" if place else "positive"] = [item_prefix + texts[name] for name in names]
    return Dataset.from_dict({**columns, "label": list(range(len(queries)))})
