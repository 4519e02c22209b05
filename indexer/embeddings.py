"""Stores embeddings between runs, by the digest of the product text: only new or changed products are embedded.

One folder belongs to one model, text version and maximum length. Segments are written whole and renamed into place:
after a kill -9 all but the segment in the making is there. A segment that is damaged is dropped, and its products are
embedded anew.
"""

import io
import logging
import os
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.durable import FAILURES, allocate

log = logging.getLogger("tandem.index")

Keys = NDArray[np.void]
KEY = np.dtype("V16")


def text_keys(texts: Sequence[str]) -> Keys:
    """128-bit BLAKE2b digests of the texts, shape (n,)."""
    return np.frombuffer(b"".join(blake2b(text.encode(), digest_size=16).digest() for text in texts), KEY)


class DamagedSegment(Exception):
    """A segment was damaged, and is removed with its vectors: open the store again."""


class EmbeddingStore:
    """Unit vectors in half precision by key: 784 bytes a product at 384 dimensions on disk, 24 in memory."""

    def __init__(self, folder: Path, dimensions: int) -> None:
        self._folder = folder
        self._dimensions = dimensions
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob("*.part"):
            leftover.unlink()
        self._segments, parts = [], []
        for path in sorted(folder.glob("segment-*.npz")):
            try:
                parts.append(_read_keys(path))
            except DamagedSegment:
                continue
            self._segments.append(path)
        self._keys, self._places = np.empty(0, KEY), np.empty((0, 2), np.int32)
        self._fresh = [(part, _places(i, len(part))) for i, part in enumerate(parts)]
        self._merge()

    def __len__(self) -> int:
        return len(self._keys) + sum(len(keys) for keys, _ in self._fresh)

    def missing(self, keys: Keys) -> NDArray[np.int64]:
        """Indices into `keys` of the first occurrence of each key that has no vector yet, rising."""
        self._merge()
        _, first = np.unique(keys, return_index=True)
        first.sort()
        return first[~self._has_vector(keys[first])]

    def add(self, keys: Keys, vectors: NDArray[np.float32]) -> None:
        """Writes vectors of shape (n, d) for n new keys durably."""
        if vectors.shape != (len(keys), self._dimensions):
            raise ValueError(f"{len(keys)} keys want vectors of {self._dimensions} dimensions, not {vectors.shape}")
        number = 1 + int(self._segments[-1].stem.split("-")[1]) if self._segments else 1
        path = self._folder / f"segment-{number:06d}.npz"
        _write_segment(path, keys, vectors.astype(np.float16))
        self._segments.append(path)
        self._fresh.append((keys, _places(len(self._segments) - 1, len(keys))))

    def gather(self, keys: Keys, target: Path) -> NDArray[np.float16]:
        """Writes the vectors of the keys, in their order, to an .npy file and returns it mapped, shape (n, d).

        Raises KeyError when a key has no vector, DamagedSegment when a kept one cannot be read.
        """
        self._merge()
        if len(keys) and not self._has_vector(keys).all():
            raise KeyError("some products have no vector")
        places = self._places[np.searchsorted(self._keys, keys)]
        shape = (len(keys), self._dimensions)
        result = np.lib.format.open_memmap(target, mode="w+", dtype=np.float16, shape=shape)
        allocate(target)
        counts = np.bincount(self._places[:, 0], minlength=len(self._segments))
        order = np.argsort(places[:, 0], kind="stable")
        bounds = np.searchsorted(places[order, 0], np.arange(len(self._segments) + 1))
        for segment, path in enumerate(self._segments):
            rows = order[bounds[segment] : bounds[segment + 1]]
            if len(rows):
                vectors = _load(path, "vectors")
                if vectors.dtype != np.float16 or vectors.shape != (counts[segment], self._dimensions):
                    raise _drop_segment(path, f"vectors of {vectors.dtype}, {vectors.shape}")
                result[rows] = vectors[places[rows, 1]]
        result.flush()
        return result

    def compact(self, keys: Keys, limit: int) -> None:
        """Drops vectors of none of the keys, the oldest first, until `limit` are kept or only the keys' are left.

        Call it last: the store does not update its own index.
        """
        excess = len(self) - limit
        used = np.unique(keys)
        for path in self._segments:
            if excess <= 0:
                return
            stored = _read_keys(path)
            unused = np.flatnonzero(~np.isin(stored, used))[:excess]
            excess -= len(unused)
            if len(unused) == len(stored):
                path.unlink()
            elif len(unused):
                _write_segment(path, np.delete(stored, unused), np.delete(_load(path, "vectors"), unused, axis=0))

    def _has_vector(self, keys: Keys) -> NDArray[np.bool_]:
        if not len(self._keys):
            return np.zeros(len(keys), bool)
        at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return self._keys[at] == keys

    def _merge(self) -> None:
        """Merges the keys that were added since the last look-up."""
        if not self._fresh:
            return
        keys = np.concatenate([self._keys, *(keys for keys, _ in self._fresh)])
        places = np.concatenate([self._places, *(places for _, places in self._fresh)])
        order = np.argsort(keys, kind="stable")
        self._keys, self._places, self._fresh = keys[order], places[order], []


def _places(segment: int, count: int) -> NDArray[np.int32]:
    return np.stack([np.full(count, segment, np.int32), np.arange(count, dtype=np.int32)], axis=1)


def _write_segment(path: Path, keys: Keys, vectors: NDArray[np.float16]) -> None:
    """Writes a segment, or replaces one, durably and as a whole."""
    scratch = path.with_suffix(".part")
    buffer = io.BytesIO()  # on a full disk, writing a zip file hides the reason behind errors of its own
    np.savez(buffer, keys=keys, vectors=vectors)
    try:
        with scratch.open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        scratch.rename(path)
    except FAILURES:
        scratch.unlink(missing_ok=True)
        raise


def _read_keys(path: Path) -> Keys:
    keys = _load(path, "keys")
    if keys.dtype != KEY or keys.ndim != 1:
        raise _drop_segment(path, f"keys of {keys.dtype}, {keys.shape}")
    return keys


def _load(path: Path, name: str) -> np.ndarray:
    """An array of a segment, whose checksum zip files have. Drops the segment and raises DamagedSegment if damaged."""
    try:
        with np.load(path) as file:
            return file[name]
    except OSError:
        raise
    except Exception as error:  # of zip, zlib and numpy, which raise a dozen kinds
        raise _drop_segment(path, f"{type(error).__name__}: {error}") from None


def _drop_segment(path: Path, why: str) -> DamagedSegment:
    log.warning("%s is damaged and dropped, what it held is embedded anew: %s", path, why)
    path.unlink(missing_ok=True)
    return DamagedSegment(path)
