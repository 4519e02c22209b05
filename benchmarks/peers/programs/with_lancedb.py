"""LanceDB: a table of texts and vectors, and its own CrossEncoderReranker; vectors are sentence-transformers'.

The table has no vector index, which LanceDB then searches exactly; at this size its documentation advises that.
"""

from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
from lancedb.rerankers import CrossEncoderReranker
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from benchmarks.peers.programs.loop import Task, main


class LanceProgram:
    """Retrieves from a table on disk, beside the vectors' file."""

    packages: tuple[str, ...] = ("lancedb", "sentence-transformers", "transformers", "torch")

    def __init__(self, task: Task) -> None:
        self._encoder = SentenceTransformer(task.encoder, device="cpu")
        self._reranker = CrossEncoderReranker(task.ranker, column="text", device="cpu", batch_size=task.depth)
        self._tables = lancedb.connect(Path(task.vectors).with_name("lancedb"))
        self._table: Any = None  # LanceTable, once there are texts

    def embed(self, texts: list[str]) -> NDArray[np.float32]:
        """Unit vectors, shape (n, d)."""
        return self._encoder.encode(texts, normalize_embeddings=True, show_progress_bar=False)

    def build(self, texts: list[str], vectors: NDArray[np.float32]) -> None:
        """A table, written to disk."""
        lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
        rows = pa.table({"row": pa.array(range(len(texts))), "text": pa.array(texts), "vector": lists})
        self._table = self._tables.create_table("products", rows, mode="overwrite")

    def search(self, query: str, k: int, depth: int) -> list[int]:
        """Rows of the best k texts, the first `depth` of them in the cross-encoder's order."""
        query_builder = self._table.search(self.embed([query])[0]).distance_type("dot").limit(k)
        hits = query_builder.select(["row", "text", "_distance"]).to_arrow()
        if not depth:
            return hits["row"].to_pylist()
        ranked = self._reranker.rerank_vector(query, hits.slice(0, depth))
        return [*ranked["row"].to_pylist(), *hits["row"].slice(depth).to_pylist()]


if __name__ == "__main__":
    main(LanceProgram)
