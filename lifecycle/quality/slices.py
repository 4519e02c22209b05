"""The slices of queries that measures are reported for: by a query's form, and by its products' part in training."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc
from rapidfuzz import process
from rapidfuzz.distance import OSA

from catalog.table import ProductTable
from evaluation.measures import Grades

_TEXTS = ("title", "description", "brand", "product_type", "color", "size", "material")
_WORD = re.compile(r"[^\W\d_]+")
_NUMBER = re.compile(r"\d")
_UNITS = (
    r"mm|cm|m|km|in|inch|inches|ft|foot|feet|yd|mg|g|kg|oz|lb|lbs|ml|cl|l|gal|gallon|v|volts?|w|watts?|kw|"
    r"a|amps?|mah|ah|hz|btu|gb|tb|mb|psi|hp|ton|pack|pcs|k|°"
)
_UNIT = re.compile(rf"\d\s*-?\s*(?:(?:{_UNITS})\b|[\"'″′%])|\d\s*[x×]\s*\d", re.IGNORECASE)  # noqa: RUF001
_RARE = 5  # products: a model has learned little about a word in so few
_SHORTEST, _LONG = 4, 8  # letters: shorter words are near too many others, long ones may have two slips

Slices = dict[str, set[str]]  # name -> queries


def slice_queries(
    grades: Grades, columns: ProductTable, trained: Iterable[str], frequencies: Mapping[str, float] | None = None
) -> Slices:
    """The queries of each slice that is not empty.

    `trained` are the products judged in training; `frequencies` how often each query occurs, without which there are
    no slices by frequency.
    """
    words = vocabulary(columns)
    misspelt = misspelt_queries(grades, words)
    types = _types(grades, columns)
    judged = frozenset(trained)
    result: Slices = defaultdict(set)
    for query, products in grades.items():
        result[_length(query)].add(query)
        result["misspelt" if query in misspelt else "not misspelt"].add(query)
        result["a number" if _NUMBER.search(query) else "no number"].add(query)
        if any(0 < words.get(word, 0) <= _RARE for word in _WORD.findall(query.lower())):
            result["a rare word"].add(query)
        if _UNIT.search(query):
            result["a measure with its unit"].add(query)
        if judged.isdisjoint(products):
            result["products unseen in training"].add(query)
        if query in types:
            result[f"type {types[query]}"].add(query)
    return dict(result) | (_thirds(grades, frequencies) if frequencies else {})


def vocabulary(columns: ProductTable) -> dict[str, int]:
    """The words of the catalog's texts, letters only, in lower case, and how often each occurs."""
    words: Counter[str] = Counter()
    for batch in columns.batches():
        for name in _TEXTS:
            split = pc.split_pattern_regex(pc.utf8_lower(batch.column(name).cast(pa.string())), r"[^\p{L}]+")
            counted = pc.value_counts(pc.list_flatten(split).drop_null())
            words.update(dict(zip(*(counted.field(i).to_pylist() for i in range(2)), strict=True)))
    del words[""]
    return dict(words)


def misspelt_queries(queries: Iterable[str], words: Collection[str]) -> set[str]:
    """Queries with a word that the vocabulary lacks but has with one typing error corrected, or two in a long word.

    A slip is a letter added, lost, changed, or changed places with its neighbour (optimal string alignment). Words of
    fewer than four letters are not checked, nor are plurals of words in the vocabulary.
    """
    by_length: dict[int, list[str]] = defaultdict(list)
    for word in words:
        by_length[len(word)].append(word)

    @cache
    def is_correct(word: str) -> bool:
        return word in words or word.removesuffix("s") in words or not _has_neighbour(word, by_length)

    return {query for query in queries if not all(is_correct(word) for word in _WORD.findall(query.lower()))}


def _has_neighbour(word: str, by_length: Mapping[int, list[str]]) -> bool:
    if len(word) < _SHORTEST:
        return False
    slips = 2 if len(word) >= _LONG else 1
    near = (by_length.get(len(word) + more, ()) for more in range(-slips, slips + 1))
    return any(process.extractOne(word, choices, scorer=OSA.distance, score_cutoff=slips) for choices in near)


def _length(query: str) -> str:
    words = len(query.split())
    return "1 word" if words <= 1 else "2-3 words" if words <= 3 else "4 or more words"


def _types(grades: Grades, columns: ProductTable) -> dict[str, str]:
    """The first level of the type of each query's best judged product that has one."""
    wanted = {product for products in grades.values() for product in products}
    types: dict[str, str] = {}
    for batch in columns.batches():
        pairs = zip(batch.column("id").to_pylist(), batch.column("product_type").to_pylist(), strict=True)
        types |= {product: kind.split(">")[0].strip() for product, kind in pairs if kind and product in wanted}
    result = {}
    for query, products in grades.items():
        if typed := products.keys() & types.keys():
            result[query] = types[max(typed, key=lambda product: (products[product], product))]
    return result


def _thirds(grades: Grades, frequencies: Mapping[str, float]) -> Slices:
    """The queries whose frequency is known, in three parts of equally many."""
    ordered = sorted((query for query in grades if query in frequencies), key=lambda q: (-frequencies[q], q))
    size = -(-len(ordered) // 3)
    names = ("asked often", "asked sometimes", "asked seldom")
    parts = {name: set(ordered[i * size : (i + 1) * size]) for i, name in enumerate(names)}
    return {name: part for name, part in parts.items() if part}
