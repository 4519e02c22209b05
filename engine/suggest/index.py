"""The index of suggestions, mapped from files: what begins with some letters, and words that they may be meant for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import OSA

from core.arrays import map_array
from core.errors import ReleaseError
from engine.suggest.files import (
    BLOCK,
    END,
    FILES,
    HEAD,
    is_correctable,
    letter_hash,
    missing_letters,
    with_letters_missing,
)
from text.typos import typo_cost

Rows: TypeAlias = tuple[int, int]
"""Rows that stand beside each other: the first, and the one after the last."""

_MOST_COMPARED = 300  # words that are compared with a misspelt one letter by letter
_MOST_ALIKE = 6
# How much less likely each typing error makes a word: e to this power.
UNLIKELY = 2.5


@dataclass(frozen=True, slots=True)
class SuggestionEntry:
    """An entry of the index as it is shown; see `engine.suggest.files.Entry`."""

    text: str
    kind: int
    count: int


@dataclass(frozen=True, slots=True)
class Alike:
    """Letters that may be meant, and what the typing errors cost; see `text.typos.typo_cost`."""

    letters: str
    cost: float


class SuggestionIndex:
    """n suggestions, and a row for each word of each, sorted by what begins there. For any number of threads."""

    def __init__(self, folder: Path) -> None:
        """Maps the files. Raises ReleaseError where they do not fit together."""
        try:
            arrays: dict[str, NDArray[Any]] = {name.removesuffix(".npy"): map_array(folder / name) for name in FILES}
        except (OSError, ValueError) as error:
            raise ReleaseError(f"{folder} has no whole suggestions: {error}; run `tandem index` again") from None
        self._texts, self._text_ends = arrays["texts"], arrays["text_ends"]
        self._kinds, self._counts, self._entry_weights = arrays["kinds"], arrays["counts"], arrays["weights"]
        self._keys, self._key_ends = arrays["keys"], arrays["key_ends"]
        self._places, self._entries = arrays["row_places"], arrays["row_entries"]
        self._weights, self._totals, self._blocks = (
            arrays["row_weights"],
            arrays["row_totals"],
            arrays["block_weights"],
        )
        self._words, self._word_ends, self._heads = arrays["words"], arrays["word_ends"], arrays["heads"]
        self._variants, self._variant_heads = arrays["variants"], arrays["variant_heads"]
        rows, entries = len(self._places), len(self._kinds)
        lengths = {
            len(self._text_ends) - 1,
            len(self._key_ends) - 1,
            len(self._counts),
            len(self._entry_weights),
            entries,
        }
        if len(lengths) > 1 or {len(self._entries), len(self._weights), len(self._totals) - 1} != {rows}:
            raise ReleaseError(f"{folder}: the suggestions do not fit together; run `tandem index` again")

    def __len__(self) -> int:
        return len(self._kinds)

    @property
    def rows(self) -> Rows:
        """All rows."""
        return 0, len(self._places)

    def entry(self, number: int) -> SuggestionEntry:
        """An entry by its number."""
        text = self._texts[self._text_ends[number] : self._text_ends[number + 1]].tobytes().decode()
        return SuggestionEntry(text, int(self._kinds[number]), int(self._counts[number]))

    def weight(self, number: int) -> float:
        """How likely an entry is meant, wherever it matches."""
        return float(self._entry_weights[number])

    def key(self, number: int) -> str:
        """The key of an entry."""
        return self._keys[self._key_ends[number] : self._key_ends[number + 1] - 1].tobytes().decode()

    def beginning(self, start: str) -> Rows:
        """The rows that begin so."""
        key = start.encode()
        return self._first(key), self._first(key + b"\xff")

    def word(self, word: str) -> tuple[Rows, Rows]:
        """The rows that begin with a whole word: among others, and as the last one."""
        return self.beginning(word + " "), self.beginning(word + END.decode())

    def support(self, rows: Rows) -> float:
        """The weights of rows, added up."""
        return float(self._totals[rows[1]] - self._totals[rows[0]])

    def best(self, rows: Rows, count: int) -> list[tuple[int, float]]:
        """The entries of rows with the largest weights, at most so many, each with its weight; equal ones in the order
        of the rows. An entry with several rows among them comes once."""
        wanted = count
        while True:
            chosen = self._heaviest(rows, wanted)
            result = dict.fromkeys(self._entries[chosen].tolist())
            if len(result) >= count or wanted >= rows[1] - rows[0]:
                break
            wanted *= 2
        weights = {int(self._entries[row]): float(self._weights[row]) for row in reversed(chosen.tolist())}
        return [(number, weights[number]) for number in list(result)[:count]]

    def alike(self, word: str, whole: bool) -> list[Alike]:
        """What may be meant by letters that were typed with one or two errors, the likeliest first; the beginnings of
        words unless `whole`."""
        if not is_correctable(word):
            return []
        head = word[:HEAD]
        most = missing_letters(len(head)) if len(word) >= HEAD else 1
        if len(word) > HEAD or whole:
            candidates = self._words_alike(word, self._heads_alike(head, most), most, whole)
        else:
            candidates = {self._head(number) for number in self._heads_alike(head, most)}
        result = []
        for letters in candidates - {word}:
            errors = int(OSA.distance(word, letters, score_cutoff=most))
            if errors <= most:
                result.append(Alike(letters, typo_cost(word, letters, errors)))
        result.sort(
            key=lambda one: (UNLIKELY * one.cost - np.log1p(self._word_support(one.letters, whole)), one.letters)
        )
        return result[:_MOST_ALIKE]

    def _word_support(self, letters: str, whole: bool) -> float:
        if whole:
            return sum(map(self.support, self.word(letters)))
        return self.support(self.beginning(letters))

    def _heads_alike(self, head: str, most: int) -> list[int]:
        hashes = np.array(sorted({letter_hash(rest) for rest in with_letters_missing(head, most)}), np.uint64)
        first = np.searchsorted(self._variants, hashes)
        last = np.searchsorted(self._variants, hashes, side="right")
        spans = [self._variant_heads[a:b] for a, b in zip(first.tolist(), last.tolist(), strict=True) if a < b]
        if not spans:
            return []
        numbers = np.unique(np.concatenate(spans))
        return [int(number) for number in numbers if abs(int(self._heads[number, 2]) - len(head)) <= most]

    def _words_alike(self, word: str, heads: list[int], most: int, whole: bool) -> set[str]:
        """Whole words with one of these heads, or their beginnings that are about as long as the word."""
        result: set[str] = set()
        compared = 0
        for number in sorted(heads, key=lambda number: -int(self._heads[number, 2])):
            first, last, _ = self._heads[number].tolist()
            for place in range(first, min(last, first + _MOST_COMPARED - compared)):
                known = self._word(place)
                if whole:
                    result.add(known)
                else:
                    lengths = range(len(word) - most, len(word) + most + 1)
                    result |= {known[:length] for length in lengths if HEAD <= length <= len(known)}
                compared += 1
        return result

    def _word(self, place: int) -> str:
        return self._words[self._word_ends[place] : self._word_ends[place + 1]].tobytes().decode()

    def _head(self, number: int) -> str:
        first, _, length = self._heads[number].tolist()
        return self._word(first)[:length]

    def _first(self, key: bytes) -> int:
        """The first row that is not before these bytes."""
        low, high, length = 0, len(self._places), len(key)
        keys, places = self._keys, self._places
        while low < high:
            middle = (low + high) // 2
            place = places[middle]
            if keys[place : place + length].tobytes() < key:
                low = middle + 1
            else:
                high = middle
        return low

    def _heaviest(self, rows: Rows, count: int) -> NDArray[np.intp]:
        """The rows with the largest weights, the largest first, equal ones in their order. The heaviest rows stand in
        the blocks with the heaviest rows."""
        first, last = rows
        inner = range(-(-first // BLOCK), last // BLOCK)
        if len(inner) > count:
            blocks = _largest(self._blocks[inner.start : inner.stop], count) + inner.start
            parts = [np.arange(block * BLOCK, (block + 1) * BLOCK) for block in np.sort(blocks).tolist()]
            edges = np.arange(first, inner.start * BLOCK), np.arange(inner.stop * BLOCK, last)
            places = np.concatenate([edges[0], *parts, edges[1]])
        else:
            places = np.arange(first, last)
        return places[_largest(self._weights[places], count)]


def _largest(values: NDArray[Any], count: int) -> NDArray[np.intp]:
    """The places of the largest values, the largest first, equal ones in their order."""
    if len(values) > count:
        least = np.partition(values, len(values) - count)[len(values) - count]
        above = np.flatnonzero(values > least)
        places = np.concatenate([above, np.flatnonzero(values == least)[: count - len(above)]])
    else:
        places = np.arange(len(values))
    return places[np.lexsort((places, -values[places]))]
