"""Titles and attributes turned into queries, so that training covers unjudged products too."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np
import pyarrow as pa
from bm25s import stopwords
from pydantic import BaseModel, ConfigDict, Field

from core.strings import query_key

PSEUDO_SCHEMA = pa.schema([("query", pa.string()), ("product_id", pa.string())])

_WORD = re.compile(r"\w[\w/.'-]*\w|\w")
# Letters and digits mixed, such as dcd771c2 or sc-141; but not a number and its unit, such as 12-gauge or 1080p.
_MODEL = re.compile(r"(?=.*\d)(?=.*[^\W\d_])(?!\d+([/.]\d+)*-?[^\W\d_]+$)[\w/-]{5,}")
_TYPE_LEVELS = re.compile(r"\s*[>/|]\s*")
# Of every language that bm25s lists; a query neither begins nor ends with one.
_STOP = frozenset(word for name, words in vars(stopwords).items() if name.startswith("STOPWORDS_") for word in words)
# A model number that more products have is a series, or a size.
_MODEL_SHARED = 3
_FIELDS = ("id", "title", "brand", "product_type", "color")


class PseudoQuerySettings(BaseModel):
    """How many queries to make up, and of what length in words."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    queries: int = Field(default=10_000, ge=1, description="Queries to make up, at most.")
    per_product: int = Field(default=2, ge=1, le=10, description="Queries for each product, at most.")
    shortest: int = Field(default=2, ge=1, le=10, description="Fewest words of a title in a query.")
    longest: int = Field(default=4, ge=1, le=10, description="Most words of a title in a query.")
    common: float = Field(
        default=0.01, gt=0, le=1, description="Share of the products that may hold a query's rarest word."
    )
    seed: int = Field(default=0, ge=0, description="Seed of all random choices.")


@dataclass(frozen=True, slots=True)
class WordCounts:
    """How many of `total` products hold each word in their title."""

    holders: Counter[str]
    total: int

    def idf(self, word: str) -> float:
        """ln(N / n), the inverse document frequency of Sparck Jones (1972); n at least 1."""
        return log(self.total / max(1, self.holders[word]))


def pseudo_queries(
    catalog: pa.Table, known: Collection[str], settings: PseudoQuerySettings, forbidden: Collection[str] = frozenset()
) -> pa.Table:
    """Queries for the products whose ids are not `known`, as a table of `PSEUDO_SCHEMA`; each query once.

    `catalog` has columns of `CATALOG_SCHEMA`, id and title at least. Products come from each product type
    in turn, so that rare types are not outweighed. No query's key is among `forbidden`, those to validate and test on.
    """
    random = np.random.default_rng(settings.seed)
    table = catalog.select([name for name in _FIELDS if name in catalog.column_names])
    products = [row for batch in table.to_batches() for row in batch.to_pylist()]
    counts: Counter[str] = Counter()
    for product in products:
        counts.update(set(words_of(product["title"])))
    words = WordCounts(counts, len(products))
    without = [product for product in products if product["id"] not in known]
    rows: list[tuple[str, str]] = []
    used = set(forbidden)
    for product in in_turn(without, random):
        if len(rows) >= settings.queries:
            break
        queries = [query for query in _drawn(product, words, settings, random) if query not in used]
        used.update(queries)
        rows += [(query, product["id"]) for query in queries]
    columns = zip(*rows[: settings.queries], strict=True) if rows else ([], [])
    return pa.table([pa.array(column, pa.string()) for column in columns], schema=PSEUDO_SCHEMA)


def attribute_queries(catalog: pa.Table, least: int = 2, most: int = 200) -> dict[str, list[str]]:
    """Queries of a brand or a colour with a product type, and the ids of all products that have both.

    Those that fewer than `least` or more than `most` products have are left out.
    """
    names = [name for name in ("brand", "color") if name in catalog.column_names]
    if "product_type" not in catalog.column_names:
        return {}
    result: dict[str, list[str]] = {}
    for row in catalog.select(["id", "product_type", *names]).to_pylist():
        kind = last_level(row["product_type"])
        for name in names if kind else ():
            if row[name]:
                result.setdefault(query_key(f"{row[name]} {kind}"), []).append(row["id"])
    return {query: products for query, products in result.items() if least <= len(products) <= most}


