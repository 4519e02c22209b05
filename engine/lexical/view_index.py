"""What a query is read by: the vocabulary and the word statistics of a catalog view.

Statistics are the base segment's, so that scores of all segments compare. A word that the base lacks has those of the
fresh segments' products that are not deleted.
"""

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np

from catalog.segment import Mask
from catalog.view import CatalogView
from engine.lexical.fresh_terms import ViewTerms
from engine.lexical.index import LexicalIndex
from engine.lexical.statistics import inverse_frequency


class ViewIndex(LexicalIndex):
    """A base index to read queries by, with the words that came with the fresh segments of a view."""

    def __init__(self, base: LexicalIndex, view: CatalogView) -> None:
        """`base` has the base segment's words."""
        self._base = base
        self._parts: list[tuple[LexicalIndex, Mask | None]] = [
            (cast(LexicalIndex, segment.words), view.alive(number))
            for number, segment in enumerate(view.segments)
            if number and segment.words is not None
        ]
        self._frequencies: dict[int, int] = {}
        self.statistics, self.parts, self.fresh_terms = base.statistics, base.parts, base.fresh_terms
        self.view_terms = ViewTerms(base.terms, base.fresh_terms, lambda number: self.document_frequency(number) > 0)
        self._set(self.view_terms, {name: base.postings(name) for name in base.fields}, base.count, base.compounds)

    def document_frequency(self, number: int) -> int:
        """See `LexicalIndex.document_frequency`."""
        if number < self.fresh_terms.first:
            return self._base.document_frequency(number)
        if number not in self._frequencies:
            self._frequencies[number] = max((self._fresh_frequency(field, number) for field in self.fields), default=0)
        return self._frequencies[number]

    def named_in(self, field: str, number: int) -> int:
        """See `LexicalIndex.named_in`."""
        if number < self.fresh_terms.first:
            return self._base.named_in(field, number)
        return self._fresh_frequency(field, number) if field in self.fields else 0

    def cooccurrence_weight(self, number: int, others: Mapping[int, float]) -> float:
        """See `LexicalIndex.cooccurrence_weight`."""
        if number < self.fresh_terms.first:
            return self._base.cooccurrence_weight(number, others)
        return sum(words.cooccurrence_weight(number, others) for words, _ in self._parts)

    def holding(self, numbers: Sequence[int]) -> int:
        """See `LexicalIndex.holding`; of terms that no product of the base holds together, over fresh segments."""
        own = self._base.holding(numbers)
        if own or not self._parts:
            return own
        self.view_terms.consulted = True
        return sum(words.holding(numbers) for words, _ in self._parts)

    def scale(self, number: int) -> float:
        """What a term's scores are multiplied by: those of a word that the base lacks were made as if one product held
        it."""
        if number < self.fresh_terms.first:
            return 1.0
        held = np.array([self.document_frequency(number), 1])
        rarity, assumed = inverse_frequency(np.maximum(held, 1), max(self.count, 1))
        return float(rarity / assumed) if assumed > 0 else 1.0

    def scored_frequency(self, number: int) -> int:
        """The document frequency by which a term's scores were made."""
        return self.document_frequency(number) if number < self.fresh_terms.first else 1

    def _fresh_frequency(self, field: str, number: int) -> int:
        """Products of the fresh segments that hold a fresh term in a field, without the deleted ones."""
        total = 0
        for words, alive in self._parts:
            rows = words.postings(field).lookup(number)[0]
            total += len(rows) if alive is None else int(np.count_nonzero(alive[rows]))
        return total
