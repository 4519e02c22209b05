"""What is suggested while a query is typed: past queries, product types, brands, titles, and phrases of them."""

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalog.table import ProductTable
from core.errors import ReleaseError
from core.formats import SUGGESTIONS
from core.manifest import SuggestionReport
from core.progress import Report
from engine.suggest.files import FILES, Entry, write_suggestions
from engine.suggest.index import SuggestionIndex
from text.completion import completion_key
from text.stop_words import stop_words

SUGGESTIONS_FOLDER = "suggestions"
# As tandem.v1.SuggestionKind numbers them.
QUERY, PRODUCT_TYPE, BRAND, TITLE, PHRASE = 1, 2, 3, 4, 5
_NAMES = {QUERY: "query", PRODUCT_TYPE: "product_type", BRAND: "brand", TITLE: "title", PHRASE: "phrase"}

LONGEST_TEXT = 100
"""Characters of a suggestion at most."""
# What a product counts beside a query that was asked once; a query counts as often as it was asked.
_WEIGHTS = {PRODUCT_TYPE: 1.0, BRAND: 1.0, TITLE: 0.05, PHRASE: 0.05}
_QUERY_PHRASE = 0.02  # what a query counts for the phrases within it
_PHRASE_WORDS = (2, 3)
_LEAST_HELD = 3  # titles or queries that have a phrase
_MOST_PHRASES, _MOST_TITLES_READ, _MOST_COUNTED = 100_000, 200_000, 2_000_000
_LEVEL = ">"
_COLUMNS = ("title", "brand", "product_type")


@dataclass(slots=True)
class _Texts:
    """Texts of one kind by their keys: how often each was seen, and how it is most often written."""

    language: str
    counts: Counter[str] = field(default_factory=Counter)
    written: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, text: str | None, count: int = 1) -> None:
        text = text.strip() if text else ""
        if 0 < len(text) <= LONGEST_TEXT and (key := completion_key(text, self.language)):
            self.counts[key] += count
            self.written.setdefault(key, Counter())[text] += count

    def entries(self, kind: int) -> Iterator[Entry]:
        weight = _WEIGHTS.get(kind, 1.0)
        for key, count in self.counts.items():
            ways = self.written[key]
            yield Entry(min(ways, key=lambda way: (-ways[way], way)), key, kind, count, weight * count)


def write_catalog_suggestions(
    table: ProductTable, language: str, queries: Mapping[str, int], folder: Path, report: Report
) -> SuggestionReport | None:
    """Writes suggestions of a catalog (language: BCP 47) and its past queries with their counts into `folder`, which is
    emptied first. None where there is nothing to suggest: then there is no folder.

    Memory: grows with different titles; phrases are counted over 200,000 titles at most.
    """
    shutil.rmtree(folder, ignore_errors=True)
    entries = suggestion_entries(table, language, queries, report)
    if not entries:
        return None
    folder.mkdir(parents=True)
    write_suggestions(entries, folder)
    counts = Counter(entry.kind for entry in entries)
    return SuggestionReport(format=SUGGESTIONS.number, entries={name: counts[kind] for kind, name in _NAMES.items()})


def suggestion_entries(table: ProductTable, language: str, queries: Mapping[str, int], report: Report) -> list[Entry]:
    """One entry a key; of several kinds the first: a query, a product type, a brand, a title, a phrase."""
    primary = language.split("-")[0].lower()
    past, types, brands, titles = (_Texts(primary) for _ in range(4))
    for query, count in queries.items():
        past.add(query, count)
    for number, row in enumerate(_rows(table)):
        titles.add(row["title"])
        brands.add(row["brand"])
        for level in dict.fromkeys((row["product_type"] or "").split(_LEVEL)):
            types.add(level)
        if number % 1000 == 0:
            report(number, len(table))
    report(len(table), len(table))
    kinds = {QUERY: past, PRODUCT_TYPE: types, BRAND: brands, TITLE: titles}
    result: dict[str, Entry] = {}
    for kind, texts in kinds.items():
        for entry in texts.entries(kind):
            result.setdefault(entry.key, entry)
    for entry in _phrases(titles.counts, past.counts, primary):
        result.setdefault(entry.key, entry)
    return list(result.values())


def past_queries(folder: Path, made: SuggestionReport) -> dict[str, int]:
    """The past queries of a release's suggestions, with their counts. Raises ReleaseError."""
    if problem := SUGGESTIONS.problem(made.format, "run `tandem index`"):
        raise ReleaseError(f"{folder}: {problem}")
    index = SuggestionIndex(folder)
    entries = map(index.entry, range(len(index)))
    return {entry.text: entry.count for entry in entries if entry.kind == QUERY}


def suggestion_files(folder: Path) -> dict[str, Path]:
    """The files that were written, by their names in a release."""
    return {f"{SUGGESTIONS_FOLDER}/{name}": folder / name for name in FILES} if folder.is_dir() else {}


def _rows(table: ProductTable) -> Iterator[Mapping[str, Any]]:
    return (table.row(row, _COLUMNS) for row in range(len(table)))


def _phrases(titles: Mapping[str, int], queries: Mapping[str, int], language: str) -> Iterator[Entry]:
    """Words that several titles or queries have in a row, those that most have; counted by titles."""
    small = stop_words(language)
    step = -(-len(titles) // _MOST_TITLES_READ) or 1
    held = _count_phrases(list(titles.items())[::step], small)
    counts_in_log = _count_phrases(queries.items(), small)
    weights: Counter[str] = Counter()
    for phrase, count in held.items():
        weights[phrase] += count * step * _WEIGHTS[PHRASE]  # type: ignore[assignment]
    for phrase, count in counts_in_log.items():
        weights[phrase] += count * _QUERY_PHRASE  # type: ignore[assignment]
    for phrase in sorted(weights, key=lambda phrase: (-weights[phrase], phrase))[:_MOST_PHRASES]:
        # Below that of a query that was asked once: nobody asked this, in the whole log.
        yield Entry(phrase, phrase, PHRASE, held[phrase] * step, weights[phrase] / (1 + weights[phrase]))


def _count_phrases(texts: Iterable[tuple[str, int]], small: frozenset[str]) -> Counter[str]:
    """Where phrases are very many, those that were seen least are dropped now and then."""
    counts: Counter[str] = Counter()
    different: Counter[str] = Counter()
    for text, count in texts:
        words = text.split(" ")
        for length in _PHRASE_WORDS:
            for start in range(len(words) - length + 1):
                first, last = words[start], words[start + length - 1]
                if first in small or last in small or first.isdigit() or len(last) < 2:
                    continue
                phrase = " ".join(words[start : start + length])
                counts[phrase] += count
                different[phrase] += 1
        if len(counts) > _MOST_COUNTED:
            for phrase in [phrase for phrase, seen in different.items() if seen == 1]:
                del counts[phrase], different[phrase]
    return Counter({phrase: count for phrase, count in counts.items() if different[phrase] >= _LEAST_HELD})
