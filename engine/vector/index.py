"""Searches one FAISS index of product vectors, from any number of threads."""

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.errors import MissingPackageError, ReleaseError
from engine.vector.filtering import EXACT_PLAN, FilterPlan, plan_filter

if TYPE_CHECKING:
    import faiss  # loaded with the first index: most commands open none

# Search-time settings by their name in the index report, and what FAISS calls each.
SEARCH_SETTINGS = {"nprobe": "nprobe", "ef_search": "efSearch"}


_reading = threading.Lock()
_MOST_TIMES = {"ivf_pq": 64, None: 64}  # the size of the file, of any array, by the kind of index


def use_one_thread() -> None:
    """Bounds FAISS to the calling thread. OpenMP keeps this for each thread, so every worker calls it once."""
    import faiss

    faiss.omp_set_num_threads(1)


class VectorIndex:
    """Inner product over unit vectors: cosine similarity. Row i is product i of the snapshot."""

    def __init__(self, index: "faiss.Index", filter_plans: Sequence[Mapping[str, Any]] | None = None) -> None:
        """Takes a FAISS index over inner products whose search settings are made; `filter_plans` are what `plan_filter`
        goes by."""
        import faiss

        if isinstance(index, faiss.IndexIVF):
            index.make_direct_map()  # 8 bytes a vector: without it no row can be looked up
        self._index = index
        self._filter_plans = filter_plans
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
            index = _read(path, report.get("kind"))
        except (RuntimeError, MemoryError, OSError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise ReleaseError(f"{path} is not an index that FAISS reads: {reason}") from None
        stated = report.get("count", index.ntotal), report.get("dimensions", index.d)
        if (index.ntotal, index.d) != stated:
            raise ReleaseError(
                f"{path} holds {index.ntotal:,} vectors of {index.d} dimensions, not {stated[0]:,} of {stated[1]}; "
                "index the catalog again"
            )
        if index.metric_type != faiss.METRIC_INNER_PRODUCT:
            raise ReleaseError(f"{path} is an index over another metric than inner products; index the catalog again")
        apply_settings(index, report.get("settings", {}))
        return cls(index, report.get("filter_plans"))

    def copied(self, copy: "Callable[[faiss.Index], faiss.Index]") -> "VectorIndex":
        """The same index elsewhere, such as on a GPU."""
        return VectorIndex(copy(self._index), self._filter_plans)

    def search(
        self, vectors: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None = None, exact: bool = False
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows and scores, both of shape (n, min(k, count)), of n unit vectors of shape (n, d), best first, among the
        rows that the mask, shape (count,), allows. With `exact`, an approximate index scores all of them.

        Equal scores stand in the order of their rows. Where a mask allows fewer than k, row -1 fills up the end; so it
        does where an approximate index without a mask finds fewer.
        """
        queries, k = np.ascontiguousarray(vectors, np.float32), min(k, self.count)
        if allowed is None:
            return _ordered(*self._run(queries, k, None, EXACT_PLAN if exact else None))
        passing = int(np.count_nonzero(allowed))
        plan = EXACT_PLAN if exact else plan_filter(self.exact, self.count, passing, self._filter_plans)
        if plan.by_row:
            return self._search_rows(queries, k, np.flatnonzero(allowed))
        # The bits have to stay alive as long as the search, which FAISS does not see to.
        bits = np.packbits(allowed, bitorder="little")
        rows, scores = self._run(queries, k, bits, plan)
        short = np.flatnonzero((rows >= 0).sum(axis=1) < min(k, passing))
        if len(short) and not plan.exact:
            rows[short], scores[short] = self._run(queries[short], k, bits, EXACT_PLAN)
        return _ordered(rows, scores)

    def search_wider(
        self, vectors: NDArray[np.float32], k: int, allowed: NDArray[np.bool_], widening: float
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """As `search` of an approximate index, by this widening; where it finds too few, row -1 fills up the end."""
        queries = np.ascontiguousarray(vectors, np.float32)
        bits = np.packbits(allowed, bitorder="little")
        return _ordered(*self._run(queries, min(k, self.count), bits, FilterPlan(exact=False, widening=widening)))

    def _search_rows(
        self, queries: NDArray[np.float32], k: int, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The best of few rows, ascending."""
        scores = queries @ self.vectors(rows).T if len(rows) else np.zeros((len(queries), 0), np.float32)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        best, rest = rows[order], k - order.shape[1]
        return (
            np.pad(best, ((0, 0), (0, rest)), constant_values=-1),
            np.pad(np.take_along_axis(scores, order, 1), ((0, 0), (0, rest)), constant_values=-np.inf),
        )

    def _run(
        self, queries: NDArray[np.float32], k: int, bits: NDArray[np.uint8] | None, plan: FilterPlan | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """A search by the plan, with the index's own settings without one."""
        import faiss

        index = self._index
        if plan is not None and plan.exact and isinstance(index, faiss.IndexHNSW):
            index = faiss.downcast_index(index.storage)
        parameters = None if plan is None else _parameters(index, bits, self.count, plan)
        scores, rows = index.search(queries, k, params=parameters)
        return rows, scores

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


def _read(path: Path, kind: str | None) -> "faiss.Index":
    """The index in a file, mapped. An array that its header claims to be larger than the file is refused unmade; tables
    that FAISS computes of product quantisation may be larger."""
    import faiss

    library: Any = faiss  # its type stubs lack the limit
    with _reading:  # the limit is one for the process
        before = library.get_deserialization_vector_byte_limit()
        library.set_deserialization_vector_byte_limit(1 + _MOST_TIMES.get(kind, 1) * path.stat().st_size)
        try:
            return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        finally:
            library.set_deserialization_vector_byte_limit(before)


def _ordered(rows: NDArray[np.int64], scores: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    order = np.lexsort((rows, -scores), axis=1)
    return np.take_along_axis(rows, order, 1), np.take_along_axis(scores, order, 1)


def _parameters(index: "faiss.Index", bits: NDArray[np.uint8] | None, count: int, plan: FilterPlan) -> Any:
    """Parameters of a search by the plan, among the rows whose bit is set where there are bits."""
    import faiss

    library: Any = faiss  # its type stubs lack the fields of search parameters
    selector = {} if bits is None else {"sel": library.IDSelectorBitmap(count, library.swig_ptr(bits))}
    if isinstance(index, faiss.IndexIVF):
        lists = index.nlist if plan.exact else min(index.nlist, math.ceil(index.nprobe * plan.widening))
        return library.SearchParametersIVF(**selector, nprobe=lists)
    if isinstance(index, faiss.IndexHNSW):
        return library.SearchParametersHNSW(**selector, efSearch=math.ceil(index.hnsw.efSearch * plan.widening))
    return library.SearchParameters(**selector)


def apply_settings(index: "faiss.Index", settings: Mapping[str, Any]) -> None:
    """Sets an index's search-time settings by their names in `SEARCH_SETTINGS`."""
    import faiss

    for name, value in settings.items():
        if name in SEARCH_SETTINGS:
            faiss.ParameterSpace().set_index_parameter(index, SEARCH_SETTINGS[name], value)
