"""What synonyms of a query's words add to the BM25 of products."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

# In a field of more terms the words of a phrase stand apart, and together by chance: no places of words are indexed.
_NEAR = 32


@dataclass(frozen=True, slots=True)
class Alternative:
    """Terms that mean what some words of a query mean, and count where a field of a product holds them all.

    `words` are the places of the words they stand for; terms that the query asks for by itself are among `numbers`, and
    not among `counted`. `weight` is how much of a word they are; `scale` makes their BM25 count as much as that of the
    words would. `frequency` is how many products hold them.
    """

    numbers: tuple[int, ...]
    counted: tuple[int, ...]
    words: tuple[int, ...]
    weight: float
    scale: float = 1.0
    frequency: int = 0


class _Term(Protocol):
    @property
    def number(self) -> int: ...
    @property
    def weight(self) -> float: ...
    @property
    def scale(self) -> float: ...
    @property
    def words(self) -> tuple[int, ...]: ...


class _Postings(Protocol):
    lengths: NDArray[np.int32]

    def lookup(self, number: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]: ...
    def at(self, number: int, rows: NDArray[np.int64]) -> NDArray[np.float32]: ...


def holding(numbers: Sequence[int], postings: _Postings) -> NDArray[np.int64]:
    """The products, rows ascending, whose field holds all of the terms, and close to one another."""
    rarest = min((postings.lookup(number)[0] for number in numbers), key=len)
    rows = rarest.astype(np.int64)
    return rows if len(numbers) == 1 else rows[_held(numbers, postings, rows)]


def added(
    alternatives: Iterable[Alternative], terms: Sequence[_Term], postings: _Postings
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Products and what alternatives for the same words add to their scores in one field; both of shape (n,)."""
    pairs = [(one, holding(one.numbers, postings)) for one in alternatives]
    rows = np.unique(np.concatenate([np.zeros(0, np.int64), *(held for _, held in pairs)]))
    result = np.zeros(len(rows), np.float32)
    for one, held in pairs:
        places = np.searchsorted(rows, held)
        result[places] = np.maximum(result[places], _more(one, terms, postings, held))
    return rows, result


def added_to(
    alternatives: Iterable[Alternative], terms: Sequence[_Term], postings: _Postings, rows: NDArray[np.int64]
) -> tuple[NDArray[np.float32], list[tuple[Alternative, NDArray[np.bool_]]]]:
    """The same of these products, shape (r,), and which of them hold each alternative."""
    result = np.zeros(len(rows), np.float32)
    held = []
    for one in alternatives:
        mask = _held(one.numbers, postings, rows)
        result[mask] = np.maximum(result[mask], _more(one, terms, postings, rows[mask]))
        held.append((one, mask))
    return result, held


def _held(numbers: Sequence[int], postings: _Postings, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    mask = np.ones(len(rows), bool) if len(numbers) == 1 else postings.lengths[rows] <= _NEAR
    for number in numbers:
        mask &= postings.at(number, rows) > 0
    return mask


def _more(
    one: Alternative, terms: Sequence[_Term], postings: _Postings, rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """How much higher the alternative scores products than the words that it stands for: a product that holds both
    counts once."""
    score = np.zeros(len(rows), np.float32)
    for number in one.counted:
        score += np.float32(one.scale) * postings.at(number, rows)
    for term in terms:
        if set(term.words) <= set(one.words):
            score -= np.float32(term.weight * term.scale) * postings.at(term.number, rows)
    return np.maximum(score, 0)
