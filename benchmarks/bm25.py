"""BM25 by bm25s with its defaults, over product texts: the baseline."""

import logging
from collections.abc import Sequence
from typing import Any

import bm25s
import numpy as np
from numpy.typing import NDArray

from core.progress import Report, ignore
from lifecycle.examples.candidates import RetrievedProducts

# Single letters and digits count: sizes are made of them.
_WORD = r"(?u)\b\w+\b"

logging.getLogger("bm25s").setLevel(logging.WARNING)  # it prints its progress


class PlainBM25:
    """An index of n texts in memory: one score, computed beforehand, for each different word of each text.

    BM25 in Lucene's form, k1 1.5 and b 0.75 (Lù, "BM25S", 2024, arXiv 2407.03618). No stop words and no stemming: the
    catalog's language is not known here, and common words weigh little.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        """`texts` are of any language that puts spaces between words; there is at least one."""
        self._count = len(texts)
        self._index = bm25s.BM25(csc_backend="scipy")
        self._index.index(_tokens(texts), show_progress=False)

    def search(self, queries: Sequence[str], count: int, report: Report = ignore) -> RetrievedProducts:
        """The `count` best texts of each query, by their places; texts that share no word with it are left out.

        One query's scores of all n texts are in memory at a time.
        """
        count = min(count, self._count)
        retrieved = RetrievedProducts.none(len(queries), count)
        for place, tokens in enumerate(_tokens(queries, return_ids=False)):
            scores = self._index.get_scores(tokens) if tokens else np.zeros(0, np.float32)
            rows = _best(scores, count)
            retrieved.rows[place, : len(rows)], retrieved.scores[place, : len(rows)] = rows, scores[rows]
            report(place + 1, len(queries))
        return retrieved


def _best(scores: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Places of the highest scores above 0, best first, shape (at most `count`,).

    `BM25.retrieve` partitions the zeros too, and a partition of mostly equal numbers takes many times as long.
    """
    rows = np.flatnonzero(scores > 0)
    if len(rows) > count:
        rows = np.sort(rows[np.argpartition(-scores[rows], count)[:count]])
    return rows[np.argsort(-scores[rows], kind="stable")]


def _tokens(texts: Sequence[str], return_ids: bool = True) -> Any:
    options = {"token_pattern": _WORD, "stopwords": None, "show_progress": False}
    return bm25s.tokenize(list(texts), return_ids=return_ids, **options)
