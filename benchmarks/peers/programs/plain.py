"""The straightforward program that Tandem is compared with: sentence-transformers, FAISS and a CrossEncoder, in fp32.

It does the same work a query: encode, exact top k, rescore the first ones with the cross-encoder, sort.
"""

from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray
from sentence_transformers import CrossEncoder, SentenceTransformer

from benchmarks.peers.programs.loop import Task, main


class PlainProgram:
    """As its documentation shows it; torch takes all cores by itself."""

    packages: tuple[str, ...] = ("sentence-transformers", "transformers", "torch", "faiss-cpu")

    def __init__(self, task: Task) -> None:
        self.task = task
        self._encoder = self.load(SentenceTransformer, task.encoder)
        self._ranker = self.load(CrossEncoder, task.ranker)
        self._texts: list[str] = []
        self._index = faiss.IndexFlatIP(1)

    def load(self, kind: Any, folder: str) -> Any:
        """A SentenceTransformer or a CrossEncoder of the weights in a folder."""
        return kind(folder, device="cpu")

    def embed(self, texts: list[str]) -> NDArray[np.float32]:
        """Unit vectors, shape (n, d)."""
        return self._encoder.encode(texts, normalize_embeddings=True, show_progress_bar=False)

    def build(self, texts: list[str], vectors: NDArray[np.float32]) -> None:
        """A flat index."""
        self._texts = texts
        self._index = faiss.IndexFlatIP(vectors.shape[1])
        self._index.add(vectors)

    def search(self, query: str, k: int, depth: int) -> list[int]:
        """Rows of the best k texts, the first `depth` of them in the cross-encoder's order."""
        rows = self._index.search(self.embed([query]), k)[1][0]
        if not depth:
            return rows.tolist()
        pairs = [(query, self._texts[row]) for row in rows[:depth]]
        scores = self._ranker.predict(pairs, batch_size=depth, show_progress_bar=False)
        return [*rows[:depth][np.argsort(-scores)].tolist(), *rows[depth:].tolist()]


if __name__ == "__main__":
    main(PlainProgram)
