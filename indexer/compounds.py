"""Splits a catalog's compounds by its own words: Stehlampe is a lamp where other words end so, too, or Lampe is one.

Parts are words of the catalog (after Koehn and Knight, "Empirical methods for compound splitting", EACL 2003).
A shop may say Stehlampe and Wandlampe and never Lampe, so that an end which several words share after different letters
counts as known, too (letter successors: Harris, "From phoneme to morpheme", Language 31(2), 1955).
"""

import itertools
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from engine.lexical.dictionary import head_term, modifier_term
from text.letters import plain
from text.terms import Analyser

_LINKS = {"de": "s es n en er ens e", "nl": "s en e n", "af": "s e", "sv": "s", "da": "s e", "no": "s e"}
# Letters that a word may drop before another one.
_DROPPED_LETTERS = {"de": "e", "nl": "e", "sv": "ae", "da": "e", "no": "e"}
# Suffixes and prefixes, which are no words.
_ENDS = frozenset(
    {"bar", "los", "sam", "ung", "isch", "sche", "ische", "ischer", "isches", "ischen", "lich", "keit", "heit", "chen"}
    | {"lein", "haft", "schaft", "tion", "ierung", "ieren", "ende", "ten", "ter", "ler", "ner"}
    | {"heid", "baar", "lijk", "loos", "ing", "ning", "lig", "het", "hed", "skap", "else", "ande"}
)
_BEGINNINGS = frozenset(
    {"ver", "ent", "zer", "emp", "ein", "aus", "auf", "vor", "bei", "ont", "her", "aan", "uit", "voor"}
    | {"upp", "inn", "ind", "opp", "fra"}
)
# German adjectives that end like a table.
_ADJECTIVE = re.compile(r"(?:[aeiouk]|(?<!s)s|(?<!p)p|(?<!n)n)tisch(?:e[mnrs]?)?$")
_VOWEL = re.compile("[aeiouy]")
_SHORTEST, _LONGEST = 3, 40
_CERTAIN_LENGTH = 8  # letters: that a known word ends another one is hardly chance
_LEAST_WORDS, _MEAN_REST, _MEAN_REST_SHORT = 3, 3.0, 3.5
_MOST_HEADS, _MOST_PARTS, _MOST_CONTINUATIONS, _CACHE_SIZE = 2, 5, 8, 1 << 18
_LAST = chr(0x10FFFF)


@dataclass(frozen=True, slots=True)
class _Head:
    text: str
    known: bool
    words: int


