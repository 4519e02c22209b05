"""Builds the lexical index of a catalog: the terms of each field, and their BM25 in each product."""

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
from indexer.compounds import CompoundSplitter, base_terms
from indexer.texts import TermSequences
from text.scripts import check_segmenter
from text.synonyms import Synonyms
from text.terms import COMPOUNDING, Analyser, Word

# Below the usual 1.2: a repeated word in a short text adds little information (Home Depot's validation queries).
_K1, _B = 0.6, 0.75
_REPORT_ROWS = 1000

logging.getLogger("bm25s").setLevel(logging.WARNING)  # it reports its progress on the terminal


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
_SPLIT_FIELDS = ("title", "product_type", "attributes", "description")
# The field of bare texts.
_TEXT_FIELD = "title"
_COLUMNS = ("id", "title", "description", "brand", "product_type", "color", "size", "material", "gtin", "attributes")


def index_words(
    columns: ProductTable, language: str, synonyms: Synonyms, folder: Path, report: Report
) -> LexicalReport:
    """Writes a lexical index into `folder`, which is emptied first; row i is product i, and empty fields are left out.

    Memory: 4 bytes a term and product, some 40 for the field at hand.
    """
    analyser = Analyser(language)
    products = (_product_words(columns.row(row, _COLUMNS), analyser) for row in range(len(columns)))
    return _write_index(products, len(columns), analyser, synonyms, folder, report)


def index_texts(texts: Sequence[str], language: str, folder: Path, report: Report = ignore) -> LexicalReport:
    """Writes a lexical index of n bare texts in one field; row i is text i."""
    analyser = Analyser(language)
    products = ({_TEXT_FIELD: analyser.words(text)} for text in texts)
    return _write_index(products, len(texts), analyser, Synonyms(), folder, report)


def _write_index(
    products: Iterable[Mapping[str, Sequence[Word]]],
    count: int,
    analyser: Analyser,
    synonyms: Synonyms,
    folder: Path,
    report: Report,
) -> LexicalReport:
    """Writes the index of `count` products, each given by the words of its fields."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / SYNONYMS_FILE).write_text(synonyms.model_dump_json() + "\n", "utf-8")
    numbers: dict[str, int] = {}
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    compounds = CompoundSplitter(analyser) if analyser.language in COMPOUNDING else None
    field_terms = _count_terms(products, count, numbers, spellings, compounds, report)
    check_segmenter(numbers, analyser.language)
    within = compounds.split() if compounds else {}
    parts = {numbers[term]: _term_numbers(names, numbers) for term, names in within.items() if term in numbers}
    fields = [field for field, (_, lengths) in field_terms.items() if any(lengths)]
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
        terms, lengths = field_terms[field]
        texts = TermSequences(np.concatenate(terms), np.asarray(lengths))
        if parts and field in _SPLIT_FIELDS:
            texts = texts.with_parts(parts, len(numbers))
        _write_field(
            TermSequences(places[texts.terms], texts.lengths),
            np.asarray(lengths),
            len(vocabulary),
            bases,
            field,
            folder,
        )
    return LexicalReport(
        weights={field: WEIGHTS[field] for field in fields},
        terms=len(vocabulary),
        synonyms=len(synonyms.groups),
        rewrites=len(synonyms.rewrites),
        format=FORMAT,
    )


def _count_terms(
    products: Iterable[Mapping[str, Sequence[Word]]],
    count: int,
    numbers: dict[str, int],
    spellings: dict[str, Counter[str]],
    compounds: CompoundSplitter | None,
    report: Report,
) -> dict[str, tuple[list[np.ndarray], list[int]]]:
    """For each field, the numbers of all its terms, product after product, and how many each product has.

    Counts the spellings of each term, too.
    """
    result: dict[str, tuple[list[np.ndarray], list[int]]] = {field: ([], []) for field in WEIGHTS}
    for row, words in enumerate(products):
        for word in chain.from_iterable(words.values()):
            if may_be_misspelt(word.term):
                spellings[word.term][word.text] += 1
        if compounds:
            for field, many in words.items():
                compounds.count((word.text for word in many if not word.stop), brand=field == "brand")
        for field, terms in _product_terms(words).items():
            result[field][0].append(
                np.fromiter((numbers.setdefault(t, len(numbers)) for t in terms), np.int32, len(terms))
            )
            result[field][1].append(len(terms))
        if row % _REPORT_ROWS == 0:
            report(row, count)
    report(count, count)
    return result


def _product_words(product: Mapping[str, Any], analyser: Analyser) -> dict[str, list[Word]]:
    fields = {field: [analyser.words(text) for text in texts(product) if text] for field, texts in FIELDS.items()}
    for field in _CODE_FIELDS:
        fields[CODES] += [words for words in fields[field] if len(words) == 1 and words[0].is_code]
    return {field: list(chain.from_iterable(texts)) for field, texts in fields.items()}


def _product_terms(words: Mapping[str, Sequence[Word]]) -> dict[str, list[str]]:
    terms = {field: [term for word in field_words for term in word.all_terms] for field, field_words in words.items()}
    stated = {word.unit: None for field in _QUANTITY_FIELDS for word in words.get(field, ()) if word.unit}
    return terms | {UNITS: list(map(unit_term, stated))}


def _term_numbers(names: Sequence[str], numbers: dict[str, int]) -> NDArray[np.int64]:
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)


def _write_field(
    texts: TermSequences,
    lengths: NDArray[np.int64],
    vocabulary: int,
    bases: Mapping[int, int],
    field: str,
    folder: Path,
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
    frequencies = np.zeros(vocabulary, np.int64)
    frequencies[used] = np.diff(index.scores["indptr"])[: len(used)]
    ends, rows, scores, many = field_files(field)
    starts = np.concatenate([[0], np.cumsum(frequencies)])
    values = index.scores["data"].astype(np.float32)
    for part, word in bases.items():
        if frequencies[word] > frequencies[part] > 0:
            values[starts[part] : starts[part + 1]] *= _inverse_frequency(
                frequencies[word], len(holding)
            ) / _inverse_frequency(frequencies[part], len(holding))
    np.save(folder / ends, starts)
    np.save(folder / rows, holding[index.scores["indices"]].astype(np.int32))
    np.save(folder / scores, values)
    np.save(folder / many, lengths.astype(np.int32))


def _inverse_frequency(frequency: int, products: int) -> float:
    return math.log(1 + (products - frequency + 0.5) / (frequency + 0.5))
