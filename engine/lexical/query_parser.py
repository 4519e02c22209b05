"""Reads a query for a lexical index: which terms of its vocabulary each word matches, and how much they count."""

import copy
import itertools
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from cachetools import LRUCache

from catalog.view import CatalogView
from engine.lexical.alternatives import Alternative
from engine.lexical.compounds import ending_with, within_compounds
from engine.lexical.dictionary import unit_term
from engine.lexical.fresh_terms import ViewTerms
from engine.lexical.index import LexicalIndex, LexicalQuery, QueryTerm
from engine.lexical.spelling import Speller
from engine.lexical.synonyms import SynonymReader
from engine.lexical.view_index import ViewIndex
from text.scripts import HAN_RANGES, check_segmenter, has_unspaced
from text.synonyms import Synonyms
from text.terms import Analyser, Word

# Chosen on Home Depot's validation queries, clean and with typing errors (as `benchmarks/words.py` makes them).
_PART = 0.5
# A known word that few products hold also matches words one error away that this many times as many products hold.
_RARE, _OFTEN = 20, 50
_BRAND_SHARE = 0.5
# What bounds the cost of a query: its words, their terms but for those spelt nearly so, and words looked at for these.
_MOST_WORDS, _MOST_TERMS, _MOST_SPELT = 64, 160, 6
_KEPT = 256  # parsed queries: each is parsed for its spelling, and again for its search


