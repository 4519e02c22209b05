"""The words of a product in each field of a lexical index."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from engine.lexical.dictionary import unit_term
from engine.lexical.index import CODES, UNITS
from text.terms import Analyser, Word


def _attributes(row: Mapping[str, Any]) -> Iterator[str | None]:
    yield from (row["color"], row["size"], row["material"])
    yield from (value for _, value in row["attributes"] or ())


# The texts of a product in each field of the index.
FIELDS: dict[str, Callable[[Mapping[str, Any]], Iterator[str | None]]] = {
    "title": lambda row: iter([row["title"]]),
    "brand": lambda row: iter([row["brand"]]),
    "product_type": lambda row: iter([row["product_type"]]),
    "attributes": _attributes,
    "description": lambda row: iter([row["description"]]),
    CODES: lambda row: iter([row["id"], row["gtin"]]),
}
# Weights of the fields. Words of a description are less informative (CrowdFlower: nDCG@10 .768 at 0.3).
WEIGHTS = {
    "title": 1.0,
    "brand": 0.5,
    "product_type": 0.5,
    "attributes": 0.4,
    "description": 0.3,
    CODES: 1.0,
    UNITS: 0.0,
}
# Fields whose quantities are the product's own; a description also names those of its accessories.
_QUANTITY_FIELDS = ("title", "attributes")
# Fields where a code that stands alone names the product; among other words it may name an accessory.
_CODE_FIELDS = ("title", "attributes")
# Fields whose words are split where they are compounds: a brand's name is its own.
SPLIT_FIELDS = ("title", "product_type", "attributes", "description")

# The columns that words are read of.
WORD_COLUMNS = (
    "id",
    "title",
    "description",
    "brand",
    "product_type",
    "color",
    "size",
    "material",
    "gtin",
    "attributes",
)


def product_words(product: Mapping[str, Any], analyser: Analyser) -> dict[str, list[Word]]:
    """The words of each field, in their order, of a row of the catalog's columns."""
    fields = {field: [analyser.words(text) for text in texts(product) if text] for field, texts in FIELDS.items()}
    for field in _CODE_FIELDS:
        fields[CODES] += [words for words in fields[field] if len(words) == 1 and words[0].is_code]
    return {field: list(chain.from_iterable(texts)) for field, texts in fields.items()}


def product_terms(words: Mapping[str, Sequence[Word]]) -> dict[str, list[str]]:
    """The terms of each field, without words within compounds; those of the units of quantities, too."""
    terms = {field: [term for word in field_words for term in word.all_terms] for field, field_words in words.items()}
    stated = {word.unit: None for field in _QUANTITY_FIELDS for word in words.get(field, ()) if word.unit}
    return terms | {UNITS: list(map(unit_term, stated))}
