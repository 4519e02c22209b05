"""Which products of a batch are no negatives of a query, although they came with another."""

import re
from collections.abc import Mapping
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from core.strings import query_key
from encoder.train.examples import TrainingRows
from training.examples import POOR, JudgedQueries

_WORD = re.compile(r"\w+")
# The Jaccard index of the words of two texts that are nearly the same.
_TWIN = 0.9


class FalseNegatives:
    """Knows, for the rows of `TrainingRows`, what answers their queries and what is nearly their good product."""

    def __init__(self, rows: TrainingRows, train: JudgedQueries, texts: Mapping[str, str]) -> None:
        queries = {query: number for number, query in enumerate(dict.fromkeys(rows.queries))}
        products = {name: number for number, name in enumerate(dict.fromkeys(chain.from_iterable(rows.products)))}
        self._queries = np.array([queries[query] for query in rows.queries])
        self._products = np.array([[products[name] for name in row] for row in rows.products])
        answers = [
            (queries[query], products[name])
            for query in queries
            for name, relevance in train.queries[query].items()
            if relevance > POOR and name in products
        ]
        self._answers = _ones(answers, (len(queries), len(products)))
        self._words = _words([texts[name] for name in products])
        self._sizes = self._words.sum(axis=1)

    def __call__(self, rows: NDArray[np.int64], among: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether the products of the rows `among`, shape (a,), are no negatives for those of `rows`, shape (b,).

        Shape (b, a * (n + 1)): all good products, then all first negatives, and so on. True where a product is judged
        above the poor grades for the row's query, or its words and those of the row's good product have a Jaccard
        index, |x & y| / |x | y| (Jaccard, 1912), of at least 0.9. A row's own good product is True too.
        """
        products = self._products[among].T.ravel()
        judged = self._answers[self._queries[rows]][:, products].toarray() > 0
        good = self._products[rows, 0]
        common = (self._words[good] @ self._words[products].T).toarray()
        together = self._sizes[good][:, None] + self._sizes[products][None] - common
        return judged | (common >= _TWIN * np.maximum(together, 1))


def _words(texts: list[str]) -> csr_array:
    """Ones where a text has a word, shape (texts, different words)."""
    numbers: dict[str, int] = {}
    sets = [{numbers.setdefault(word, len(numbers)) for word in _WORD.findall(query_key(text))} for text in texts]
    places = [(row, word) for row, words in enumerate(sets) for word in words]
    return _ones(places, (len(texts), max(1, len(numbers))))


def _ones(places: list[tuple[int, int]], shape: tuple[int, int]) -> csr_array:
    rows, columns = np.array(places, np.int64).reshape(-1, 2).T
    return csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)
