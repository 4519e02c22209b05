"""The straightforward program that Tandem is compared with: sentence-transformers, FAISS and a CrossEncoder, in fp32.

It does the same work a query: encode, exact top k, rescore the first ones with the cross-encoder, sort.
"""

from collections.abc import Sequence
from pathlib import Path

import faiss
import numpy as np
from sentence_transformers import CrossEncoder, SentenceTransformer


class PlainSearch:
    """Answers queries over product texts whose unit vectors, shape (n, d), are given."""

    def __init__(self, encoder: Path, ranker: Path, texts: Sequence[str], vectors: np.ndarray) -> None:
        self._encoder = SentenceTransformer(str(encoder), device="cpu")
        self._ranker = CrossEncoder(str(ranker), device="cpu")
        self._texts = texts
        self._index = faiss.IndexFlatIP(vectors.shape[1])
        self._index.add(np.ascontiguousarray(vectors, np.float32))

    def search(self, query: str, k: int, depth: int) -> list[int]:
        """Rows of the best k products, the first `depth` of them in the cross-encoder's order."""
        vector = self._encoder.encode([query], normalize_embeddings=True, show_progress_bar=False)
        rows = self._index.search(vector, k)[1][0]
        if not depth:
            return rows.tolist()
        pairs = [(query, self._texts[row]) for row in rows[:depth]]
        scores = self._ranker.predict(pairs, batch_size=depth, show_progress_bar=False)
        return [*rows[:depth][np.argsort(-scores)].tolist(), *rows[depth:].tolist()]
