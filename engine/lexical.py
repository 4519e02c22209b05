"""A lexical index: BM25 of each term in each field of each product, computed beforehand and mapped from files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import ReleaseError
from engine.terms import VOCABULARY_FILES, Terms, mapped
from engine.types import Candidates

# Changes with anything that makes another index of the same products.
FORMAT = 1


@dataclass(frozen=True, slots=True)
class QueryTerm:
    """A term of the vocabulary that a query asks for, how much it counts, and the places of the words it stands for."""

    number: int
    weight: float
    words: tuple[int, ...]


class LexicalIndex:
    """n products, f fields. A term's score in a field is its BM25 there; a product's, the weighted sum of its terms'.

    Read by any number of threads.
    """

    def __init__(self, folder: Path, fields: Sequence[str], count: int) -> None:
        """Maps a folder that `indexer/lexical.py` wrote. Raises ReleaseError when files are missing or do not agree."""
        self.fields = tuple(fields)
        self.count = count
        try:
            self.terms = Terms(folder)
            self._fields = [_Postings(folder, field) for field in fields]
        except (OSError, ValueError) as error:
            raise ReleaseError(f"{folder} is not a lexical index: {error}; index the catalog again") from None
        if any(postings.terms != len(self.terms) for postings in self._fields):
            raise ReleaseError(f"{folder}: its fields and its vocabulary do not agree; index the catalog again")

    def document_frequency(self, number: int) -> int:
        """Products that hold the term in the field where most do."""
        return max(postings.frequency(number) for postings in self._fields)

    def search(self, terms: Sequence[QueryTerm], weights: Mapping[str, float], k: int) -> Candidates:
        """The k best products by the fields' weighted scores, best first; those that share no term are left out."""
        totals = np.zeros(self.count, np.float32)
        for field, postings in zip(self.fields, self._fields, strict=True):
            if weight := weights.get(field, 0.0):
                for term in terms:
                    rows, scores = postings.of(term.number)
                    totals[rows] += scores * np.float32(weight * term.weight)
        best = _best(totals, k)
        return Candidates(best, totals[best])

    def scores(self, terms: Sequence[QueryTerm], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """BM25 of the query in each field, shape (r, f), of r products, whether or not a search found them."""
        result = np.zeros((len(rows), len(self.fields)), np.float32)
        for place, postings in enumerate(self._fields):
            for term in terms:
                result[:, place] += term.weight * postings.at(term.number, rows)
        return result

    def matched(self, terms: Sequence[QueryTerm], words: int, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """How well each of the query's words is found in any field: the weight of its best term, shape (r, words)."""
        result = np.zeros((len(rows), words), np.float32)
        for postings in self._fields:
            for term in terms:
                found = postings.at(term.number, rows) > 0
                for word in term.words:
                    np.maximum(result[:, word], found * np.float32(term.weight), out=result[:, word])
        return result


class _Postings:
    """One field's products and scores by term, rows ascending."""

    def __init__(self, folder: Path, field: str) -> None:
        self._ends, self._rows, self._scores = (mapped(folder / name) for name in field_files(field))
        self.terms = len(self._ends) - 1

    def of(self, number: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        span = slice(self._ends[number], self._ends[number + 1])
        return self._rows[span], self._scores[span]

    def at(self, number: int, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The term's score in each of these rows, 0 where it is not found."""
        held, scores = self.of(number)
        if not len(held):
            return np.zeros(len(rows), np.float32)
        places = np.minimum(np.searchsorted(held, rows), len(held) - 1)
        return np.where(held[places] == rows, scores[places], np.float32(0))

    def frequency(self, number: int) -> int:
        return int(self._ends[number + 1] - self._ends[number])


def field_files(field: str) -> tuple[str, str, str]:
    """The names of a field's files: where each term's postings end, their rows, their scores."""
    return f"{field}_ends.npy", f"{field}_rows.npy", f"{field}_scores.npy"


def lexical_files(fields: Sequence[str]) -> tuple[str, ...]:
    """All files of an index."""
    return (*VOCABULARY_FILES, *(name for field in fields for name in field_files(field)))


def _best(totals: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Rows of the k highest scores above 0, best first, equal ones in the order of their rows."""
    rows = np.flatnonzero(totals > 0)
    if len(rows) > k:
        # Equal scores at the border: the lowest rows stay, so that an answer does not hang on the partition.
        border = np.partition(totals[rows], len(rows) - k)[len(rows) - k]
        above, at = rows[totals[rows] > border], rows[totals[rows] == border]
        rows = np.sort(np.concatenate([above, at[: k - len(above)]]))
    return rows[np.argsort(-totals[rows], kind="stable")]
