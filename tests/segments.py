"""Catalogs cut into segments that bring their own vectors and words, with the word statistics of the whole."""

import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from builders import write_columns
from wordings import lexical_index

from catalog.popularity import PopularityScale
from catalog.segment import Segment, make_segment
from catalog.table import ProductTable
from catalog.tokens import ProductTokens, write_product_tokens
from catalog.view import CatalogView
from engine.lexical.index import LexicalIndex, field_files
from engine.vector.index import VectorIndex


def vector_index(vectors: np.ndarray) -> VectorIndex:
    """An exact index."""
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors, np.float32))
    return VectorIndex(index)


def cut_words(whole: LexicalIndex, folder: Path, target: Path, start: int, stop: int) -> LexicalIndex:
    """The words of some rows of an index that lies in a folder, with its vocabulary, statistics and scores."""
    shutil.copytree(folder, target)
    for field in whole.fields:
        ends, rows, scores, lengths = field_files(field)
        inside = (np.load(folder / rows) >= start) & (np.load(folder / rows) < stop)
        counts = np.concatenate([[0], np.cumsum(inside)])
        old = np.load(folder / ends)
        np.save(target / ends, counts[old].astype(old.dtype))
        np.save(target / rows, (np.load(folder / rows)[inside] - start).astype(np.int32))
        np.save(target / scores, np.load(folder / scores)[inside])
        np.save(target / lengths, np.load(folder / lengths)[start:stop])
    return LexicalIndex(target, whole.fields, stop - start)


class Cut:
    """A catalog as one segment, and the same rows in several, cut at these rows."""

    def __init__(self, folder: Path, rows: Sequence[dict[str, Any]], vectors: np.ndarray, cuts: Sequence[int]) -> None:
        self.vectors = vectors
        self.words = lexical_index(folder / "whole", rows)
        self.numbers = PopularityScale(np.array([row["popularity"] or np.nan for row in rows], np.float64))
        self._folder, self._rows = folder, rows
        edges = [0, *cuts, len(rows)]
        parts = [self._part(place, *edge) for place, edge in enumerate(pairwise(edges))]
        self.base, *self.fresh = parts
        self.whole = self._part(len(parts), 0, len(rows))

    def view(self, deleted: np.ndarray | None = None) -> CatalogView:
        """Of all segments."""
        return CatalogView(self.base, self.fresh, deleted, revision=1)

    def _part(self, place: int, start: int, stop: int) -> Segment:
        folder = self._folder / f"part{place}"
        folder.mkdir()
        table = ProductTable(write_columns(folder / "c.arrow", self._rows[start:stop], batch=3))
        tokens = [np.array([row, row + 1, row + 2][: 1 + row % 3], np.int32) for row in range(start, stop)]
        write_product_tokens(folder, 1000, [tokens])
        words = cut_words(self.words, self._folder / "whole" / "lexical", folder / "words", start, stop)
        return make_segment(table, ProductTokens(folder), vector_index(self.vectors[start:stop]), words, self.numbers)
