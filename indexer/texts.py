"""Texts as sequences of term numbers."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TermSequences:
    """The terms of n texts, shape (t,), and how many each has, shape (n,)."""

    terms: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def with_parts(self, parts: Mapping[int, NDArray[np.int64]], terms: int) -> "TermSequences":
        """Adds to each term its parts, behind it; `terms` is one more than the highest number."""
        counts = np.zeros(terms, np.int64)
        counts[list(parts)] = [len(numbers) for numbers in parts.values()]
        order = sorted(parts)
        starts = np.cumsum(counts) - counts
        flat = np.concatenate([parts[number] for number in order])
        more = counts[self.terms]
        offsets = np.arange(more.sum()) - np.repeat(np.cumsum(more) - more, more)
        result = np.empty(len(self.terms) + len(offsets), np.int64)
        places = np.arange(len(self.terms)) + np.cumsum(more) - more
        result[places] = self.terms
        result[np.repeat(places + 1, more) + offsets] = flat[np.repeat(starts[self.terms], more) + offsets]
        owners = np.repeat(np.arange(len(self.lengths)), self.lengths)
        extra = np.bincount(owners, weights=more, minlength=len(self.lengths)).astype(np.int64)
        return TermSequences(result, self.lengths + extra)
