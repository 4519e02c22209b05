"""The vocabulary of a lexical index, mapped from files: finds a term, and terms spelt nearly like it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import regex
from numpy.typing import NDArray
from rapidfuzz.distance import OSA

from core.arrays import map_array
from text.letters import plain
from text.scripts import has_unspaced

TERMS_FILE = "terms.npy"
_ENDS, _GRAMS, _GRAM_ENDS, _GRAM_FORMS = "term_ends.npy", "grams.npy", "gram_ends.npy", "gram_forms.npy"
_FORMS, _FORM_ENDS, _FORM_TERMS, _FORM_LENGTHS = "forms.npy", "form_ends.npy", "form_terms.npy", "form_lengths.npy"
_BACKWARDS = "backwards.npy"
VOCABULARY_FILES = (
    *(TERMS_FILE, _ENDS, _BACKWARDS),
    *(_FORMS, _FORM_ENDS, _FORM_TERMS, _FORM_LENGTHS, _GRAMS, _GRAM_ENDS, _GRAM_FORMS),
)

LONGEST_FUZZY = 24
COMPOUND = "~"
_EDGE = "\0"
# Forms that are compared letter by letter; those that share the fewest pairs with the word are left out.
_MOST_COMPARED = 400
_SIGNS = regex.compile(r"[^\p{L}\p{M}]")
_WITHIN = regex.compile(r"[^\p{L}\p{M}\p{N}\-]+")
# Scripts whose words have few letters, of which each counts: one more or less is mostly another word.
_SHORT = regex.compile(r"[\p{Hebrew}\p{Arabic}]")
_LEAST, _LEAST_SHORT = 3, 5
MOST_NEIGHBOURS = 64


@dataclass(frozen=True, slots=True)
class SimilarTerm:
    """A term, a way that texts write it, and how many typing errors that is away."""

    number: int
    spelling: str
    errors: int


class Terms:
    """V different terms, numbered in the order of their UTF-8 bytes."""

    def __init__(self, folder: Path) -> None:
        """Maps what `write_terms` left in a folder."""
        self._bytes = map_array(folder / TERMS_FILE)
        self._ends = map_array(folder / _ENDS)
        self._forms = map_array(folder / _FORMS)
        self._form_ends = map_array(folder / _FORM_ENDS)
        self._form_terms = map_array(folder / _FORM_TERMS)
        self._lengths = self._read_lengths(folder)
        self._backwards = map_array(folder / _BACKWARDS) if (folder / _BACKWARDS).is_file() else None
        self._grams = map_array(folder / _GRAMS)
        self._gram_ends = map_array(folder / _GRAM_ENDS)
        self._gram_forms = map_array(folder / _GRAM_FORMS)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: int) -> str:
        return self._raw(number).decode()

    def find(self, term: str) -> int | None:
        """The term's number, or None where the vocabulary lacks it."""
        key = term.encode()
        place = self._first(key)
        return place if place < len(self) and self._raw(place) == key else None

    def beginning(self, start: str) -> Iterator[str]:
        """Terms that begin so, the term itself among them; the first ones."""
        key = start.encode()
        for place in range(first := self._first(key), min(first + MOST_NEIGHBOURS, len(self))):
            if not (raw := self._raw(place)).startswith(key):
                return
            yield raw.decode()

    def between(self, first: str, last: str) -> str | None:
        """A term that begins with a character from `first` to `last`; None where there is none."""
        place = self._first(first.encode())
        return term if place < len(self) and (term := self[place])[:1] <= last else None

    def ending(self, end: str) -> Iterator[str]:
        """Terms that end so, the term itself among them; the first ones. None in an index that did not note them."""
        if self._backwards is None:
            return
        key = end[::-1]

        def backwards(place: int) -> str:
            return self[int(self._backwards[place])][::-1]  # type: ignore[index]

        low, high = 0, len(self._backwards)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if backwards(middle) < key else (low, middle)
        for place in range(low, min(low + MOST_NEIGHBOURS, len(self._backwards))):
            if not (term := backwards(place)).startswith(key):
                return
            yield term[::-1]

    def similar(self, word: str, edits: int) -> list[SimilarTerm]:
        """Terms of letters that texts write within so many typing errors of a plain word, those with the fewest first,
        each as it is written with the fewest.

        An error is a letter too many, too few, another one, or two swapped (optimal string alignment). Accents and
        signs count for nothing. What shares no two neighbouring letters with the word, edges counted, is not found, nor
        is the word itself; of very many that share some, those are that share the most.
        """
        best: dict[int, SimilarTerm] = {}
        for form in self._near(word, edits):  # of one term those written most often come first
            number, spelling = int(self._form_terms[form]), self._form(form)
            errors = int(OSA.distance(word, bare(spelling), score_cutoff=edits))
            if 0 < errors <= edits and (number not in best or errors < best[number].errors):
                best[number] = SimilarTerm(number, spelling, errors)
        return sorted(best.values(), key=lambda one: (one.errors, one.number))

    def _near(self, word: str, edits: int) -> list[int]:
        """Forms about as long that share enough pairs of letters with a word, ascending."""
        grams = np.unique(_grams([word])[0])
        places = np.searchsorted(self._grams, grams)
        known = places[places < len(self._grams)]
        known = known[np.isin(self._grams[known], grams)]
        if not len(known):
            return []
        spans = [self._gram_forms[self._gram_ends[place] : self._gram_ends[place + 1]] for place in known]
        shared = np.bincount(np.concatenate(spans), minlength=len(self._lengths))
        # One error spoils two pairs of neighbours, a swap three.
        forms = np.flatnonzero(shared >= max(1, len(grams) - 3 * edits))
        forms = forms[np.abs(self._lengths[forms].astype(np.int64) - len(word)) <= edits]
        if len(forms) > _MOST_COMPARED:
            forms = np.sort(forms[np.argsort(-shared[forms], kind="stable")[:_MOST_COMPARED]])
        return forms.tolist()

    def _first(self, key: bytes) -> int:
        """The number of the first term that is not before these bytes."""
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self._raw(middle) < key:
                low = middle + 1
            else:
                high = middle
        return low

    def _read_lengths(self, folder: Path) -> NDArray[np.uint8]:
        if (folder / _FORM_LENGTHS).is_file():
            return map_array(folder / _FORM_LENGTHS)
        return _lengths([bare(self._form(place)) for place in range(len(self._form_ends) - 1)])

    def _form(self, place: int) -> str:
        return self._forms[self._form_ends[place] : self._form_ends[place + 1]].tobytes().decode()

    def _raw(self, number: int) -> bytes:
        return self._bytes[self._ends[number] : self._ends[number + 1]].tobytes()


