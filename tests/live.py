"""A small release in parts, and fresh segments over it."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faiss
import numpy as np
from builders import write_columns
from wordings import lexical_index

from catalog.column_file import open_columns
from catalog.segment import Segment, make_segment
from catalog.table import ProductTable
from catalog.tokens import ProductTokens, write_product_tokens
from catalog.view import CatalogView
from core.progress import ignore
from engine.lexical.index import LexicalIndex
from engine.vector.index import VectorIndex
from indexer.columns import ColumnSettings
from indexer.columns import write_columns as write_typed
from retrieval.live.fresh import FreshSegments

Row = dict[str, Any]
DIMENSIONS = 8


def unit_vectors(count: int, seed: int = 0) -> np.ndarray:
    """Vectors by chance, of half precision, shape (count, DIMENSIONS)."""
    vectors = np.random.default_rng(seed).standard_normal((count, DIMENSIONS)).astype(np.float32)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16).astype(np.float32)


def tokens_of(rows: Sequence[Row]) -> list[np.ndarray]:
    """The first letters of each product's title."""
    return [np.array([ord(letter) for letter in row["title"][:5]], np.int32) for row in rows]


class Base:
    """A release of these rows: its segment with vectors and words, and what makes fresh segments over it."""

    def __init__(
        self, folder: Path, rows: Sequence[Row], vectors: np.ndarray, language: str = "en", currency: str | None = "EUR"
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        table = ProductTable(write_columns(folder / "products.arrow", rows, batch=3))
        settings = ColumnSettings(language, currency)
        self.report = write_typed(table, settings, folder / "columns.arrow", ignore)
        write_product_tokens(folder, 1000, [tokens_of(rows)])
        index = faiss.IndexScalarQuantizer(DIMENSIONS, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        index.add(vectors)
        self.vectors = VectorIndex(index)
        self.words: LexicalIndex = lexical_index(folder / "words", rows, language)
        columns = open_columns(folder / "columns.arrow")
        self.segment = make_segment(table, ProductTokens(folder), columns=columns)
        self.manifest: Any = SimpleNamespace(
            language=language, currency=currency, snapshot=SimpleNamespace(columns=self.report)
        )
        self.fresh = FreshSegments(self.segment, self.manifest, self.words)

    def build(self, rows: Sequence[Row], vectors: np.ndarray) -> Segment:
        """A fresh segment."""
        return self.fresh.build(rows, vectors, tokens_of(rows))

    def view(self, fresh: Sequence[Segment] = (), deleted: np.ndarray | None = None, revision: int = 1) -> CatalogView:
        """The base with fresh segments."""
        return CatalogView(self.segment, fresh, deleted, revision)
