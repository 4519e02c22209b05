"""The words of products that come while a release is served, with the vocabulary and the statistics of its index."""

from collections.abc import Iterator, Mapping, Sequence
from threading import Lock
from typing import Any

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from engine.lexical.dictionary import COMPOUND, head_term, modifier_term
from engine.lexical.index import LexicalIndex
from engine.lexical.postings import Postings, no_postings
from engine.lexical.statistics import FieldStatistics, inverse_frequency, term_share
from indexer.product_words import SPLIT_FIELDS, product_terms, product_words
from text.terms import COMPOUNDING, Analyser, Word

_SHORTEST, _MOST_HEADS = 3, 2
_KNOWN = 1 << 15  # terms of the base whose numbers are kept


class FreshWords:
    """Makes lexical indexes of further products. For any number of threads, one at a time."""

    def __init__(self, base: LexicalIndex, language: str) -> None:
        """`language` is the catalog's (BCP 47), by which the products of the base index were analysed."""
        self._base = base
        self._analyser = Analyser(language)
        self._splits = base.compounds and self._analyser.language in COMPOUNDING
        self._known: LRUCache[str, int] = LRUCache(_KNOWN)
        self._lock = Lock()

    def build(self, rows: Sequence[Mapping[str, Any]]) -> LexicalIndex:
        """The words of n rows of the catalog's columns; row i is product i. Fields that no product of the base has are
        left out. Words that the base lacks are added to its `fresh_terms`."""
        texts: dict[str, list[list[int]]] = {field: [] for field in self._base.fields}
        lengths: dict[str, list[int]] = {field: [] for field in self._base.fields}
        with self._lock:
            for row in rows:
                words = product_words(row, self._analyser)
                numbers = self._numbers(words)
                for field, terms in product_terms(words).items():
                    if field in texts:
                        own = [numbers[term] if term in numbers else self._number(term) for term in terms]
                        lengths[field].append(len(own))
                        texts[field].append([*own, *self._within(own)] if field in SPLIT_FIELDS else own)
        postings = {field: self._postings(field, texts[field], lengths[field]) for field in self._base.fields}
        return LexicalIndex.over(self._base, postings, len(rows))

    def _numbers(self, words: Mapping[str, Sequence[Word]]) -> dict[str, int]:
        """The numbers of the terms of words, with their spellings and parts noted where they are new."""
        numbers: dict[str, int] = {}
        for field, own in words.items():
            for word in own if field in self._base.fields else ():
                if word.term not in numbers or numbers[word.term] >= self._base.fresh_terms.first:
                    numbers[word.term] = self._number(word.term, word.text)
        return numbers

    def _number(self, term: str, spelling: str = "") -> int:
        number = self._known.get(term)
        if number is None and (number := self._base.terms.find(term)) is not None:
            self._known[term] = number
        if number is not None:
            return number
        fresh = self._base.fresh_terms
        known = fresh.find(term) is not None
        number = fresh.add(term, spelling)
        if not known and self._splits and spelling:
            fresh.parts[number] = [self._number(part) for part in dict.fromkeys(self._split(spelling))]
        return number

    def _within(self, numbers: Sequence[int]) -> Iterator[int]:
        """The words within those of the terms that are compounds."""
        if not self._splits:
            return
        for number in numbers:
            yield from self._base.fresh_terms.parts.get(number) or self._base.parts.of_term(number)

    def _split(self, form: str) -> Iterator[str]:
        """The terms of the words within a compound that the base lacks: those that end or begin others of its own."""
        if not form.isalpha() or len(form) < 2 * _SHORTEST:
            return
        heads = 0
        for cut in range(_SHORTEST, len(form) - _SHORTEST + 1):  # the longest end first
            head = head_term(self._analyser.term(form[cut:]))
            if self._base.terms.find(head) is None:
                continue
            yield head
            modifier = modifier_term(self._analyser.term(form[:cut]))
            if self._base.terms.find(modifier) is not None:
                yield modifier
            heads += 1
            if heads == _MOST_HEADS:
                return

    def _postings(self, field: str, texts: Sequence[Sequence[int]], lengths: Sequence[int]) -> Postings:
        if not any(lengths):
            return no_postings(len(texts))
        many = np.array([len(text) for text in texts], np.int64)
        flat = np.fromiter((number for text in texts for number in text), np.int64, int(many.sum()))
        # One number for each pair of term and product: sorted, they stand as postings do.
        pairs, counts = np.unique(flat * len(texts) + np.repeat(np.arange(len(texts)), many), return_counts=True)
        terms, rows = np.divmod(pairs, len(texts))
        numbers, starts = np.unique(terms, return_index=True)
        ends = np.append(starts, len(terms))
        statistics = self._base.statistics[field]
        shares = term_share(counts, many[rows], statistics)
        rarities = np.repeat(self._rarities(field, numbers, statistics), np.diff(ends))
        scores = (rarities * shares).astype(np.float32)
        return Postings(ends, rows.astype(np.int32), scores, np.array(lengths, np.int32), numbers)

    def _rarities(self, field: str, numbers: NDArray[np.int64], statistics: FieldStatistics) -> NDArray[np.float64]:
        """The inverse document frequencies in the base, of terms that it lacks as if one of its products held them."""
        postings = self._base.postings(field)
        frequencies = np.maximum(postings.frequencies(numbers), 1)
        if self._splits:
            for place, number in enumerate(numbers.tolist()):
                name = self._base.term(number)
                word = self._base.terms.find(name.strip(COMPOUND)) if COMPOUND in (name[:1], name[-1:]) else None
                if word is not None:
                    frequencies[place] = max(frequencies[place], postings.frequency(word))
        return inverse_frequency(frequencies, max(statistics.products, 1))