def words_of(title: str) -> list[str]:
    """A title's words as queries have them: lower case, sizes and model numbers whole."""
    return _WORD.findall(query_key(title))


def in_turn(products: Sequence[dict[str, Any]], random: np.random.Generator) -> Iterable[dict[str, Any]]:
    """The products at random, one of each product type after another until none is left."""
    types: Counter[str | None] = Counter()
    turns: list[tuple[int, int]] = []
    for place in random.permutation(len(products)):
        kind = products[place].get("product_type")
        turns.append((types[kind], int(place)))
        types[kind] += 1
    return (products[place] for _, place in sorted(turns, key=lambda turn: turn[0]))


def _drawn(
    product: dict[str, Any], words: WordCounts, settings: PseudoQuerySettings, random: np.random.Generator
) -> list[str]:
    """Different queries of one product: each kind that it has is as likely, then its queries by their weight."""
    kinds = [kind for kind in (title_queries(product, words, settings), field_queries(product, words)) if kind]
    chosen: dict[str, None] = {}
    for _ in range(settings.per_product if kinds else 0):
        kind = kinds[random.integers(len(kinds))]
        weights = np.array(list(kind.values()))
        chosen[list(kind)[random.choice(len(kind), p=weights / weights.sum())]] = None
    return list(chosen)


def title_queries(product: dict[str, Any], words: WordCounts, settings: PseudoQuerySettings) -> dict[str, float]:
    """Words that stand together in the title, and as weight their mean idf.

    They begin and end with an informative word, and one of them is rare enough.
    """
    return phrase_queries(words_of(product["title"]), words, settings)


def phrase_queries(title: list[str], words: WordCounts, settings: PseudoQuerySettings) -> dict[str, float]:
    """The same of a title that is given by its words."""
    result: dict[str, float] = {}
    for start in range(len(title)):
        for stop in range(start + settings.shortest, min(len(title), start + settings.longest) + 1):
            part = title[start:stop]
            rarest = min(words.holders[word] for word in part)
            if _whole(title, start, stop) and rarest <= max(1, settings.common * words.total):
                result[" ".join(part)] = sum(map(words.idf, part)) / len(part) + 1e-6
    return result


def _whole(title: list[str], start: int, stop: int) -> bool:
    """Whether the part makes sense as a query: no unit without its number, no number without a word after it."""
    first, last = title[start], title[stop - 1]
    if {first, last} & _STOP or (start and _has_digit(title[start - 1]) and len(first) <= 3):
        return False
    return len(last) >= 3 and not _has_digit(last) and (len(first) >= 3 or _has_digit(first))


def field_queries(product: dict[str, Any], words: WordCounts) -> dict[str, float]:
    """Brand and type, colour and type, the model number: each that the product has, with weight 1."""
    kind = last_level(product.get("product_type"))
    parts = [f"{product[name]} {kind}" for name in ("brand", "color") if kind and product.get(name)]
    return {query_key(text): 1.0 for text in [*parts, *model_numbers(words_of(product["title"]), words)]}


def last_level(product_type: str | None) -> str:
    """The last part of a path of product types, such as Drills of Tools > Drills; empty without one."""
    return _TYPE_LEVELS.split(product_type or "")[-1]


def model_numbers(title: list[str], words: WordCounts) -> list[str]:
    """Words of a title that look like model numbers, and that hardly another product has."""
    return [word for word in title if _MODEL.fullmatch(word) and words.holders[word] <= _MODEL_SHARED]


def is_stop_word(word: str) -> bool:
    """Whether the word means little in any language that has a list of such words."""
    return word in _STOP


def _has_digit(word: str) -> bool:
    return any(map(str.isdigit, word))
