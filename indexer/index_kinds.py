"""The kinds of vector index: which are worth building, how they are made, trained and filled.

`exact_fp16` scans half-precision vectors. `ivf_fp16` and `ivf_sq8` keep vectors in lists and scan those nearest to the
query, `ivf_pq` codes of two bits a dimension in their place; `hnsw_fp16` is a graph.
"""

from collections.abc import Iterator

import faiss
import numpy as np
from numpy.typing import NDArray

from core.errors import ReleaseError
from core.progress import Report
from engine.vector.filtering import EXACT_KIND

EXACT = EXACT_KIND
_CHUNK = 65_536
_TRAINING_PER_LIST = 64
_HNSW_LINKS = 32
_HNSW_MAX_PRODUCTS = 200_000  # beyond, two cores take longer to link the graph than a nightly job has
# Bytes of product quantisation that FAISS supports on a GPU, in descending order.
_PQ_BYTES = (96, 64, 56, 48, 40, 32, 28, 24, 20, 16, 12, 8, 4, 3, 2, 1)
_PQ_MIN_PRODUCTS = 2_560

_HALF, _EIGHT, _INNER = faiss.ScalarQuantizer.QT_fp16, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT

Vectors = NDArray[np.float16] | NDArray[np.float32]
Parameters = dict[str, int]


def candidate_kinds(count: int, chosen: str | None) -> list[tuple[str, Parameters]]:
    """The approximate kinds worth trying for so many vectors, or the chosen one, with their build parameters.

    Raises ReleaseError where there are too few vectors for the chosen kind.
    """
    lists = {"nlist": int(np.clip(4 * np.sqrt(count), 1, max(1, count // 39)))}
    kinds = [("ivf_fp16", lists), ("ivf_sq8", lists)]
    if chosen == "ivf_pq":  # never by itself: it saves memory, which is not weighed here
        if count < _PQ_MIN_PRODUCTS:
            raise ReleaseError(
                f"ivf_pq learns its codes of {_PQ_MIN_PRODUCTS} products or more, not {count}; index them exactly"
            )
        kinds.append(("ivf_pq", lists))
    if count <= _HNSW_MAX_PRODUCTS or chosen == "hnsw_fp16":
        kinds.append(("hnsw_fp16", {"links": _HNSW_LINKS}))
    return [(kind, parameters) for kind, parameters in kinds if chosen in (None, kind)]


def make_exact(dimensions: int) -> faiss.Index:
    """An empty index of the exact kind."""
    return faiss.IndexScalarQuantizer(dimensions, _HALF, _INNER)


def make_index(kind: str, dimensions: int, parameters: Parameters, coarse: faiss.Index) -> faiss.Index:
    """An empty index of an approximate kind; IVF kinds share the coarse quantiser, which the first one trains."""
    if kind == "hnsw_fp16":
        return faiss.IndexHNSWSQ(dimensions, _HALF, parameters["links"], _INNER)  # type: ignore[arg-type]
    if kind == "ivf_pq":
        return faiss.IndexIVFPQ(coarse, dimensions, parameters["nlist"], pq_bytes(dimensions), 8, _INNER)
    return faiss.IndexIVFScalarQuantizer(
        coarse, dimensions, parameters["nlist"], _HALF if kind == "ivf_fp16" else _EIGHT, _INNER, False
    )


def pq_bytes(dimensions: int) -> int:
    """Into how many parts a vector is cut, a byte each: a quarter of its dimensions, or the next that divide it."""
    return next(count for count in _PQ_BYTES if dimensions % count == 0 and count <= max(1, dimensions // 4))


def train_index(index: faiss.Index, vectors: Vectors, parameters: Parameters, seed: int) -> None:
    """Trains on a sample; the seed makes the same index of the same vectors."""
    count = min(len(vectors), _TRAINING_PER_LIST * parameters.get("nlist", 16))
    rows = np.sort(np.random.default_rng(seed).choice(len(vectors), count, replace=False))
    if isinstance(index, faiss.IndexIVF):
        index.cp.seed = seed + 1
        index.cp.spherical = True
        index.cp.min_points_per_centroid = 1  # else FAISS complains of small catalogs on stderr
    index.train(vectors[rows].astype(np.float32))


def fill_index(index: faiss.Index, vectors: Vectors, done: int, total: int, report: Report) -> faiss.Index:
    """Adds all vectors, a chunk at a time; `report` counts on from `done` vectors of `total`."""
    if not index.is_trained:
        index.train(np.zeros((1, vectors.shape[1]), np.float32))
    for chunk in _chunks(vectors):
        index.add(chunk)
        done += len(chunk)
        report(done, total)
    return index


def search_settings(kind: str, parameters: Parameters) -> tuple[str, list[int]]:
    """The search setting of a kind, and its values from the narrowest search to the widest."""
    if kind == "hnsw_fp16":
        return "ef_search", [128, 192, 256, 384, 512, 768]
    lists = parameters["nlist"]  # all of them are searched last, so that few products have a width too
    return "nprobe", [n for n in (2, 4, 8, 16, 32, 48, 64, 96, 128, 192, 256, 384) if n < lists] + [min(lists, 384)]


def private_bytes(index: faiss.Index) -> int:
    """Memory beside the mapped file: the map from rows to places in lists, by which rows are looked up."""
    return 8 * int(index.ntotal) if isinstance(index, faiss.IndexIVF) else 0


def _chunks(vectors: Vectors) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(vectors), _CHUNK):
        yield np.ascontiguousarray(vectors[start : start + _CHUNK], np.float32)
