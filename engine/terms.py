"""The vocabulary of a lexical index, mapped from files: finds a term, and terms spelt nearly like it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import OSA

TERMS_FILE = "terms.npy"
_ENDS, _GRAMS, _GRAM_ENDS, _GRAM_TERMS = "term_ends.npy", "grams.npy", "gram_ends.npy", "gram_terms.npy"
_SPELLINGS, _SPELLING_ENDS = "spellings.npy", "spelling_ends.npy"
VOCABULARY_FILES = (TERMS_FILE, _ENDS, _SPELLINGS, _SPELLING_ENDS, _GRAMS, _GRAM_ENDS, _GRAM_TERMS)

LONGEST_FUZZY = 24
_EDGE = "\0"


class Terms:
    """V different terms, numbered in the order of their UTF-8 bytes."""

    def __init__(self, folder: Path) -> None:
        """Maps what `write_terms` left in a folder."""
        self._bytes = mapped(folder / TERMS_FILE)
        self._ends = mapped(folder / _ENDS)
        self._spellings = mapped(folder / _SPELLINGS)
        self._spelling_ends = mapped(folder / _SPELLING_ENDS)
        self._grams = mapped(folder / _GRAMS)
        self._gram_ends = mapped(folder / _GRAM_ENDS)
        self._gram_terms = mapped(folder / _GRAM_TERMS)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: int) -> str:
        return self._raw(number).decode()

    def spelling(self, number: int) -> str:
        """The term as texts mostly have it: battery, whose stem is batteri."""
        return self._spellings[self._spelling_ends[number] : self._spelling_ends[number + 1]].tobytes().decode()

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

    def alike(self, term: str, edits: int) -> list[tuple[int, int]]:
        """Terms of letters that are, or are spelt, within so many typing errors of this one, itself left out: their
        numbers and the errors.

        An error is a letter too many, too few, another one, or two swapped (optimal string alignment). A term that
        shares no two neighbouring letters with this one, edges counted, is not found.
        """
        grams = np.unique(_grams([term])[0])
        places = np.searchsorted(self._grams, grams)
        known = places[places < len(self._grams)]
        known = known[np.isin(self._grams[known], grams)]
        if not len(known):
            return []
        found = np.concatenate(
            [self._gram_terms[self._gram_ends[place] : self._gram_ends[place + 1]] for place in known]
        )
        numbers, shared = np.unique(found, return_counts=True)
        # One error spoils two pairs of neighbours, a swap three.
        numbers = numbers[shared >= max(1, len(grams) - 3 * edits)]
        result = []
        for number in map(int, numbers):
            forms = {self[number], self.spelling(number)}
            errors = min(OSA.distance(term, form, score_cutoff=edits) for form in forms)
            if errors <= edits and self[number] != term:
                result.append((number, int(errors)))
        return sorted(result, key=lambda pair: (pair[1], pair[0]))

    def _raw(self, number: int) -> bytes:
        return self._bytes[self._ends[number] : self._ends[number + 1]].tobytes()


def write_terms(terms: Sequence[str], spellings: Mapping[str, str], folder: Path) -> None:
    """Writes a vocabulary: different terms, sorted by their UTF-8 bytes. There is at least one.

    A term without a spelling is its own.
    """
    _write_strings(terms, folder / TERMS_FILE, folder / _ENDS)
    _write_strings([spellings.get(term, term) for term in terms], folder / _SPELLINGS, folder / _SPELLING_ENDS)
    forms = [
        (form, number)
        for number, term in enumerate(terms)
        if may_be_misspelt(term)
        for form in {term, spellings.get(term, term)}
    ]
    grams, places = _grams([form for form, _ in forms])
    owners = np.array([number for _, number in forms], np.int32)[places]
    order = np.lexsort((owners, grams))
    grams, owners = grams[order], owners[order]
    fresh = np.ones(len(grams), bool)
    fresh[1:] = (np.diff(grams) != 0) | (np.diff(owners) != 0)  # a pair that a term holds twice counts once
    grams, owners = grams[fresh], owners[fresh]
    different, counts = np.unique(grams, return_counts=True)
    np.save(folder / _GRAMS, different)
    np.save(folder / _GRAM_ENDS, _ends(counts))
    np.save(folder / _GRAM_TERMS, owners)


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
