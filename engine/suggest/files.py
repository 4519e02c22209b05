"""The files of suggestions: sorted arrays that are mapped, and what writes them."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from text.completion import starts

ENTRY_FILES = ("texts.npy", "text_ends.npy", "kinds.npy", "counts.npy", "weights.npy", "keys.npy", "key_ends.npy")
ROW_FILES = ("row_places.npy", "row_entries.npy", "row_weights.npy", "row_totals.npy", "block_weights.npy")
WORD_FILES = ("words.npy", "word_ends.npy", "heads.npy", "variants.npy", "variant_heads.npy")
FILES = (*ENTRY_FILES, *ROW_FILES, *WORD_FILES)

BLOCK = 256
"""Rows of which the largest weight is kept."""
END = b"\n"
"""What follows each key."""
HEAD = 7
"""Letters of a word by which its misspellings are looked up."""
LEAST_LETTERS, MOST_LETTERS = 3, 24
_TWO_ERRORS = 6  # letters of a head, from which two may be missing
# What a match inside a suggestion counts beside one at its start: it comes after all but the rarest of these.
_INSIDE = 0.001
_MOST_WORDS = 200_000


@dataclass(frozen=True, slots=True)
class Entry:
    """A suggestion: its text, the key that it is found by, where it is from (a number of the wire's `SuggestionKind`),
    how often it was asked or how many products have it, and how likely it is meant, beside others."""

    text: str
    key: str
    kind: int
    count: int
    weight: float


def write_suggestions(entries: Sequence[Entry], folder: Path) -> None:
    """Writes the index of suggestions with different keys into an existing folder. There is at least one.

    Memory: some 100 bytes a row, one for each word of a key.
    """
    entries = sorted(entries, key=lambda entry: entry.key.encode())
    _save_strings([entry.text for entry in entries], folder / "texts.npy", folder / "text_ends.npy")
    np.save(folder / "kinds.npy", np.array([entry.kind for entry in entries], np.uint8))
    np.save(folder / "counts.npy", np.array([entry.count for entry in entries], np.int64))
    np.save(folder / "weights.npy", np.array([entry.weight for entry in entries], np.float32))
    keys = [entry.key.encode() + END for entry in entries]
    ends = _ends([len(key) for key in keys])
    blob = b"".join(keys)
    np.save(folder / "keys.npy", np.frombuffer(blob, np.uint8))
    np.save(folder / "key_ends.npy", ends)
    _write_rows(entries, ends, blob, folder)
    _write_words(_word_weights(entries), folder)


def letter_hash(letters: str) -> int:
    """64 bits that stand for some letters, the same everywhere."""
    return int.from_bytes(blake2b(letters.encode(), digest_size=8).digest(), "little")


def with_letters_missing(word: str, most: int) -> Iterator[str]:
    """The word, and all that is left of it without so many letters at most."""
    for missing in range(min(most, len(word) - 1) + 1):
        for kept in combinations(word, len(word) - missing):
            yield "".join(kept)


def missing_letters(length: int) -> int:
    """How many letters may be missing from a head of this length."""
    return 2 if length >= _TWO_ERRORS else 1


def is_correctable(word: str) -> bool:
    """Whether a likelier word may be meant: numbers, codes and the signs of Chinese are meant as they stand."""
    return word.isalpha() and LEAST_LETTERS <= len(word) <= MOST_LETTERS and ord(max(word)) < 0x0590


def _write_rows(entries: Sequence[Entry], ends: NDArray[np.int64], blob: bytes, folder: Path) -> None:
    places: list[int] = []
    owners: list[int] = []
    weights: list[float] = []
    for number, entry in enumerate(entries):
        first = int(ends[number])
        for start in starts(entry.key):
            places.append(first + len(entry.key[:start].encode()))
            owners.append(number)
            weights.append(entry.weight * (_INSIDE if start else 1.0))
    order = sorted(range(len(places)), key=lambda row: (blob[places[row] : ends[owners[row] + 1]], owners[row]))
    sorted_weights = np.array(weights, np.float32)[order]
    np.save(folder / "row_places.npy", np.array(places, np.int64)[order])
    np.save(folder / "row_entries.npy", np.array(owners, np.int32)[order])
    np.save(folder / "row_weights.npy", sorted_weights)
    np.save(folder / "row_totals.npy", np.concatenate([[0.0], np.cumsum(sorted_weights, dtype=np.float64)]))
    blocks = math.ceil(len(order) / BLOCK) * BLOCK
    filled = np.pad(sorted_weights, (0, blocks - len(order)))
    np.save(folder / "block_weights.npy", filled.reshape(-1, BLOCK).max(axis=1))


def _word_weights(entries: Iterable[Entry]) -> list[str]:
    """The words that may be meant by others, sorted; of very many those that count the most."""
    weights: dict[str, float] = defaultdict(float)
    for entry in entries:
        for word in entry.key.split(" "):
            if is_correctable(word):
                weights[word] += entry.weight
    return sorted(sorted(weights, key=lambda word: (-weights[word], word))[:_MOST_WORDS])


def _write_words(words: Sequence[str], folder: Path) -> None:
    """The words, their heads (shape (h, 3): first word, the one after the last, letters), and for each way to leave
    letters out of a head a number, ascending, with the head."""
    _save_strings(words, folder / "words.npy", folder / "word_ends.npy")
    heads = [
        (first, last, length)
        for length in range(2, HEAD + 1)
        for first, last in _runs([word[:length] if len(word) >= length else "" for word in words])
    ]
    variants: list[int] = []
    owners: list[int] = []
    for number, (first, _, length) in enumerate(heads):
        some = {letter_hash(rest) for rest in with_letters_missing(words[first][:length], missing_letters(length))}
        variants += sorted(some)
        owners += [number] * len(some)
    hashes = np.array(variants, np.uint64)
    order = np.argsort(hashes, kind="stable")
    np.save(folder / "heads.npy", np.array(heads, np.int32).reshape(-1, 3))
    np.save(folder / "variants.npy", hashes[order])
    np.save(folder / "variant_heads.npy", np.array(owners, np.int32)[order])


def _runs(values: Sequence[str]) -> Iterator[tuple[int, int]]:
    """From where to where each value stands; empty ones have no run."""
    first = 0
    for place in range(1, len(values) + 1):
        if place == len(values) or values[place] != values[first]:
            if values[first]:
                yield first, place
            first = place


def _save_strings(strings: Sequence[str], target: Path, ends: Path) -> None:
    raw = [string.encode() for string in strings]
    np.save(target, np.frombuffer(b"".join(raw), np.uint8))
    np.save(ends, _ends([len(one) for one in raw]))


def _ends(lengths: Sequence[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
