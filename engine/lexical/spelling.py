"""What a word that products do not hold may have been meant to be: one spelt nearly like it, or two run together."""

import math
from collections.abc import Callable, Collection, Iterator, Sequence

from engine.lexical.compounds import known_pieces
from engine.lexical.dictionary import COMPOUND, bare, may_be_misspelt
from engine.lexical.index import LexicalIndex, QueryTerm
from text.terms import COMPOUNDING, Analyser, Word
from text.typos import typo_cost

# Chosen on Home Depot's validation queries, clean and with typing errors (as `benchmarks/words.py` makes them).
_EDIT = 0.7
_UNLIKELY = 6.0  # a logarithm: of two words, one more error away, the other is as likely in 400 times fewer products
_NOBODY = 0.02  # what a word counts for that no product has with the others; 0 has no logarithm
_SURELY = 1500  # times as often, to correct a word that some product holds
_ALIKE = 10
_ONE_EDIT, _TWO_EDITS = 3, 4
_BRAND_SHARE = 0.5
_BRAND_SLIPS = 1.5  # many words are near a name: a word becomes one only by a likely typing error
_LEAST_SPLIT, _LONGEST_SPLIT, _LEAST_PIECE, _LEAST_HELD = 6, 40, 3, 3
_SEVERAL, _SEVERAL_COMPOUNDS, _LEAST_PART, _LEAST_REST = 4, 2, 4, 3
_MOST_COMPANY = 8  # words of the query whose products are looked at, those that fewest hold


class Speller:
    """Spells the words of queries to one index. Its costs do not grow with the query, word by word."""

    def __init__(self, index: LexicalIndex, analyser: Analyser, is_word: Callable[[str], bool]) -> None:
        """`is_word` returns whether a word belongs to the language."""
        self._index = index
        self._analyser = analyser
        self._is_word = is_word

    def over(self, index: LexicalIndex) -> "Speller":
        """The same for another index."""
        return Speller(index, self._analyser, self._is_word)

    def is_right(self, word: Word) -> bool:
        """Whether it is a word of the language, or one that several of the catalog's are made with."""
        return self._is_word(word.text) or self._makes_others(word.term)

    def unknown(self, word: Word, place: int) -> list[QueryTerm]:
        """What an unknown word matches: words with one error, else the two it is made of, else words with two."""
        alike = self.similar(word, place, 2, 1)
        return alike if any(term.errors == 1 for term in alike) else self.split(word, place) or alike

    def split(self, word: Word, place: int) -> list[QueryTerm]:
        """'dishwasherrack' matches the two known words that most products hold, or nothing."""
        text = word.text
        if not _LEAST_SPLIT <= len(text) <= _LONGEST_SPLIT or not text.isalpha():
            return []
        best: tuple[int, list[QueryTerm]] = (0, [])
        for cut in range(_LEAST_PIECE, len(text) - _LEAST_PIECE + 1):
            held, terms = known_pieces(self._index, self._analyser, text[:cut], text[cut:], place)
            if held > best[0]:
                best = held, terms
        least = 1 if self._index.compounds and len(text) > _LEAST_SPLIT else _LEAST_HELD
        return best[1] if best[0] >= least else []

    def similar(self, word: Word, place: int, most: int, least: int) -> list[QueryTerm]:
        """The terms that are likeliest meant, not knowing the other words, with so many errors at most; `least`
        products or more hold each."""
        written = bare(word.text)
        if len(written) < _ONE_EDIT or not may_be_misspelt(written):
            return []
        own = self._index.terms.find(word.term)
        near = self._index.terms.similar(written, most if len(written) >= _TWO_EDITS else 1)
        terms = [
            QueryTerm(one.number, _EDIT**one.errors, (place,), one.spelling, one.errors)
            for one in near
            if one.number != own and self._index.document_frequency(one.number) >= least
        ]
        terms = [term for term in terms if self._may_be_meant(word, term)]
        terms.sort(key=lambda term: -_likelihood(word, term, self._index.document_frequency(term.number)))
        return terms[:_ALIKE]

    def spellings(
        self, words: Sequence[Word], terms: Sequence[QueryTerm], known: Collection[int]
    ) -> Iterator[tuple[str, str]]:
        """Words that nobody or next to nobody holds, and what is likelier: with few errors, and far more often in
        products that hold the rest of the query. `known` has the places of words that are found otherwise."""
        certain = {term.number: term.words for term in terms if term.weight == 1}
        rare = sorted(certain, key=self._index.document_frequency)
        for place in sorted({term.words[0] for term in terms if term.errors}):
            word = words[place]
            own = [term for term in terms if term.words == (place,)]
            most = 2 if len(bare(word.text)) > _TWO_EDITS else 1
            alike = [term for term in own if 0 < term.errors <= most]
            if (
                place in known
                or any(term.weight < 1 and not term.errors for term in own)
                or self.is_right(word)
                or not alike
            ):
                continue
            others = [number for number in rare if place not in certain[number]][:_MOST_COMPANY]
            rarities = {number: self._rarity(number) for number in others}
            support = {term: self._index.cooccurrence_weight(term.number, rarities) for term in own}
            best = max(alike, key=lambda term: _likelihood(word, term, support[term]))
            as_written = sum(support[term] for term in own if not term.errors)
            unsupported = not support[best] and not as_written  # then a second error is too many
            if support[best] > _SURELY * as_written or (unsupported and best.errors == 1):
                yield word.text, best.spelling

    def _may_be_meant(self, word: Word, term: QueryTerm) -> bool:
        """Whether the term is no brand, or a brand that a likely typing error turns into the word."""
        held = max(1, self._index.document_frequency(term.number))
        if self._index.named_in("brand", term.number) < _BRAND_SHARE * held:
            return True
        return _slips(word, term) <= _BRAND_SLIPS

    def _makes_others(self, term: str) -> bool:
        """Whether several known words are this one and another known one."""
        if len(term) < _LEAST_PART or not may_be_misspelt(term):
            return False
        terms = self._index.terms
        rests = {one.removeprefix(term) for one in terms.beginning(term)}
        rests |= {one.removesuffix(term) for one in terms.ending(term)}
        if self._analyser.language in COMPOUNDING:  # what Stehlampe and Schlampe share may be a word
            return len({rest.strip(COMPOUND) for rest in rests} - {""}) >= _SEVERAL_COMPOUNDS
        known = (rest for rest in rests if len(rest) >= _LEAST_REST and rest.isalpha() and terms.find(rest) is not None)
        return sum(1 for _ in known) >= _SEVERAL

    def _rarity(self, number: int) -> float:
        held = self._index.document_frequency(number)
        return math.log(1 + (self._index.count - held + 0.5) / (held + 0.5))


def _likelihood(word: Word, term: QueryTerm, held: float) -> float:
    """How likely the word is a misspelling of the term, as a logarithm; `held` counts the products that support it."""
    return math.log(_NOBODY + held) - _UNLIKELY * _slips(word, term)


def _slips(word: Word, term: QueryTerm) -> float:
    return typo_cost(bare(word.text), bare(term.spelling), term.errors)
