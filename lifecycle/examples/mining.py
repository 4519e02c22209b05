"""Hard negatives: sampled from a query's retrieved products, without likely positives."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from core.errors import FeedError
from lifecycle.examples.candidates import RetrievedProducts
from lifecycle.examples.products import Products
from training.examples import GOOD, POOR, JudgedQueries

NEGATIVES_SCHEMA = pa.schema(
    [
        ("query", pa.string()),
        ("product_id", pa.string()),
        ("source", pa.string()),
        ("rank", pa.int32()),
        ("score", pa.float32()),
    ]
)

# A model's scores of pairs: places of queries and rows of products, both of shape (n,) -> scores of shape (n,).
PairScores = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]

_PAIR = np.dtype([("query", "i8"), ("row", "i8"), ("source", "i4"), ("rank", "i4"), ("score", "f4")])
_JUDGED = np.dtype([("query", "i8"), ("row", "i8"), ("relevance", "f4")])
# The teacher reads so many candidates for each negative wanted.
_SPARE = 3


class Mining(BaseModel):
    """How to sample negatives, and what to filter out.

    The defaults are chosen on real judgments, half of the positives hidden. The first ten ranks that are left were as
    often good as not, wherever they were judged.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    negatives: int = Field(default=4, ge=1, le=100, description="Mined negatives of a query from each source, at most.")
    first: int = Field(default=11, ge=1, le=1000, description="First rank to take negatives from.")
    last: int = Field(default=60, ge=1, le=1000, description="Last rank to take negatives from.")
    relevance: float = Field(
        default=POOR, ge=0, le=1, description="Relevance, 0 to 1, above which a judged product is no negative."
    )
    overlap: float = Field(
        default=0.7, gt=0, le=1, description="Share of common words at which two titles count as the same product."
    )
    similarity: float = Field(
        default=0.9, gt=0, le=2, description="Share of the positives' mean cosine at which a product is no negative."
    )
    margin: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="A negative's score by the teacher has to be lower than the positives' by this.",
    )
    seed: int = Field(default=0, ge=0, description="Seed of all random choices; a recipe takes another for each round.")

    @model_validator(mode="after")
    def _window(self) -> "Mining":
        if self.first > self.last:
            raise ValueError(f"the ranks to draw from begin at {self.first} and end at {self.last}; give last >= first")
        return self


@dataclass(frozen=True, slots=True)
class MiningResult:
    """A table of `NEGATIVES_SCHEMA`, the number of candidates, and how many of them each rule in turn filtered out."""

    table: pa.Table
    candidates: int
    held_off: dict[str, int]


def group_by_query(table: pa.Table) -> dict[str, list[str]]:
    """The products of each query, best rank first, of a table of `NEGATIVES_SCHEMA`."""
    result: dict[str, list[str]] = {}
    table = table.sort_by("rank")
    for query, product in zip(table["query"].to_pylist(), table["product_id"].to_pylist(), strict=True):
        result.setdefault(query, []).append(product)
    return result


def mine(
    judged: JudgedQueries,
    products: Products,
    sources: Mapping[str, RetrievedProducts],
    settings: Mining,
    similarity: PairScores | None = None,
    teacher: PairScores | None = None,
) -> MiningResult:
    """Negatives of the queries that have a product judged good.

    `sources` has the retrieved products of the queries of `judged`, in order. `similarity` is the towers' cosine, and
    filters out products close to the positives' (de Souza Moreira et al., "NV-Retriever", 2024, arXiv 2407.15831).
    `teacher` is a cross-encoder's score from 0 to 1, only of candidates that the other rules leave (Qu et al.,
    "RocketQA", 2021, arXiv 2010.08191). Raises FeedError when no query has a product judged good.
    """
    random = np.random.default_rng(settings.seed)
    judgments = _judged_pairs(judged, products)
    positives = judgments[judgments["relevance"] >= GOOD]
    if not len(positives):
        raise FeedError(f"no query of split {judged.split} has a good product of the catalog; nothing to mine for")
    pairs = _candidate_pairs(sources, settings, len(products.ids))
    pairs = pairs[np.isin(pairs["query"], positives["query"])]
    candidates = len(pairs)
    held: dict[str, int] = {}

    def keep(rule: str, off: NDArray[np.bool_]) -> None:
        nonlocal pairs
        held[rule], pairs = int(off.sum()), pairs[~off]

    keep("judged", judged_above(pairs, judgments, settings.relevance, len(products.ids)))
    keep("twin", find_twins(pairs, positives, products, settings.overlap))
    if similarity:
        limits = settings.similarity * mean_positive_scores(positives, similarity, len(judged.queries))
        keep("similar", similarity(pairs["query"], pairs["row"]) > limits[pairs["query"]])
    pairs = pairs[random.permutation(len(pairs))]
    if teacher:
        pairs = keep_first(pairs, settings.negatives * _SPARE)
        limits = mean_positive_scores(positives, teacher, len(judged.queries)) - settings.margin
        keep("teacher", teacher(pairs["query"], pairs["row"]) > limits[pairs["query"]])
    pairs = keep_first(pairs, settings.negatives)
    return MiningResult(
        _make_table(np.sort(pairs, order=["query", "source", "rank"]), judged, products, list(sources)),
        candidates,
        held,
    )


