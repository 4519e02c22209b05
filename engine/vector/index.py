"""Searches one FAISS index of product vectors, from any number of threads."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.errors import MissingPackageError, ReleaseError

if TYPE_CHECKING:
    import faiss  # loaded with the first index: most commands open none

# Search-time settings by their name in the index report, and what FAISS calls each.
SEARCH_SETTINGS = {"nprobe": "nprobe", "ef_search": "efSearch"}


def use_one_thread() -> None:
    """Bounds FAISS to the calling thread. OpenMP keeps this for each thread, so every worker calls it once."""
    import faiss

    faiss.omp_set_num_threads(1)


class VectorIndex:
    """Inner product over unit vectors: cosine similarity. Row i is product i of the snapshot."""

    def __init__(self, index: "faiss.Index") -> None:
        """Takes a FAISS index over inner products whose search settings are made."""
        self._index = index
        self.count = int(index.ntotal)
        self.dimensions = int(index.d)

    @classmethod
    def open(cls, path: Path, report: Mapping[str, Any]) -> "VectorIndex":
        """Maps the file, so that processes share its memory, and sets the report's search-time settings.

        Raises ReleaseError when it is not an index over inner products, MissingPackageError without FAISS.
        """
        try:
            import faiss
        except ModuleNotFoundError:
            raise MissingPackageError("searching vectors", "cpu") from None
        try:
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise ReleaseError(f"{path} is not an index that FAISS reads: {reason}") from None
        if index.metric_type != faiss.METRIC_INNER_PRODUCT:
            raise ReleaseError(f"{path} is an index over another metric than inner products; index the catalog again")
        apply_settings(index, report.get("settings", {}))
        if isinstance(index, faiss.IndexIVF):
            index.make_direct_map()  # 8 bytes a vector: without it no row can be looked up
        return cls(index)

    def copied(self, copy: "Callable[[faiss.Index], faiss.Index]") -> "VectorIndex":
        """The same index elsewhere, such as on a GPU."""
        return VectorIndex(copy(self._index))

    def search(
        self, vectors: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows and scores, both of shape (n, min(k, count)), of n unit vectors of shape (n, d), best first, among the
        rows that the mask, shape (count,), allows.

        Equal scores stand in the order of their rows. Where a mask allows fewer, or an approximate index finds fewer,
        row -1 fills up the end; an exact index without a mask always finds as many.
        """
        queries = np.ascontiguousarray(vectors, np.float32)
        # The bits have to stay alive as long as the search, which FAISS does not see to.
        bits = None if allowed is None else np.packbits(allowed, bitorder="little")
        parameters = None if bits is None else _masked(self._index, bits, self.count)
        scores, rows = self._index.search(queries, min(k, self.count), params=parameters)
        order = np.lexsort((rows, -scores), axis=1)
        return np.take_along_axis(rows, order, 1), np.take_along_axis(scores, order, 1)

    def similarities(self, vector: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Scores, shape (r,), of r rows against a unit vector of shape (d,), as a search that finds them gives."""
        return self.vectors(rows) @ vector

    def vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors of r rows, shape (r, d), as the index has them."""
        return self._index.reconstruct_batch(np.ascontiguousarray(rows, np.int64))

    def between(self, start: int, stop: int) -> NDArray[np.float32]:
        """The vectors from one row up to another, shape (stop - start, d)."""
        return self._index.reconstruct_n(start, stop - start)

    @property
    def exact(self) -> bool:
        """Whether a search scores every vector."""
        import faiss

        return isinstance(self._index, faiss.IndexFlat | faiss.IndexScalarQuantizer)

    @property
    def code_bytes(self) -> int:
        """What a vector takes."""
        return int(self._index.sa_code_size())

    @property
    def inner(self) -> "faiss.Index":
        """For who copies it elsewhere."""
        return self._index


def _masked(index: "faiss.Index", bits: NDArray[np.uint8], count: int) -> Any:
    """Parameters of a search among the rows whose bit is set, with the index's own search settings."""
    import faiss

    library: Any = faiss  # its type stubs lack the fields of search parameters
    selector = library.IDSelectorBitmap(count, library.swig_ptr(bits))
    if isinstance(index, faiss.IndexIVF):
        return library.SearchParametersIVF(sel=selector, nprobe=index.nprobe)
    if isinstance(index, faiss.IndexHNSW):
        return library.SearchParametersHNSW(sel=selector, efSearch=index.hnsw.efSearch)
    return library.SearchParameters(sel=selector)


def apply_settings(index: "faiss.Index", settings: Mapping[str, Any]) -> None:
    """Sets an index's search-time settings by their names in `SEARCH_SETTINGS`."""
    import faiss

    for name, value in settings.items():
        if name in SEARCH_SETTINGS:
            faiss.ParameterSpace().set_index_parameter(index, SEARCH_SETTINGS[name], value)
