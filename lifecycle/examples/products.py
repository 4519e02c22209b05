"""The catalog as mining sees it: ids, texts, and which products are nearly the same."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_array

from catalog.product import product_text
from core.strings import query_key
from lifecycle.examples.lexical import LexicalSearch

_WORD = re.compile(r"\w+")
# Pairs whose words are compared at a time; bounds memory.
_PAIRS = 200_000


@dataclass(frozen=True)
class Products:
    """n products by row: ids, titles, product texts, and the group each is a variant of, None where it is none.

    `language` is the texts' (BCP 47).
    """

    ids: Sequence[str]
    titles: Sequence[str]
    texts: Sequence[str]
    groups: Sequence[str | None]
    language: str = "en"

    @classmethod
    def from_catalog(cls, catalog: pa.Table, language: str) -> "Products":
        """From a table of `catalog.product.CATALOG_SCHEMA`."""
        texts = [product_text(row) for batch in catalog.to_batches() for row in batch.to_pylist()]
        ids, titles, groups = (catalog[name].to_pylist() for name in ("id", "title", "item_group_id"))
        return cls(ids, titles, texts, groups, language)

    @cached_property
    def rows(self) -> dict[str, int]:
        """The row of each id."""
        return {product: row for row, product in enumerate(self.ids)}

    @cached_property
    def lexical(self) -> LexicalSearch:
        """Their lexical index; built on first use."""
        return LexicalSearch(self.texts, self.language)

    def twins(self, some: NDArray[np.int64], others: NDArray[np.int64], overlap: float) -> NDArray[np.bool_]:
        """Whether products of the same place, both of shape (n,), are variants of one group or nearly the same.

        Nearly the same are titles with the same words, or whose words' Jaccard index, |a & b| / |a | b| (Jaccard,
        1912), is at least `overlap`.
        """
        same = (self._groups[some] >= 0) & (self._groups[some] == self._groups[others])
        sizes, others_sizes = self._sizes[some], self._sizes[others]
        # |a & b| is at most the smaller of the two, |a | b| at least the larger: most pairs need no look at the words.
        near = np.minimum(sizes, others_sizes) >= overlap * np.maximum(sizes, others_sizes)
        places = np.flatnonzero(~same & near & (sizes > 0))
        for part in np.array_split(places, len(places) // _PAIRS + 1):
            common = self._words[some[part]].multiply(self._words[others[part]]).sum(axis=1)
            same[part] = common >= overlap * (sizes[part] + others_sizes[part] - common)
        return same

    @cached_property
    def _groups(self) -> NDArray[np.int64]:
        numbers: dict[str, int] = {}
        return np.array([numbers.setdefault(group, len(numbers)) if group else -1 for group in self.groups], np.int64)

    @cached_property
    def _words(self) -> csr_array:
        """Ones where a title has a word, shape (n, different words)."""
        numbers: dict[str, int] = {}
        sets = [{numbers.setdefault(word, len(numbers)) for word in _words(title)} for title in self.titles]
        ends = np.cumsum([0, *map(len, sets)])
        columns = np.fromiter((word for words in sets for word in sorted(words)), np.int64, ends[-1])
        return csr_array((np.ones(ends[-1], np.float32), columns, ends), shape=(len(sets), max(1, len(numbers))))

    @cached_property
    def _sizes(self) -> NDArray[np.int64]:
        return np.diff(self._words.indptr).astype(np.int64)


def _words(title: str) -> list[str]:
    return _WORD.findall(query_key(title))