def write_terms(terms: Sequence[str], written: Mapping[str, Mapping[str, int]], folder: Path) -> None:
    """Writes a vocabulary: different terms, sorted by their UTF-8 bytes. There is at least one.

    `written` counts the spellings of each term; a term that is missing has one spelling, the term.
    """
    _write_strings(terms, folder / TERMS_FILE, folder / _ENDS)
    forms: list[str] = []
    owners: list[int] = []
    for number, term in enumerate(terms):
        if may_be_misspelt(term):
            ways = written.get(term) or {term: 1}
            forms += sorted(ways, key=lambda way: (-ways[way], way))
            owners += [number] * len(ways)
    _write_strings(forms, folder / _FORMS, folder / _FORM_ENDS)
    np.save(folder / _FORM_TERMS, np.array(owners, np.int32))
    np.save(folder / _BACKWARDS, np.array(sorted(range(len(terms)), key=lambda at: terms[at][::-1]), np.int32))
    letters = [bare(form) for form in forms]
    np.save(folder / _FORM_LENGTHS, _lengths(letters))
    grams, places = _grams(letters)
    order = np.lexsort((places, grams))
    grams, places = grams[order], places[order].astype(np.int32)
    fresh = np.ones(len(grams), bool)
    fresh[1:] = (np.diff(grams) != 0) | (np.diff(places) != 0)  # a pair that a form holds twice counts once
    grams, places = grams[fresh], places[fresh]
    different, counts = np.unique(grams, return_counts=True)
    np.save(folder / _GRAMS, different)
    np.save(folder / _GRAM_ENDS, _ends(counts))
    np.save(folder / _GRAM_FORMS, places)


def unit_term(unit: str) -> str:
    """What stands for every quantity of a unit; no word is written so."""
    return f"#{unit}"


def head_term(term: str) -> str:
    """What stands for every compound that ends with a term; no word is written so."""
    return COMPOUND + term


def modifier_term(term: str) -> str:
    """The same for one that holds it before its end."""
    return term + COMPOUND


def bare(word: str) -> str:
    """The letters of a word, without accents and signs other than hyphens: arcteryx of Arc'teryx."""
    return plain(word) if word.isalpha() else _WITHIN.sub("", plain(word))


def may_be_misspelt(term: str) -> bool:
    """Whether it is a word: a number, a code or a sign of Chinese that differs is another one."""
    if len(term) > LONGEST_FUZZY or len(term) < _LEAST or _SIGNS.search(term):
        return False
    return term.isascii() or not (has_unspaced(term) or (len(term) < _LEAST_SHORT and _SHORT.search(term)))


def _write_strings(strings: Sequence[str], target: Path, ends: Path) -> None:
    raw = [string.encode() for string in strings]
    np.save(target, np.frombuffer(b"".join(raw), np.uint8))
    np.save(ends, _ends([len(one) for one in raw]))


def _grams(terms: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Pairs of neighbouring characters, edges among them, as numbers, and the place of the term each is of."""
    lengths = np.fromiter((len(term) + 1 for term in terms), np.int64, len(terms))
    if not terms:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    text = _EDGE + _EDGE.join(terms) + _EDGE
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32).astype(np.uint64)
    pairs = (points[:-1] << np.uint64(32)) | points[1:]
    return pairs, np.repeat(np.arange(len(terms)), lengths)


def _lengths(words: Sequence[str]) -> NDArray[np.uint8]:
    return np.fromiter((min(len(word), 255) for word in words), np.uint8, len(words))


def _ends(lengths: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
