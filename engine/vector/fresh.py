"""Exact search of few vectors, kept in memory, as the exact index of a release has them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.vector.index import VectorIndex, use_one_thread

_CHUNK = 1024
_UNIT = 1e-2  # that a norm may be off: half precision, and whoever sends vectors


class InvalidVector(ValueError):
    """A vector that no index may hold; the message says which and why."""


def make_exact_search(vectors: NDArray[np.float32] | NDArray[np.float16]) -> VectorIndex:
    """An exact index of n unit vectors, shape (n, d), in half precision: equal vectors score as in the release's exact
    index. Raises InvalidVector for one that is infinite, not a number, or of another length than 1."""
    import faiss

    check_vectors(vectors)
    use_one_thread()  # searches have the other cores
    index = faiss.IndexScalarQuantizer(vectors.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    if len(vectors):
        index.add(np.ascontiguousarray(vectors, np.float32))
    return VectorIndex(index)


def merge_searches(parts: Sequence[VectorIndex], kept: Sequence[NDArray[np.bool_]]) -> VectorIndex:
    """An exact index of the kept vectors of several; `kept[i]` has shape (vectors of part i,)."""
    import faiss

    use_one_thread()
    index = faiss.IndexScalarQuantizer(parts[0].dimensions, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    for part, mask in zip(parts, kept, strict=True):
        for start in range(0, part.count, _CHUNK):
            stop = min(start + _CHUNK, part.count)
            index.add(np.ascontiguousarray(part.between(start, stop)[mask[start:stop]]))
    return VectorIndex(index)


def check_vectors(vectors: NDArray[np.float32] | NDArray[np.float16]) -> None:
    """Raises InvalidVector for the first vector that cannot be searched; `vectors` has shape (n, d)."""
    if vectors.ndim != 2:
        raise InvalidVector(f"vectors have shape {vectors.shape}, not (n, d)")
    norms = np.linalg.norm(vectors.astype(np.float32), axis=1)
    wrong = np.flatnonzero(~(np.abs(norms - 1) <= _UNIT))
    if len(wrong):
        row = int(wrong[0])
        what = "is no unit vector" if np.isfinite(norms[row]) else "holds values that are not finite"
        raise InvalidVector(f"vector {row} {what} (length {norms[row]:.3g})")
