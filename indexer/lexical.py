"""Makes the lexical index of a catalog: terms of each field, and their BM25 in each product."""

import logging
import math
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
from numpy.typing import NDArray

from catalog.table import ProductTable
from core.manifest import LexicalReport
from core.progress import Report, ignore
from engine.lexical.dictionary import may_be_misspelt, unit_term, write_terms
from engine.lexical.index import CODES, FORMAT, SYNONYMS_FILE, UNITS, field_files
from indexer.compounds import Compounds, base_terms
from indexer.texts import Texts
from text.scripts import check_segmenter
from text.synonyms import Synonyms
from text.terms import COMPOUNDING, Analyser, Word

# Below the usual 1.2: that a word stands twice in a product's few says little (Home Depot's validation queries).
_K1, _B = 0.6, 0.75
_EVERY = 1000

logging.getLogger("bm25s").setLevel(logging.WARNING)  # it shows what it does to whoever runs it


def _attributes(row: Mapping[str, Any]) -> Iterator[str | None]:
    yield from (row["color"], row["size"], row["material"])
    yield from (value for _, value in row["attributes"] or ())


# What each field of the index holds of a product.
FIELDS: dict[str, Callable[[Mapping[str, Any]], Iterator[str | None]]] = {
    "title": lambda row: iter([row["title"]]),
    "brand": lambda row: iter([row["brand"]]),
    "product_type": lambda row: iter([row["product_type"]]),
    "attributes": _attributes,
    "description": lambda row: iter([row["description"]]),
    CODES: lambda row: iter([row["id"], row["gtin"]]),
}
# How much they count. Words of a description say less of what a product is (CrowdFlower: nDCG@10 .768 at 0.3).
WEIGHTS = {
    "title": 1.0,
    "brand": 0.5,
    "product_type": 0.5,
    "attributes": 0.4,
    "description": 0.3,
    CODES: 1.0,
    UNITS: 0.0,
}
# Fields whose quantities are the product's own; a description also tells of what it goes with.
_STATING = ("title", "attributes")
# Where a code that stands alone names the product; in the midst of other words it may be what the product goes with.
_NAMING = ("title", "attributes")
# Fields whose words are split where they are compounds: a brand's name is its own.
_COMPOUNDED = ("title", "product_type", "attributes", "description")
# The field that bare texts are.
_TEXT = "title"
_COLUMNS = ("id", "title", "description", "brand", "product_type", "color", "size", "material", "gtin", "attributes")


def index_words(
    columns: ProductTable, language: str, synonyms: Synonyms, folder: Path, report: Report
) -> LexicalReport:
    """Writes a lexical index into `folder`, which is emptied first, row i being product i; fields that hold nothing are
    left out.

    Memory: 4 bytes a term and product, some 40 for the field at hand.
    """
    analyser = Analyser(language)
    products = (_product_words(columns.row(row, _COLUMNS), analyser) for row in range(len(columns)))
    return _write(products, len(columns), analyser, synonyms, folder, report)


def index_texts(texts: Sequence[str], language: str, folder: Path, report: Report = ignore) -> LexicalReport:
    """The same of n bare texts, row i being text i, in one field."""
    analyser = Analyser(language)
    products = ({_TEXT: analyser.words(text)} for text in texts)
    return _write(products, len(texts), analyser, Synonyms(), folder, report)