class CompoundSplitter:
    """Counts the written forms of words, and splits compounds once all are counted. Memory: some 300 bytes a form."""

    def __init__(self, analyser: Analyser) -> None:
        """`analyser` is of one of `COMPOUNDING` languages."""
        self._analyser = analyser
        language = "no" if analyser.language in {"nb", "nn"} else analyser.language
        self._links = _LINKS[language].split()
        self._dropped_letters = _DROPPED_LETTERS.get(language, "")
        self._german = language == "de"
        self._head = lru_cache(_CACHE_SIZE)(self._read_head)
        self._counts: Counter[str] = Counter()
        self._brands: Counter[str] = Counter()

    def count(self, texts: Iterable[str], brand: bool = False) -> None:
        """Counts words as they are written, in lower case; `brand` where the field holds brands."""
        for text in texts:
            for piece in text.split("-"):
                if _SHORTEST <= len(piece) <= _LONGEST and piece.isalpha():
                    (self._brands if brand else self._counts)[piece] += 1

    def split(self) -> dict[str, tuple[str, ...]]:
        """The terms of the words within each term that is a compound, heads first."""
        names = {form for form, many in self._brands.items() if 2 * many >= self._counts[form]}
        forms = [form for form in self._counts if form not in names and not self._analyser.is_stop_word(form)]
        self._known = set(forms)
        self._ends = _PrefixIndex([form[::-1] for form in forms])
        # Damenschuhe and Laufschuh end alike once they are stemmed.
        self._stems = _PrefixIndex(list({self._analyser.term(form)[::-1] for form in forms}))
        self._beginnings = _PrefixIndex(forms)
        result: dict[str, tuple[str, ...]] = {}
        for form in sorted(forms, key=lambda form: (-self._counts[form], form)):
            term = self._analyser.term(form)
            if term not in result and (parts := tuple(dict.fromkeys(self._parts(form)))):
                result[term] = parts[:_MOST_PARTS]
        return result

    def _parts(self, form: str) -> Iterator[str]:
        heads = self._heads(form)
        for head in heads:
            yield head_term(self._analyser.term(head.text))
        for head in heads:
            modifier = form[: -len(head.text)]
            for word in (modifier, *(inner.text for inner in self._heads(self._unlinked(modifier)))):
                yield modifier_term(self._analyser.term(word))

    def _heads(self, form: str) -> list[_Head]:
        """The words that a form ends with: known ones first, then those that most words share."""
        heads = []
        for cut in range(_SHORTEST, len(form) - _SHORTEST + 1):
            head = self._head(form[cut:])
            if head and self._is_modifier(form[:cut], head):
                heads.append(head)
        return sorted(heads, key=lambda head: (-head.known, -head.words))[:_MOST_HEADS]

    def _read_head(self, end: str) -> _Head | None:
        if end in _ENDS or self._analyser.is_stop_word(end):
            return None
        known = end in self._known
        words = self._shared_words(self._ends, end[::-1]) or self._shared_words(
            self._stems, self._analyser.term(end)[::-1]
        )
        return _Head(end, known, words) if known or words else None

    def _shared_words(self, ends: "_PrefixIndex", backwards: str) -> int:
        """How many words have this end after different letters; 0 for too few, or where too little stands before it."""
        # Where all words before it are linked by the same letters, they differ before these.
        if len(backwards) < _SHORTEST or not any(ends.branches(backwards + link[::-1]) for link in ("", *self._links)):
            return 0
        words, letters = ends.count(backwards)
        least = _MEAN_REST if len(backwards) > _SHORTEST else _MEAN_REST_SHORT
        return words if words >= _LEAST_WORDS and letters >= least * words else 0

    def _is_modifier(self, modifier: str, head: _Head) -> bool:
        """Whether it is likely a word: a known one, one that begins other words, or one that looks like a word."""
        if modifier in _BEGINNINGS or not _VOWEL.search(plain(modifier)):
            return False
        word = self._unlinked(modifier)
        if word in self._known or self._head(word) or self._begins_other_words(modifier, head.text):
            return True
        if self._german and _ADJECTIVE.search(modifier + head.text):
            return False
        return bool(head.words) or (len(modifier) > _SHORTEST and len(modifier + head.text) >= _CERTAIN_LENGTH)

    def _begins_other_words(self, modifier: str, end: str) -> bool:
        """Whether other words begin with it: klapp of Klappstuhl and Klapptisch."""
        return any(rest != end and self._head(rest) for rest in self._beginnings.continuations(modifier))

    def _unlinked(self, modifier: str) -> str:
        """The known word of a modifier: without its link, or with a dropped letter; else the modifier unchanged."""
        candidates = [modifier, *(modifier.removesuffix(link) for link in self._links if modifier.endswith(link))]
        candidates += [modifier + letter for letter in self._dropped_letters]
        return next(
            (candidate for candidate in candidates if len(candidate) >= _SHORTEST and candidate in self._known),
            modifier,
        )


class _PrefixIndex:
    """An index of words by how they begin."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = sorted(words)
        self._branches = Counter(_common_prefix(*pair) for pair in itertools.pairwise(self._words))
        self._letters = [0, *itertools.accumulate(map(len, self._words))]

    def branches(self, start: str) -> int:
        """How many different letters follow this beginning, less one."""
        return self._branches.get(start, 0)

    def count(self, start: str) -> tuple[int, int]:
        """How many words continue this beginning, and with how many letters in all."""
        low = bisect_left(self._words, start)
        high = bisect_left(self._words, start + _LAST)
        letters = self._letters[high] - self._letters[low] - (high - low) * len(start)
        return high - low - (low < high and self._words[low] == start), letters

    def continuations(self, start: str) -> Iterator[str]:
        """The first few continuations of this beginning."""
        low = bisect_left(self._words, start)
        for word in self._words[low : low + _MOST_CONTINUATIONS]:
            if not word.startswith(start):
                return
            if word != start:
                yield word[len(start) :]


def _common_prefix(one: str, other: str) -> str:
    least = min(len(one), len(other))
    return one[: next((at for at in range(least) if one[at] != other[at]), least)]


def base_terms(parts: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The term of the word alone, for each term of a word within compounds."""
    return {part: part.strip(head_term("")) for many in parts.values() for part in many}