class LexicalQueryParser:
    """Reads queries for one index, on one thread at a time: its analyser keeps state."""

    def __init__(
        self,
        index: LexicalIndex,
        language: str,
        synonyms: Synonyms | None = None,
        is_word: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`language` is the catalog's (BCP 47), by which its products were analysed.

        `is_word` recognises words of the language: such a word is never a misspelling, even if no product holds it.

        Raises MissingPackageError where products hold Chinese words and the segmenter is not installed.
        """
        self._index = index
        self._analyser = Analyser(language)
        check_segmenter(filter(None, itertools.starmap(index.terms.between, HAN_RANGES)), self._analyser.language)
        self._speller = Speller(index, self._analyser, is_word)
        self._synonyms = SynonymReader(index, self._analyser, synonyms or Synonyms())

    def over(self, index: LexicalIndex) -> "LexicalQueryParser":
        """The same parser for another index of the same vocabulary or a larger one; both on one thread."""
        other = copy.copy(self)
        other._index = index
        other._speller = self._speller.over(index)
        other._synonyms = self._synonyms.over(index)
        return other

    def read(self, text: str) -> LexicalQuery:
        """Words are found as they are, by their parts, joined with the next or split in two, and, failing that, by
        words spelt nearly like them. No query makes more work than `_MOST_WORDS` words, whatever its script."""
        different: dict[str, Word] = {}
        for word in self._analyser.content(text):
            different.setdefault(word.term, word)
        words = list(different.values())[:_MOST_WORDS]
        terms = list(self._joined(words))
        synonyms = self._synonyms.read(text, words)
        synonym_terms = list(itertools.chain.from_iterable(synonyms))
        joined = {place for term in terms for place in term.words}
        joined |= {place for one in synonym_terms for place in one.words}  # what has a synonym is no unknown word
        for place, word in enumerate(words):
            terms += self._single(word, place)
        terms = terms[:_MOST_TERMS]
        terms += self._nearly(words, {place for term in terms for place in term.words}, joined)
        weights = tuple(self._weights(len(words), terms, synonym_terms))
        units, brands = dict(self._units(words)), self._brands(terms)
        spellings = dict(self._speller.spellings(words, terms, joined))
        terms = [
            replace(term, scale=scale) if (scale := self._index.scale(term.number)) != 1 else term for term in terms
        ]
        meaning = self._synonyms.scaled(synonyms, weights)
        length = sum(len(word.all_terms) for word in self._analyser.words(text))
        return LexicalQuery(tuple(words), tuple(terms), weights, units, brands, spellings, meaning, length)

    def _single(self, word: Word, place: int) -> Iterator[QueryTerm]:
        number = self._index.terms.find(word.term)
        if number is not None:
            yield QueryTerm(number, 1.0, (place,))
        yield from within_compounds(self._index, word.term, (place,))
        parts = [part for part in map(self._index.terms.find, word.parts) if part is not None]
        if number is None and not parts:
            parts = [part for part in map(self._index.terms.find, word.inside) if part is not None]
        for part in parts:
            yield QueryTerm(part, _PART, (place,))

    def _nearly(self, words: Sequence[Word], answered: Collection[int], joined: Collection[int]) -> list[QueryTerm]:
        """Terms like words that no product holds, or that few hold while many hold one spelt nearly so; the first words
        alone. `answered` has the places of words with terms, `joined` of those with terms together with others."""
        similar_terms: list[QueryTerm] = []
        looked = 0
        for place, word in enumerate(words):
            number = self._index.terms.find(word.term)
            held = 0 if number is None else self._index.document_frequency(number)
            if looked == _MOST_SPELT or held > _RARE or (not held and (place in answered or place in joined)):
                continue
            looked += 1
            if held:
                similar_terms += self._speller.similar(word, place, 1, held * _OFTEN)
            elif ending := ending_with(self._index, self._analyser, word, place):
                similar_terms += ending
            elif not self._speller.is_right(word):
                similar_terms += self._speller.unknown(word, place)
        return similar_terms

    def _joined(self, words: Sequence[Word]) -> Iterator[QueryTerm]:
        """'dish washer' also matches dishwasher, and 'm a c' matches mac."""
        for start, end in self._neighbours(words):
            whole = self._analyser.term("".join(word.text for word in words[start:end]))
            places = tuple(range(start, end))
            number = self._index.terms.find(whole)
            if number is not None:
                yield QueryTerm(number, 1.0, places)
            yield from within_compounds(self._index, whole, places)

    def _neighbours(self, words: Sequence[Word]) -> Iterator[tuple[int, int]]:
        """Runs of single letters, and pairs of other words of letters; threes, too, where a language has compounds."""
        letters = [word.text.isalpha() and not has_unspaced(word.text) for word in words]
        start = 0
        for single, run in itertools.groupby(words, lambda word: len(word.text) == 1 and word.text.isalpha()):
            end = start + len(list(run))
            if single and end - start > 2:
                yield start, end
            start = end
        for many in (2, 3) if self._index.compounds else (2,):
            for start in range(len(words) - many + 1):
                if all(letters[start : start + many]):
                    yield start, start + many

    def _units(self, words: Sequence[Word]) -> Iterator[tuple[int, int]]:
        for place, word in enumerate(words):
            number = self._index.terms.find(unit_term(word.unit)) if word.unit else None
            if number is not None:
                yield place, number

    def _brands(self, terms: Sequence[QueryTerm]) -> frozenset[int]:
        """Words that most products which hold them at all hold in their brand."""
        return frozenset(
            word
            for term in terms
            if term.weight == 1 and self._index.named_in("brand", term.number) >= _BRAND_SHARE * self._most(term.number)
            for word in term.words
        )

    def _most(self, number: int) -> int:
        return max(1, self._index.document_frequency(number))

    def _weights(self, words: int, terms: Sequence[QueryTerm], synonym_terms: Sequence[Alternative]) -> Iterator[float]:
        """Each word's inverse document frequency (Lucene's), by its commonest term, of a word without any by its
        commonest synonym; the highest for an unknown word."""
        for place in range(words):
            held = [self._index.document_frequency(term.number) for term in terms if place in term.words]
            frequency = max(held or [one.frequency for one in synonym_terms if place in one.words], default=0)
            yield math.log(1 + (self._index.count - frequency + 0.5) / (frequency + 0.5))


class ViewParser:
    """Reads queries for the views over one index, and keeps the latest; on one thread at a time.

    A query that is read by words that came with fresh segments is read again for each view. One that is not is read
    again once there are further words.
    """

    def __init__(self, parser: LexicalQueryParser, index: LexicalIndex) -> None:
        """`parser` is of the index, which has the base segment's words."""
        self._parser = parser
        self._index = index
        self._read: LRUCache[str, _ReadQuery] = LRUCache(_KEPT)
        self._latest: tuple[CatalogView, LexicalQueryParser, ViewTerms] | None = None

    def read(self, text: str, view: CatalogView | None = None) -> LexicalQuery:
        """The query as the view's words read it; as the base's alone without a view."""
        alone = view is None or len(view.segments) == 1
        vocabulary = 0 if alone else 1 + len(self._index.fresh_terms)
        kept = self._read.get(text)
        if kept is not None and kept.vocabulary == vocabulary and kept.view in (0, view.serial if view else 0):
            return kept.query
        consulted = 0
        if view is None or alone:
            query = self._parser.read(text)
        else:
            parser, terms = self._of(view)
            terms.consulted = False
            query = parser.read(text)
            consulted = view.serial if terms.consulted else 0
        self._read[text] = _ReadQuery(query, vocabulary, consulted)
        return query

    def _of(self, view: CatalogView) -> tuple[LexicalQueryParser, ViewTerms]:
        if self._latest is None or self._latest[0] is not view:
            index = ViewIndex(self._index, view)
            self._latest = view, self._parser.over(index), index.view_terms
        return self._latest[1:]


class _ReadQuery(NamedTuple):
    """A query as it was read when there were so many fresh terms, 0 for the base alone; and the serial number of the
    view that it was read for, 0 where any other reads it so."""

    query: LexicalQuery
    vocabulary: int
    view: int
