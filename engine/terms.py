"""The vocabulary of a lexical index, mapped from files: finds a term, and terms spelt nearly like it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import OSA

from core.words import plain

TERMS_FILE = "terms.npy"
_ENDS, _GRAMS, _GRAM_ENDS, _GRAM_FORMS = "term_ends.npy", "grams.npy", "gram_ends.npy", "gram_forms.npy"
_FORMS, _FORM_ENDS, _FORM_TERMS = "forms.npy", "form_ends.npy", "form_terms.npy"
VOCABULARY_FILES = (TERMS_FILE, _ENDS, _FORMS, _FORM_ENDS, _FORM_TERMS, _GRAMS, _GRAM_ENDS, _GRAM_FORMS)

LONGEST_FUZZY = 24
_EDGE = "\0"


@dataclass(frozen=True, slots=True)
class Alike:
    """A term, a way that texts write it, and how many typing errors that is away."""

    number: int
    spelling: str
    errors: int


class Terms:
    """V different terms, numbered in the order of their UTF-8 bytes."""

    def __init__(self, folder: Path) -> None:
        """Maps what `write_terms` left in a folder."""
        self._bytes = mapped(folder / TERMS_FILE)
        self._ends = mapped(folder / _ENDS)
        self._forms = mapped(folder / _FORMS)
        self._form_ends = mapped(folder / _FORM_ENDS)
        self._form_terms = mapped(folder / _FORM_TERMS)
        self._grams = mapped(folder / _GRAMS)
        self._gram_ends = mapped(folder / _GRAM_ENDS)
        self._gram_forms = mapped(folder / _GRAM_FORMS)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: int) -> str:
        return self._raw(number).decode()

    def find(self, term: str) -> int | None:
        """The term's number, or None where the vocabulary lacks it."""
        sought = term.encode()
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self._raw(middle) < sought:
                low = middle + 1
            else:
                high = middle
        return low if low < len(self) and self._raw(low) == sought else None

    def alike(self, word: str, edits: int) -> list[Alike]:
        """Terms of letters that texts write within so many typing errors of a plain word, those with the fewest first,
        each as it is written with the fewest.

        An error is a letter too many, too few, another one, or two swapped (optimal string alignment). Accents count
        for nothing. What shares no two neighbouring letters with the word, edges counted, is not found, nor is the
        word itself.
        """
        grams = np.unique(_grams([word])[0])
        places = np.searchsorted(self._grams, grams)
        known = places[places < len(self._grams)]
        known = known[np.isin(self._grams[known], grams)]
        if not len(known):
            return []
        found = np.concatenate(
            [self._gram_forms[self._gram_ends[place] : self._gram_ends[place + 1]] for place in known]
        )
        forms, shared = np.unique(found, return_counts=True)
        # One error spoils two pairs of neighbours, a swap three.
        forms = forms[shared >= max(1, len(grams) - 3 * edits)]
        best: dict[int, Alike] = {}
        for form in map(int, forms):  # of one term those written most often come first
            number, spelling = int(self._form_terms[form]), self._form(form)
            errors = int(OSA.distance(word, plain(spelling), score_cutoff=edits))
            if 0 < errors <= edits and (number not in best or errors < best[number].errors):
                best[number] = Alike(number, spelling, errors)
        return sorted(best.values(), key=lambda one: (one.errors, one.number))

    def _form(self, place: int) -> str:
        return self._forms[self._form_ends[place] : self._form_ends[place + 1]].tobytes().decode()

    def _raw(self, number: int) -> bytes:
        return self._bytes[self._ends[number] : self._ends[number + 1]].tobytes()


def write_terms(terms: Sequence[str], written: Mapping[str, Mapping[str, int]], folder: Path) -> None:
    """Writes a vocabulary: different terms, sorted by their UTF-8 bytes. There is at least one.

    `written` tells how often each term is written in which way; a term that is not there is written as it is.
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
    grams, places = _grams([plain(form) for form in forms])
    order = np.lexsort((places, grams))
    grams, places = grams[order], places[order].astype(np.int32)
    fresh = np.ones(len(grams), bool)
    fresh[1:] = (np.diff(grams) != 0) | (np.diff(places) != 0)  # a pair that a form holds twice counts once
    grams, places = grams[fresh], places[fresh]
    different, counts = np.unique(grams, return_counts=True)
    np.save(folder / _GRAMS, different)
    np.save(folder / _GRAM_ENDS, _ends(counts))
    np.save(folder / _GRAM_FORMS, places)


def mapped(path: Path) -> NDArray[Any]:
    """An npy file as a plain array over its mapped bytes: `np.memmap` makes each slice dear."""
    return np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray)


def unit_term(unit: str) -> str:
    """What stands for every quantity of a unit; no word is written so."""
    return f"#{unit}"


def may_be_misspelt(term: str) -> bool:
    """Whether it is a word: a number or a code that differs in one sign is another one."""
    return 3 <= len(term) <= LONGEST_FUZZY and term.isalpha()


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


def _ends(lengths: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
