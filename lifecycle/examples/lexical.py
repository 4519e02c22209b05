"""What words find among product texts: the lexical index that is served, over one field."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.progress import Report, ignore
from engine.lexical.index import LexicalIndex
from engine.lexical.query_parser import LexicalQueryParser
from indexer.lexical import index_texts
from lifecycle.examples.candidates import RetrievedProducts
from retrieval.pipeline.coverage import favour


class LexicalSearch:
    """An index of n texts, in a folder that goes with it."""

    def __init__(self, texts: Sequence[str], language: str) -> None:
        """`texts` are in one language (BCP 47); there is at least one."""
        self._folder = tempfile.TemporaryDirectory(prefix="tandem-words-")
        folder = Path(self._folder.name)
        self._weights = index_texts(texts, language, folder).weights
        self._index = LexicalIndex(folder, list(self._weights), len(texts))
        self._reader = LexicalQueryParser(self._index, language)

    def search(self, queries: Sequence[str], count: int, report: Report = ignore) -> RetrievedProducts:
        """The `count` best texts of each query, by their places; texts that share no word with it are left out."""
        result = RetrievedProducts.none(len(queries), min(count, self._index.count))
        for place, query in enumerate(queries):
            best = self._index.search(self._reader.read(query).terms, self._weights, count)
            result.rows[place, : len(best.rows)], result.scores[place, : len(best.rows)] = best.rows, best.scores
            report(place + 1, len(queries))
        return result

    def favour(self, query: str, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """What fusion adds for the words of the query that these texts say, shape (r,); see `favour`."""
        read = self._reader.read(query)
        return favour(read, self._index.evidence(read, rows), 1.0)
