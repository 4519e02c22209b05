"""infinity's engine in this process, torch and fp32, for both models, and a flat FAISS index, as it has none.

Its users mostly ask its HTTP server; in process nothing is spent on HTTP and JSON. `SyncEngineArray` is its own front
for threads: all clients' texts meet in its batcher. Its settings are its defaults (batches of 32, no cache).
"""

import faiss
import numpy as np
from infinity_emb import EngineArgs
from infinity_emb.sync_engine import SyncEngineArray
from numpy.typing import NDArray

from benchmarks.peers.programs.loop import Task, main

_AT_ONCE = 4096  # its queue has an end


class InfinityProgram:
    """Encodes and rescores by infinity, retrieves by FAISS."""

    packages: tuple[str, ...] = ("infinity-emb", "sentence-transformers", "transformers", "torch", "faiss-cpu")

    def __init__(self, task: Task) -> None:
        self._models = SyncEngineArray.from_args(
            [
                EngineArgs(
                    model_name_or_path=folder, served_model_name=name, engine="torch", device="cpu", dtype="float32"
                )
                for name, folder in (("encoder", task.encoder), ("ranker", task.ranker))
            ]
        )
        self._texts: list[str] = []
        self._index = faiss.IndexFlatIP(1)

    def embed(self, texts: list[str]) -> NDArray[np.float32]:
        """Unit vectors, shape (n, d)."""
        parts = [texts[start : start + _AT_ONCE] for start in range(0, len(texts), _AT_ONCE)]
        return np.concatenate(
            [np.stack(self._models.embed(model="encoder", sentences=part).result()[0]) for part in parts]
        )

    def build(self, texts: list[str], vectors: NDArray[np.float32]) -> None:
        """A flat index."""
        self._texts = texts
        self._index = faiss.IndexFlatIP(vectors.shape[1])
        self._index.add(vectors)

    def search(self, query: str, k: int, depth: int) -> list[int]:
        """Rows of the best k texts, the first `depth` of them in the cross-encoder's order."""
        rows = self._index.search(self.embed([query]), k)[1][0].tolist()
        if not depth:
            return rows
        texts = [self._texts[row] for row in rows[:depth]]
        ranked, _ = self._models.rerank(model="ranker", query=query, docs=texts).result()
        return [*(rows[each.index] for each in ranked), *rows[depth:]]


if __name__ == "__main__":
    main(InfinityProgram)
