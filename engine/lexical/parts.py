"""The words within the compounds of a vocabulary, as indexing split them; see `engine/lexical/compounds.py`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.arrays import map_array

_TERMS, _ENDS, _PARTS = "compound_terms.npy", "compound_ends.npy", "compound_parts.npy"
PARTS_FILES = (_TERMS, _ENDS, _PARTS)


class CompoundParts:
    """The terms of the words within each compound, all by number."""

    def __init__(self, terms: NDArray[Any], ends: NDArray[Any], parts: NDArray[Any]) -> None:
        """Compound `terms[i]`, ascending, has the parts `parts[ends[i]:ends[i + 1]]`."""
        self._terms, self._ends, self._parts = terms, ends, parts

    @classmethod
    def open(cls, folder: Path) -> "CompoundParts":
        """Maps what `write_parts` left in a folder. Indexes of versions before lack it, and have no parts here."""
        if not (folder / _TERMS).is_file():
            return cls(np.empty(0, np.int32), np.zeros(1, np.int64), np.empty(0, np.int32))
        return cls(*(map_array(folder / name) for name in PARTS_FILES))

    def of_term(self, number: int) -> list[int]:
        """The parts of a compound; empty for a term that is none."""
        place = int(self._terms.searchsorted(number))
        if place == len(self._terms) or self._terms[place] != number:
            return []
        return self._parts[self._ends[place] : self._ends[place + 1]].tolist()


def write_parts(parts: Mapping[int, Sequence[int]], folder: Path) -> None:
    """Writes the parts of each compound."""
    terms = sorted(parts)
    flat = [number for term in terms for number in parts[term]]
    np.save(folder / _TERMS, np.array(terms, np.int32))
    np.save(folder / _ENDS, np.cumsum([0, *(len(parts[term]) for term in terms)], dtype=np.int64))
    np.save(folder / _PARTS, np.array(flat, np.int32))
