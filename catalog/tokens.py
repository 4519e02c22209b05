"""The ranker's tokens of every product, made once at indexing and memory-mapped while serving."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.arrays import map_array
from core.errors import ReleaseError

TOKENS_FILE = "ranker_tokens.npy"
OFFSETS_FILE = "ranker_offsets.npy"


class ProductTokens:
    """Row i holds product i's token ids, without special tokens."""

    def __init__(self, folder: Path) -> None:
        """Raises ReleaseError when the two files do not fit together."""
        try:
            self.tokens: NDArray[Any] = map_array(folder / TOKENS_FILE)
            self.offsets: NDArray[np.int64] = map_array(folder / OFFSETS_FILE)
        except (OSError, ValueError) as error:
            raise ReleaseError(f"{folder}: the ranker's product tokens cannot be read: {error}") from None
        if self.offsets.ndim != 1 or not len(self.offsets) or self.offsets[-1] != len(self.tokens):
            raise ReleaseError(f"{folder}: the ranker's product tokens and their offsets do not fit together")

    @classmethod
    def made_of(cls, tokens: NDArray[Any], offsets: NDArray[np.int64]) -> "ProductTokens":
        """Tokens in memory: product i has `tokens[offsets[i]:offsets[i + 1]]`."""
        made = cls.__new__(cls)
        made.tokens, made.offsets = tokens, offsets
        return made

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> NDArray[np.int32]:
        return self.tokens[self.offsets[row] : self.offsets[row + 1]].astype(np.int32)

    def take(self, rows: NDArray[np.int64]) -> list[NDArray[np.int32]]:
        """The token ids of the products of r rows, faster than one by one."""
        spans = zip(self.offsets[rows].tolist(), self.offsets[rows + 1].tolist(), strict=True)
        return [self.tokens[start:end].astype(np.int32) for start, end in spans]


def write_product_tokens(folder: Path, vocabulary: int, batches: Iterable[list[NDArray[np.int32]]]) -> int:
    """Streams token lists to the two files, in row order; returns the number of tokens.

    Ids take two bytes where a vocabulary of that size allows it, else four.
    """
    kind = np.dtype(np.uint16 if vocabulary <= 1 << 16 else np.uint32)
    lengths: list[NDArray[np.int64]] = [np.zeros(1, np.int64)]
    scratch = folder / f"{TOKENS_FILE}.part"
    with scratch.open("wb") as file:
        for batch in batches:
            lengths.append(np.array([len(tokens) for tokens in batch], np.int64))
            file.write(np.concatenate([np.empty(0, np.int32), *batch]).astype(kind).tobytes())
    offsets = np.cumsum(np.concatenate(lengths))
    total = int(offsets[-1])
    _with_header(scratch, folder / TOKENS_FILE, kind, total)
    np.save(folder / OFFSETS_FILE, offsets)
    return total


def _with_header(raw: Path, target: Path, kind: np.dtype, total: int) -> None:
    values = np.memmap(raw, kind, "r", shape=(total,)) if total else np.empty(0, kind)
    np.save(target, values)
    raw.unlink()
