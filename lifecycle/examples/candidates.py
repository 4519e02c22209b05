"""What a source of candidates finds for queries, and the exact search by the towers' vectors."""

from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class RetrievedProducts:
    """For q queries the k products found first: `rows` of the catalog, -1 where there are no more, and `scores`.

    Both of shape (q, k), best first.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]

    @classmethod
    def none(cls, queries: int, count: int) -> "RetrievedProducts":
        """Room for `count` products of each query, none of them found yet."""
        return cls(np.full((queries, count), -1, np.int64), np.zeros((queries, count), np.float32))


def nearest(queries: NDArray[np.float32], items: NDArray[np.float32], count: int) -> RetrievedProducts:
    """The `count` products of highest inner product, from vectors of shape (q, d) and (n, d); by exact search."""
    scores, rows = faiss.knn(queries, items, min(count, len(items)), metric=faiss.METRIC_INNER_PRODUCT)
    return RetrievedProducts(rows, scores)
