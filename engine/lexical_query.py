"""Reads a query for a lexical index: which terms of its vocabulary each word asks for, and how much they count."""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import chain

from core.synonyms import Synonyms
from core.words import Analyser, Word, plain
from engine.alternatives import Alternative
from engine.lexical import LexicalIndex, LexicalQuery, QueryTerm
from engine.slips import slips
from engine.synonyms import SynonymReader
from engine.terms import may_be_misspelt, unit_term

# Chosen on Home Depot's validation queries, clean and with typing errors (as `benchmarks/words.py` makes them).
_PART = 0.5
_EDIT = 0.7
_UNLIKELY = 6.0  # a logarithm: of two words, one more error away, the other is as likely in 400 times fewer products
_NOBODY = 0.02  # what a word counts for that no product has with the others; 0 has no logarithm
_SURELY = 1500  # times as often, to mend a word that some product holds
_ALIKE = 10
_ONE_EDIT, _TWO_EDITS = 3, 4
# A known word that few products hold asks for words one error away, too, that so many times as many hold.
_RARE, _OFTEN = 20, 50
_BRAND_SHARE = 0.5
_LEAST_SPLIT, _LEAST_PIECE, _LEAST_HELD = 6, 3, 3


class QueryReader:
    """Reads queries for one index, on one thread at a time: its analyser keeps state."""

    def __init__(
        self,
        index: LexicalIndex,
        language: str,
        synonyms: Synonyms | None = None,
        is_word: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`language` is the catalog's (BCP 47), by which its products were analysed.

        `is_word` tells words of the language: one that no product holds is then no misspelling of another.
        """
        self._index = index
        self._is_word = is_word
        self._analyser = Analyser(language)
        self._synonyms = SynonymReader(index, self._analyser, synonyms or Synonyms())

    def read(self, text: str) -> LexicalQuery:
        """Words are found as they are, by their parts, joined with the next or split in two, and, failing that, by
        words spelt nearly like them."""
        words = self._analyser.content(text)
        terms = list(self._joined(words))
        synonyms = self._synonyms.read(text, words)
        meant = list(chain.from_iterable(synonyms))
        joined = {place for term in terms for place in term.words}
        joined |= {place for one in meant for place in one.words}  # what has a synonym is no unknown word
        for place, word in enumerate(words):
            terms += self._single(word, place, place in joined)
        weights = tuple(self._weights(len(words), terms, meant))
        units, brands = dict(self._units(words)), self._brands(terms)
        spellings = dict(self._spellings(words, terms, joined))
        meaning = self._synonyms.scaled(synonyms, weights)
        return LexicalQuery(tuple(words), tuple(terms), weights, units, brands, spellings, meaning)

    def _single(self, word: Word, place: int, joined: bool) -> Iterator[QueryTerm]:
        number = self._index.terms.find(word.term)
        if number is not None:
            yield QueryTerm(number, 1.0, (place,))
        parts = [part for part in map(self._index.terms.find, word.parts) if part is not None]
        for part in parts:
            yield QueryTerm(part, _PART, (place,))
        if number is None and not parts and not joined and not self._is_word(word.text):
            alike = self._alike(word, place, 2, 1)
            yield from alike if any(term.errors == 1 for term in alike) else self._split(word, place) or alike
        elif number is not None and (held := self._index.document_frequency(number)) <= _RARE:
            yield from self._alike(word, place, 1, held * _OFTEN)

    def _joined(self, words: Sequence[Word]) -> Iterator[QueryTerm]:
        """'dish washer' also asks for dishwasher."""
        for place in range(len(words) - 1):
            pair = words[place : place + 2]
            if all(word.text.isalpha() for word in pair):
                [whole] = self._analyser.terms(pair[0].text + pair[1].text)[:1] or [""]
                number = self._index.terms.find(whole)
                if number is not None:
                    yield QueryTerm(number, 1.0, (place, place + 1))

    def _split(self, word: Word, place: int) -> list[QueryTerm]:
        """'dishwasherrack' asks for the two known words that most products hold, or for nothing."""
        text = word.text
        if len(text) < _LEAST_SPLIT or not text.isalpha():
            return []
        best: tuple[int, list[int]] = (0, [])
        for cut in range(_LEAST_PIECE, len(text) - _LEAST_PIECE + 1):
            pieces = [self._index.terms.find(term) for term in self._analyser.terms(f"{text[:cut]} {text[cut:]}")]
            known = [piece for piece in pieces if piece is not None]
            if len(known) == len(pieces):
                best = max(best, (min(map(self._index.document_frequency, known)), known))
        return [QueryTerm(number, 1.0, (place,)) for number in best[1]] if best[0] >= _LEAST_HELD else []

    def _alike(self, word: Word, place: int, most: int, least: int) -> list[QueryTerm]:
        """The terms that are likeliest meant, not knowing the other words, with so many errors at most; `least`
        products or more hold each."""
        written = plain(word.text)
        if len(written) < _ONE_EDIT or not may_be_misspelt(written):
            return []
        own = self._index.terms.find(word.term)
        near = self._index.terms.alike(written, most if len(written) >= _TWO_EDITS else 1)
        terms = [
            QueryTerm(one.number, _EDIT**one.errors, (place,), one.spelling, one.errors)
            for one in near
            if one.number != own and self._index.document_frequency(one.number) >= least
        ]
        terms.sort(key=lambda term: -_likelihood(word, term, self._index.document_frequency(term.number)))
        return terms[:_ALIKE]

    def _spellings(
        self, words: Sequence[Word], terms: Sequence[QueryTerm], known: Collection[int]
    ) -> Iterator[tuple[str, str]]:
        """Words that nobody or next to nobody holds, and what is likelier: with few errors, and far more often in
        products that hold the rest of the query."""
        for place, word in enumerate(words):
            own = [term for term in terms if term.words == (place,)]
            alike = [term for term in own if term.errors]
            if place in known or word.parts or self._is_word(word.text) or not alike:
                continue
            certain = {term.number for term in terms if term.weight == 1 and place not in term.words}
            others = {number: self._rarity(number) for number in certain}
            company = {term: self._index.company(term.number, others) for term in own}
            best = max(alike, key=lambda term: _likelihood(word, term, company[term]))
            as_written = sum(company[term] for term in own if not term.errors)
            alone = not company[best] and not as_written  # then a second error is too many
            if company[best] > _SURELY * as_written or (alone and best.errors == 1):
                yield word.text, best.spelling

    def _rarity(self, number: int) -> float:
        held = self._index.document_frequency(number)
        return math.log(1 + (self._index.count - held + 0.5) / (held + 0.5))

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

    def _weights(self, words: int, terms: Sequence[QueryTerm], meant: Sequence[Alternative]) -> Iterator[float]:
        """Each word's inverse document frequency (Lucene's), by its commonest term, of a word without any by its
        commonest synonym; the highest for an unknown word."""
        for place in range(words):
            held = [self._index.document_frequency(term.number) for term in terms if place in term.words]
            frequency = max(held or [one.held for one in meant if place in one.words], default=0)
            yield math.log(1 + (self._index.count - frequency + 0.5) / (frequency + 0.5))


def _likelihood(word: Word, term: QueryTerm, held: float) -> float:
    """How likely the word is a misspelling of the term, as a logarithm; `held` tells how many products speak for it."""
    return math.log(_NOBODY + held) - _UNLIKELY * slips(plain(word.text), plain(term.spelling), term.errors)
