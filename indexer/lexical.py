"""Builds the lexical index of a catalog: the terms of each field, and their BM25 in each product."""

import logging
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path

import bm25s
import numpy as np
from numpy.typing import NDArray

from catalog.table import ProductTable
from core.manifest import LexicalReport
from core.progress import Report, ignore
from engine.lexical.dictionary import may_be_misspelt, write_terms
from engine.lexical.index import FORMAT, SYNONYMS_FILE, field_files
from engine.lexical.parts import write_parts
from engine.lexical.statistics import K1, B, FieldStatistics, inverse_frequency, write_statistics
from indexer.compounds import CompoundSplitter, base_terms
from indexer.product_words import SPLIT_FIELDS, WEIGHTS, WORD_COLUMNS, product_terms, product_words
from indexer.texts import TermSequences
from text.scripts import check_segmenter
from text.synonyms import Synonyms
from text.terms import COMPOUNDING, Analyser, Word

_REPORT_ROWS = 1000

logging.getLogger("bm25s").setLevel(logging.WARNING)  # it reports its progress on the terminal

# The field of bare texts.
_TEXT_FIELD = "title"


def index_words(
    columns: ProductTable, language: str, synonyms: Synonyms, folder: Path, report: Report
) -> LexicalReport:
    """Writes a lexical index into `folder`, which is emptied first; row i is product i, and empty fields are left out.

    Memory: 4 bytes a term and product, some 40 for the field at hand.
    """
    analyser = Analyser(language)
    products = (product_words(columns.row(row, WORD_COLUMNS), analyser) for row in range(len(columns)))
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
    statistics = {}
    for field in fields:
        terms, lengths = field_terms[field]
        texts = TermSequences(np.concatenate(terms), np.asarray(lengths))
        if parts and field in SPLIT_FIELDS:
            texts = texts.with_parts(parts, len(numbers))
        statistics[field] = _write_field(
            TermSequences(places[texts.terms], texts.lengths),
            np.asarray(lengths),
            len(vocabulary),
            bases,
            field,
            folder,
        )
    write_statistics(statistics, folder)
    write_parts({int(places[term]): places[own].tolist() for term, own in parts.items()}, folder)
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
        for field, terms in product_terms(words).items():
            result[field][0].append(
                np.fromiter((numbers.setdefault(t, len(numbers)) for t in terms), np.int32, len(terms))
            )
            result[field][1].append(len(terms))
        if row % _REPORT_ROWS == 0:
            report(row, count)
    report(count, count)
    return result


def _term_numbers(names: Sequence[str], numbers: dict[str, int]) -> NDArray[np.int64]:
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)


def _write_field(
    texts: TermSequences,
    lengths: NDArray[np.int64],
    vocabulary: int,
    bases: Mapping[int, int],
    field: str,
    folder: Path,
) -> FieldStatistics:
    """BM25 as Lucene has it (Lù, "BM25S", 2024, arXiv 2407.03618), among products that have the field, whose statistics
    it returns.

    `lengths` are those without words within compounds. Such a word is as rare as the word alone, of which `bases` has
    the number, where that is the commoner one: a compound never counts more.
    """
    used, local = np.unique(texts.terms, return_inverse=True)
    holding = np.flatnonzero(texts.lengths)
    documents = [part.tolist() for part in np.split(local, np.cumsum(texts.lengths[holding])[:-1])]
    index = bm25s.BM25(method="lucene", k1=K1, b=B)
    index.index((documents, {int(number): place for place, number in enumerate(used)}), show_progress=False)
    frequencies = np.zeros(vocabulary, np.int64)
    frequencies[used] = np.diff(index.scores["indptr"])[: len(used)]
    ends, rows, scores, many = field_files(field)
    starts = np.concatenate([[0], np.cumsum(frequencies)])
    values = index.scores["data"].astype(np.float32)
    for part, word in bases.items():
        if frequencies[word] > frequencies[part] > 0:
            rarity, own = inverse_frequency(frequencies[[word, part]], len(holding))
            values[starts[part] : starts[part + 1]] *= rarity / own
    np.save(folder / ends, starts)
    np.save(folder / rows, holding[index.scores["indices"]].astype(np.int32))
    np.save(folder / scores, values)
    np.save(folder / many, lengths.astype(np.int32))
    return FieldStatistics(len(holding), float(texts.lengths.sum()) / len(holding))
