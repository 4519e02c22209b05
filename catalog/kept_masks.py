"""What is kept of a segment's columns while values of some of its products change."""

from collections.abc import Callable, Collection
from threading import Lock

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

_MASKS_BYTES = 64 << 20
_ENTRY_BYTES = 480  # what an entry takes beside its mask
_MOST_CHANGES = 4096  # that are remembered
_FEW = 0.1  # of a segment's rows, up to which a mask is made good in place of made anew

Mask = NDArray[np.bool_]
Rows = NDArray[np.int64]


class KeptMasks:
    """The changes from one version of a segment's columns to the next, and masks of the versions. For any number of
    threads."""

    def __init__(self, limit: int = _MASKS_BYTES) -> None:
        """`limit` is in bytes of masks."""
        self._masks: LRUCache[str, tuple[int, Mask]] = LRUCache(limit, getsizeof=_size)
        self._changes: list[tuple[frozenset[str], Rows]] = []
        self._dropped = 0
        self._lock = Lock()

    def follow(self, version: int, fields: Collection[str], rows: Rows) -> "tuple[KeptMasks, int]":
        """Where the masks of a next version are kept, in which these rows have other values of these fields, and its
        number. A second version after the same one shares none."""
        with self._lock:
            if version != self._dropped + len(self._changes):
                return KeptMasks(int(self._masks.maxsize)), 0
            self._changes.append((frozenset(fields), rows))
            if len(self._changes) > _MOST_CHANGES:
                half = len(self._changes) // 2
                self._changes, self._dropped = self._changes[half:], self._dropped + half
            return self, version + 1

    def fetch(
        self,
        key: str,
        version: int,
        fields: Collection[str],
        compute: Callable[[], Mask],
        renew: Callable[[Rows], Mask],
    ) -> Mask:
        """The mask of a version, read-only, of the filter with this key, which reads these fields. `compute` makes it,
        `renew` makes it of some rows."""
        with self._lock:
            kept = self._masks.get(key)
            rows = None if kept is None else self._changed(kept[0], version, fields)
        if kept is not None and rows is not None:
            if not len(rows):
                return kept[1]
            if len(rows) <= _FEW * len(kept[1]):
                mask = kept[1].copy()
                mask[rows] = renew(rows)
                return self._keep(key, version, mask)
        return self._keep(key, version, compute())

    def _changed(self, before: int, version: int, fields: Collection[str]) -> Rows | None:
        """The rows in which one of the fields changed between two versions; None where that is not known."""
        if not self._dropped <= before <= version:
            return None
        changes = self._changes[before - self._dropped : version - self._dropped]
        parts = [rows for names, rows in changes if not names.isdisjoint(fields)]
        return np.unique(np.concatenate(parts)) if parts else np.empty(0, np.int64)

    def _keep(self, key: str, version: int, mask: Mask) -> Mask:
        mask.setflags(write=False)
        with self._lock:
            kept = self._masks.get(key)
            if mask.nbytes + _ENTRY_BYTES <= self._masks.maxsize and (kept is None or kept[0] <= version):
                self._masks[key] = version, mask
        return mask


def _size(entry: tuple[int, Mask]) -> int:
    return int(entry[1].nbytes) + _ENTRY_BYTES