def _write(
    products: Iterable[Mapping[str, Sequence[Word]]],
    count: int,
    analyser: Analyser,
    synonyms: Synonyms,
    folder: Path,
    report: Report,
) -> LexicalReport:
    """Of `count` products, each the words of its fields."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / SYNONYMS_FILE).write_text(synonyms.model_dump_json() + "\n", "utf-8")
    numbers: dict[str, int] = {}
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    compounds = Compounds(analyser) if analyser.language in COMPOUNDING else None
    found = _terms(products, count, numbers, spellings, compounds, report)
    check_segmenter(numbers, analyser.language)
    within = compounds.split() if compounds else {}
    parts = {numbers[term]: _numbered(names, numbers) for term, names in within.items() if term in numbers}
    fields = [field for field, (_, lengths) in found.items() if any(lengths)]
    vocabulary = sorted(numbers, key=lambda term: term.encode())
    write_terms(vocabulary, spellings, folder)
    places = np.empty(len(numbers), np.int64)
    places[[numbers[term] for term in vocabulary]] = np.arange(len(vocabulary))
    bases = {
        int(places[numbers[part]]): int(places[numbers[word]])
        for part, word in base_terms(within).items()
        if part in numbers and word in numbers
    }
    for field in fields:
        terms, lengths = found[field]
        texts = Texts(np.concatenate(terms), np.asarray(lengths))
        if parts and field in _COMPOUNDED:
            texts = texts.with_parts(parts, len(numbers))
        _write_field(
            Texts(places[texts.terms], texts.lengths), np.asarray(lengths), len(vocabulary), bases, field, folder
        )
    return LexicalReport(
        weights={field: WEIGHTS[field] for field in fields},
        terms=len(vocabulary),
        synonyms=len(synonyms.groups),
        rewrites=len(synonyms.rewrites),
        format=FORMAT,
    )


def _terms(
    products: Iterable[Mapping[str, Sequence[Word]]],
    count: int,
    numbers: dict[str, int],
    spellings: dict[str, Counter[str]],
    compounds: Compounds | None,
    report: Report,
) -> dict[str, tuple[list[np.ndarray], list[int]]]:
    """Of each field, the numbers of all its terms, product after product, and how many each product has.

    Counts how each term is spelt.
    """
    found: dict[str, tuple[list[np.ndarray], list[int]]] = {field: ([], []) for field in WEIGHTS}
    for row, words in enumerate(products):
        for word in chain.from_iterable(words.values()):
            if may_be_misspelt(word.term):
                spellings[word.term][word.text] += 1
        if compounds:
            for field, many in words.items():
                compounds.count((word.text for word in many if not word.stop), brand=field == "brand")
        for field, terms in _product_terms(words).items():
            found[field][0].append(
                np.fromiter((numbers.setdefault(t, len(numbers)) for t in terms), np.int32, len(terms))
            )
            found[field][1].append(len(terms))
        if row % _EVERY == 0:
            report(row, count)
    report(count, count)
    return found


def _product_words(product: Mapping[str, Any], analyser: Analyser) -> dict[str, list[Word]]:
    found = {field: [analyser.words(text) for text in texts(product) if text] for field, texts in FIELDS.items()}
    for field in _NAMING:
        found[CODES] += [words for words in found[field] if len(words) == 1 and words[0].is_code]
    return {field: list(chain.from_iterable(texts)) for field, texts in found.items()}


def _product_terms(words: Mapping[str, Sequence[Word]]) -> dict[str, list[str]]:
    terms = {field: [term for word in found for term in word.held] for field, found in words.items()}
    stated = {word.unit: None for field in _STATING for word in words.get(field, ()) if word.unit}
    return terms | {UNITS: list(map(unit_term, stated))}


def _numbered(names: Sequence[str], numbers: dict[str, int]) -> NDArray[np.int64]:
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)


def _write_field(
    texts: Texts, lengths: NDArray[np.int64], vocabulary: int, bases: Mapping[int, int], field: str, folder: Path
) -> None:
    """BM25 as Lucene has it (Lù, "BM25S", 2024, arXiv 2407.03618), among products that have the field.

    `lengths` are those without words within compounds. Such a word is as rare as the word alone, of which `bases` has
    the number, where that is the commoner one: a compound never counts more.
    """
    used, local = np.unique(texts.terms, return_inverse=True)
    holding = np.flatnonzero(texts.lengths)
    documents = [part.tolist() for part in np.split(local, np.cumsum(texts.lengths[holding])[:-1])]
    index = bm25s.BM25(method="lucene", k1=_K1, b=_B)
    index.index((documents, {int(number): place for place, number in enumerate(used)}), show_progress=False)
    held = np.zeros(vocabulary, np.int64)
    held[used] = np.diff(index.scores["indptr"])[: len(used)]
    ends, rows, scores, many = field_files(field)
    starts = np.concatenate([[0], np.cumsum(held)])
    values = index.scores["data"].astype(np.float32)
    for part, word in bases.items():
        if held[word] > held[part] > 0:
            values[starts[part] : starts[part + 1]] *= _rarity(held[word], len(holding)) / _rarity(
                held[part], len(holding)
            )
    np.save(folder / ends, starts)
    np.save(folder / rows, holding[index.scores["indices"]].astype(np.int32))
    np.save(folder / scores, values)
    np.save(folder / many, lengths.astype(np.int32))


def _rarity(held: int, products: int) -> float:
    return math.log(1 + (products - held + 0.5) / (held + 0.5))
