"""A release's vectors on a GPU, behind the methods of `engine.vector.index.VectorIndex`.

Filters are implemented here: a mask over an exact search's scores; for FAISS, the search returns more than k products
and the filter drops those it excludes, or, where it allows few products, only those are searched. In every case the
result holds only products that the filter allows.
"""

import logging
from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

import faiss
import numpy as np
import torch
from numpy.typing import NDArray

from core.errors import ReleaseError
from engine.gpu.clone import FaissClone
from engine.gpu.exact import ExactSearch, Mask, SearchResult, Spread
from engine.protocol import EngineError
from engine.vector.index import VectorIndex

log = logging.getLogger("tandem.gpu")

Library: TypeAlias = Literal["auto", "faiss", "torch"]

_CHUNK = 1 << 15
_WIDER = 1.5  # times the number that a filter's share predicts
_SPARE_BYTES = 2 << 30  # for what a search takes on the way, and the models beside it


class Searcher(Protocol):
    """Searches the k best of the products that a mask, shape (count,), allows."""

    def search(self, queries: NDArray[np.float32], k: int, allowed: Mask | None) -> SearchResult:
        """Rows and scores, both (n, k), best first; row -1 where there are no more."""
        ...


class GpuIndex:
    """Searched on a GPU, while rows are looked up in the index it was copied from. One thread at a time."""

    def __init__(self, index: VectorIndex, searcher: Searcher) -> None:
        self._index = index
        self._searcher = searcher
        self.count = index.count
        self.dimensions = index.dimensions

    def search(
        self, vectors: NDArray[np.float32], k: int, allowed: Mask | None = None, exact: bool = False
    ) -> SearchResult:
        """As `VectorIndex.search`, of the products that the mask, shape (count,), allows. Of an approximate kind, an
        exact search is the processor's.

        Where it allows fewer than k, lines end with row -1. Raises EngineError for an answer that breaks the filter.
        """
        if exact and not self._index.exact:
            return self._index.search(vectors, k, allowed, exact=True)
        rows, scores = self._searcher.search(vectors, min(k, self.count), allowed)
        scores = np.where(rows >= 0, scores, -np.inf).astype(np.float32)
        order = np.lexsort((rows, -scores), axis=1)
        rows, scores = np.take_along_axis(rows, order, 1), np.take_along_axis(scores, order, 1)
        _check(rows, self.count, allowed)
        return rows.astype(np.int64), scores

    def vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """See `VectorIndex.vectors`."""
        return self._index.vectors(rows)

    def similarities(self, vector: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """See `VectorIndex.similarities`."""
        return self._index.similarities(vector, rows)


class FilteredSearcher:
    """Adds filters to a FAISS copy on a GPU."""

    def __init__(self, index: VectorIndex, copy: FaissClone) -> None:
        """`index` is the index that was copied."""
        self._index = index
        self._copy = copy

    def search(self, queries: NDArray[np.float32], k: int, allowed: Mask | None) -> SearchResult:
        """See `Searcher`. What is left to a narrow filter, or beyond the copy's limit, is searched by the processor."""
        left = self._index.count if allowed is None else int(allowed.sum())
        breadth = k if allowed is None else int(np.ceil(_WIDER * k * self._index.count / max(1, left)))
        breadth = min(max(breadth, k), self._index.count)
        if left == 0 or breadth > self._copy.limit:
            return self._alone(queries, k, allowed)
        rows, scores = self._copy.search(queries, breadth)
        if allowed is None:
            return rows, scores
        good = (rows >= 0) & allowed[rows]
        order = np.argsort(~good, axis=1, kind="stable")[:, :k]
        good = np.take_along_axis(good, order, 1)
        rows = np.where(good, np.take_along_axis(rows, order, 1), -1)
        scores = np.take_along_axis(scores, order, 1)
        if len(short := np.flatnonzero(good.sum(axis=1) < min(k, left))):
            more, their = self._alone(queries[short], k, allowed)
            rows[short], scores[short] = more, their
        return rows, scores

    def _alone(self, queries: NDArray[np.float32], k: int, allowed: Mask | None) -> SearchResult:
        """Scores all allowed products, in chunks."""
        rows_left = np.arange(self._index.count) if allowed is None else np.flatnonzero(allowed)
        rows, scores = np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), -np.inf, np.float32)
        for start in range(0, len(rows_left), _CHUNK):
            part = rows_left[start : start + _CHUNK]
            both = np.concatenate([scores, queries @ self._index.vectors(part).T], 1)
            names = np.concatenate([rows, np.broadcast_to(part, (len(queries), len(part)))], 1)
            best = np.argsort(-both, axis=1, kind="stable")[:, :k]
            rows, scores = np.take_along_axis(names, best, 1), np.take_along_axis(both, best, 1)
        return rows, scores


def copy_to_gpus(index: VectorIndex, gpus: int = 1, spread: Spread = "replica", library: Library = "auto") -> GpuIndex:
    """The index on so many GPUs. By FAISS where it was built for GPUs, else, an exact one, by matrix products of torch.

    Raises ReleaseError where there are fewer GPUs, no memory for it, or no way to search its kind there.
    """
    if gpus > (visible := torch.cuda.device_count()):
        raise ReleaseError(f"{gpus} GPUs are requested and torch detects {visible}; set `gpus`")
    _check_memory(index, gpus, spread)
    built = faiss.get_num_gpus() >= gpus
    if library == "faiss" and not built:
        raise ReleaseError(f"this FAISS sees {faiss.get_num_gpus()} GPUs: install faiss-gpu in faiss-cpu's place")
    if library == "faiss" or (library == "auto" and built):
        try:
            return GpuIndex(index, FilteredSearcher(index, FaissClone.to_devices(index.inner, range(gpus), spread)))
        except ReleaseError as error:
            if library == "faiss" or not index.exact:
                raise
            log.warning("%s; it is searched there by torch", error)
    return exact_index(index, [f"cuda:{number}" for number in range(gpus)], spread)


def exact_index(index: VectorIndex, devices: Sequence[str], spread: Spread = "replica") -> GpuIndex:
    """The same by torch, on devices as it names them. Raises ReleaseError for an index of an approximate kind."""
    if not index.exact:
        raise ReleaseError("an approximate index is searched on a GPU by FAISS alone: install faiss-gpu")
    return GpuIndex(index, ExactSearch(index.between, index.count, index.dimensions, devices, spread))


def _check_memory(index: VectorIndex, gpus: int, spread: Spread) -> None:
    parts = gpus if spread == "shard" else 1
    needed = index.code_bytes * index.count // parts + _SPARE_BYTES
    free = min(torch.cuda.mem_get_info(device)[0] for device in range(gpus))
    if needed > free:
        raise ReleaseError(
            f"the index needs {needed / 2**30:.1f} GiB of a GPU that has {free / 2**30:.1f} free; "
            "index with --index-kind ivf_pq, or spread it as shards over more GPUs"
        )


def _check(rows: NDArray[np.int64], count: int, allowed: Mask | None) -> None:
    """Checks an answer before it is returned."""
    inside = rows[rows >= 0]
    if len(inside) and int(inside.max()) >= count:
        raise EngineError(f"the GPU's index found row {inside.max()} of {count}")
    if allowed is not None and not allowed[inside].all():
        raise EngineError("the GPU's index found products that the filter leaves out")