def judged_above(pairs: NDArray, judgments: NDArray, relevance: float, products: int) -> NDArray[np.bool_]:
    """Which pairs, shape (n,), are judged above `relevance`; `products` is the number of products."""
    above = judgments[judgments["relevance"] > relevance]
    return np.isin(_pair_keys(pairs, products), _pair_keys(above, products))


def find_twins(pairs: NDArray, positives: NDArray, products: Products, overlap: float) -> NDArray[np.bool_]:
    """Which pairs, shape (n,), are about a product nearly the same as a positive of their query."""
    starts = np.searchsorted(positives["query"], pairs["query"], "left")
    counts = np.searchsorted(positives["query"], pairs["query"], "right") - starts
    result = np.zeros(len(pairs), bool)
    for turn in range(counts.max(initial=0)):  # the pairs with the first positive of their query, the second, ...
        places = np.flatnonzero((counts > turn) & ~result)
        others = positives["row"][starts[places] + turn]
        result[places] = products.twins(pairs["row"][places], others, overlap)
    return result


def mean_positive_scores(positives: NDArray, scores: PairScores, queries: int) -> NDArray[np.float64]:
    """The mean score of each query's positives, shape (queries,); NaN, which filters nothing out, where it has none."""
    values = scores(positives["query"], positives["row"])
    with np.errstate(invalid="ignore"):
        total, count = (np.bincount(positives["query"], weights, queries) for weights in (values, None))
        return total / count


def keep_first(pairs: NDArray, count: int) -> NDArray:
    """The first `count` pairs of each query and source, in their order."""
    order = np.lexsort((pairs["source"], pairs["query"]))
    query, source = pairs["query"][order], pairs["source"][order]
    new = np.ones(len(order), bool)
    new[1:] = (query[1:] != query[:-1]) | (source[1:] != source[:-1])
    starts = np.flatnonzero(new)
    turns = np.arange(len(order)) - np.repeat(starts, np.diff([*starts, len(order)]))
    return pairs[np.sort(order[turns < count])]


def _judged_pairs(judged: JudgedQueries, products: Products) -> NDArray:
    """The judgments of products of the catalog, by query."""
    entries = [
        (query, products.rows[product], relevance)
        for query, graded in enumerate(judged.queries.values())
        for product, relevance in graded.items()
        if product in products.rows
    ]
    return np.array(entries, _JUDGED)


def _pair_keys(pairs: NDArray, products: int) -> NDArray[np.int64]:
    """One number for each pair, shape (n,)."""
    return pairs["query"] * products + pairs["row"]


def _candidate_pairs(sources: Mapping[str, RetrievedProducts], settings: Mining, products: int) -> NDArray:
    """The candidates in the window of ranks, each once: for a product from two sources, the first one counts."""
    parts = []
    for number, source in enumerate(sources.values()):
        rows = source.rows[:, settings.first - 1 : settings.last]
        query, place = np.nonzero(rows >= 0)
        part = np.empty(len(query), _PAIR)
        part["query"], part["row"], part["source"] = query, rows[query, place], number
        part["rank"] = settings.first + place
        part["score"] = source.scores[query, settings.first - 1 + place]
        parts.append(part)
    pairs = np.concatenate(parts)
    return pairs[np.sort(np.unique(_pair_keys(pairs, products), return_index=True)[1])]


def _make_table(pairs: NDArray, judged: JudgedQueries, products: Products, sources: list[str]) -> pa.Table:
    queries = list(judged.queries)
    columns = [
        [queries[i] for i in pairs["query"]],
        [products.ids[i] for i in pairs["row"]],
        [sources[i] for i in pairs["source"]],
        pairs["rank"],
        pairs["score"],
    ]
    return pa.table(
        [pa.array(*column) for column in zip(columns, NEGATIVES_SCHEMA.types, strict=True)], schema=NEGATIVES_SCHEMA
    )
