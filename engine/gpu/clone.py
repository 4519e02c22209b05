"""A FAISS index on one or several GPUs: exact in half precision, IVF with fp16, SQ8 or PQ codes, or CAGRA with cuVS.

FAISS on a GPU does not support selectors without cuVS and ignores them silently. So no filter is
handed to it here; `engine.gpu.index` filters.
"""

from collections.abc import Sequence
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from core.errors import ReleaseError
from engine.gpu.exact import SearchResult, Spread

MOST = 2048  # the greatest k that FAISS finds on a GPU


class FaissClone:
    """A copy of an index that FAISS searches. One thread at a time: GPU indexes are not made for several."""

    def __init__(self, index: faiss.Index, limit: int = MOST, keep: Sequence[Any] = ()) -> None:
        """`keep` is what has to live as long as the index does."""
        self.limit = limit
        self._index = index
        self._keep = keep

    @classmethod
    def to_devices(cls, index: faiss.Index, devices: Sequence[int], spread: Spread) -> "FaissClone":
        """Copies a processor's index there. Raises ReleaseError for a kind that FAISS has on no GPU."""
        options = faiss.GpuMultipleClonerOptions()
        options.useFloat16 = True  # of the vectors of an exact index, and of PQ's tables
        options.shard = spread == "shard"
        resources = [faiss.StandardGpuResources() for _ in devices]
        try:
            copy = faiss.index_cpu_to_gpu_multiple_py(resources, index, options, list(devices))
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise ReleaseError(f"{type(index).__name__} cannot be searched on a GPU: {reason}") from None
        return cls(copy, keep=resources)

    def search(self, queries: NDArray[np.float32], k: int) -> SearchResult:
        """Rows and scores, both (n, k), k at most `limit`; row -1 where nothing was found."""
        scores, rows = self._index.search(np.ascontiguousarray(queries, np.float32), k)
        return rows, scores
