"""txtai: its Embeddings with FAISS, and its Similarity pipeline as a cross-encoder.

Vectors are those all programs search, so the index is of its method `external`, whose queries its own model encodes.
Past 5,000 rows txtai would take an approximate index; here it is set to search exactly, as the others do. Its
cross-encoder scores pair after pair: it offers no setting for batches.
"""

import numpy as np
from numpy.typing import NDArray
from txtai import Embeddings
from txtai.pipeline import Similarity

from benchmarks.peers.programs.loop import Task, main


class TxtaiProgram:
    """Retrieves with one Embeddings instance and encodes with another."""

    packages: tuple[str, ...] = ("txtai", "transformers", "torch", "faiss-cpu")

    def __init__(self, task: Task) -> None:
        self._models = Embeddings(path=task.encoder, gpu=False)
        self._similarity = Similarity(task.ranker, gpu=False, crossencode=True)
        self._texts: list[str] = []
        self._index = Embeddings(
            method="external",
            transform=lambda texts: self.embed(texts),  # it takes functions, not methods
            backend="faiss",
            faiss={"components": "IDMap,Flat"},
        )

    def embed(self, texts: list[str]) -> NDArray[np.float32]:
        """Unit vectors, shape (n, d)."""
        return np.asarray(self._models.batchtransform(texts), np.float32)

    def build(self, texts: list[str], vectors: NDArray[np.float32]) -> None:
        """A flat index."""
        self._texts = texts
        self._index.index((row, vector, None) for row, vector in enumerate(vectors))

    def search(self, query: str, k: int, depth: int) -> list[int]:
        """Rows of the best k texts, the first `depth` of them in the cross-encoder's order."""
        rows = [row for row, _ in self._index.search(query, k)]
        if not depth:
            return rows
        ranked = self._similarity(query, [self._texts[row] for row in rows[:depth]])
        return [*(rows[place] for place, _ in ranked), *rows[depth:]]


if __name__ == "__main__":
    main(TxtaiProgram)
