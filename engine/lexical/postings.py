"""The postings of one field of a lexical index: the products that hold a term, and its BM25 in each."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class Postings:
    """One field's products and scores by term, rows ascending. A term that no product holds has none."""

    def __init__(
        self,
        ends: NDArray[np.int64],
        rows: NDArray[np.int32],
        scores: NDArray[np.float32],
        lengths: NDArray[np.int32],
        numbers: NDArray[np.int64] | None = None,
    ) -> None:
        """Term i has the rows `rows[ends[i]:ends[i + 1]]` and the scores at the same places; with `numbers`, which
        ascend, that is the term `numbers[i]`. `lengths`, shape (n,), counts the terms of each product's field."""
        self.lengths = lengths
        self.numbers = numbers
        self.ends, self.rows, self.scores = ends, rows, scores
        self.terms = len(ends) - 1

    def lookup(self, number: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Rows and scores of a term, both of shape (p,)."""
        start, end = self._span(number)
        return self.rows[start:end], self.scores[start:end]

    def at(self, number: int, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The term's score in each of these rows, 0 where it is not found."""
        held, scores = self.lookup(number)
        return scores_at(held, scores, rows) if len(held) else np.zeros(len(rows), np.float32)

    def frequency(self, number: int) -> int:
        """How many products hold the term."""
        start, end = self._span(number)
        return int(end - start)

    def frequencies(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """The same of n terms, shape (n,), of postings of all terms of a vocabulary."""
        known = numbers < self.terms
        places = np.where(known, numbers, 0)
        return np.where(known, self.ends[places + 1] - self.ends[places], 0)

    def _span(self, number: int) -> tuple[int, int]:
        place = number
        if self.numbers is not None:
            place = int(self.numbers.searchsorted(number))
            if place == self.terms or self.numbers[place] != number:
                return 0, 0
        elif number >= self.terms:  # it came with a fresh segment
            return 0, 0
        return self.ends[place], self.ends[place + 1]


def scores_at(held: NDArray[np.int32], scores: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """The scores of p rows, p at least 1, in each of r others, 0 where it is none of them."""
    # In one type, lest all of `held` is converted for a few rows.
    places = np.minimum(held.searchsorted(rows.astype(held.dtype, copy=False)), len(held) - 1)
    return np.where(held[places] == rows, scores[places], np.float32(0))


def merge_postings(parts: Sequence[Postings], kept: Sequence[NDArray[np.bool_]]) -> Postings:
    """The postings of the kept products of several segments, in their order; `kept[i]` has shape (products of part i,).
    All parts have `numbers`. Takes time that grows with the postings, in numpy, which other threads do not wait for."""
    counts = [int(np.count_nonzero(mask)) for mask in kept]
    total = sum(counts)
    keys, scores, lengths = [], [], []
    for part, mask, first in zip(parts, kept, np.cumsum([0, *counts]), strict=False):
        assert part.numbers is not None
        own = mask[part.rows]
        rows = first + np.cumsum(mask)[part.rows[own]] - 1
        numbers = np.repeat(part.numbers, np.diff(part.ends))[own]
        keys.append(numbers * total + rows)
        scores.append(part.scores[own])
        lengths.append(part.lengths[mask])
    pairs = np.concatenate(keys)
    order = np.argsort(pairs, kind="stable")
    terms, rows = np.divmod(pairs[order], max(total, 1))
    numbers, starts = np.unique(terms, return_index=True)
    merged = np.concatenate(scores)[order]
    return Postings(np.append(starts, len(terms)), rows.astype(np.int32), merged, np.concatenate(lengths), numbers)


def no_postings(products: int) -> Postings:
    """A field that none of so many products has."""
    return Postings(
        np.zeros(1, np.int64),
        np.empty(0, np.int32),
        np.empty(0, np.float32),
        np.zeros(products, np.int32),
        np.empty(0, np.int64),
    )
