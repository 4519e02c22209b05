"""Columns of a view's segments as one, kept from view to view: a further segment is written behind the others."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from catalog.columns import Column, Columns, Kind
from catalog.kept_masks import KeptMasks
from catalog.merging import merge_columns, missing_column

_LEAST_ROOM, _ROOM_SHARE = 4096, 8


@dataclass(frozen=True, slots=True)
class _Merged:
    """The column of these parts, None where a segment lacks it, and the arrays that its own begin, with room behind."""

    parts: tuple[Column | None, ...]
    rows: tuple[int, ...]
    column: Column
    buffers: dict[str, NDArray[Any]]


_MERGED: "WeakKeyDictionary[KeptMasks, MergedColumns]" = WeakKeyDictionary()  # by what all versions share
_LOCK = Lock()


def merged_columns(base: Columns) -> "MergedColumns":
    """Those of views over a base segment with these columns, or with earlier or later versions of them."""
    with _LOCK:
        return _MERGED.setdefault(base.masks, MergedColumns())


class MergedColumns:
    """The latest merged column of each field. For any number of threads."""

    def __init__(self) -> None:
        self._merged: dict[str, _Merged] = {}
        self._lock = Lock()

    def column(self, name: str, base: Column, others: Sequence[Column | None], rows: Sequence[int]) -> Column:
        """See `merge_columns`. Takes time that grows with the rows of segments that came since the last call, as long
        as these bring no values that the others lack; else with all rows."""
        parts, counts = (base, *others), (len(base), *rows)
        with self._lock:
            kept = self._merged.get(name)
            shared = 0 if kept is None else _shared(kept, parts, counts)
            if kept is not None and shared == len(parts) == len(kept.parts):
                return kept.column
            made = None
            if kept is not None and shared == len(kept.parts):
                made = _extended(kept, parts, counts)
            if made is None:
                made = _Merged(parts, counts, merge_columns(base, others, rows), {})
            if kept is None or len(parts) >= len(kept.parts) or shared < len(parts):
                self._merged[name] = made
            return made.column


def _shared(kept: _Merged, parts: Sequence[Column | None], rows: Sequence[int]) -> int:
    """How many of the first parts are those of the kept column."""
    count = 0
    for one, other, own, theirs in zip(kept.parts, parts, kept.rows, rows, strict=False):
        if one is not other or own != theirs:
            break
        count += 1
    return count


def _extended(kept: _Merged, parts: tuple[Column | None, ...], rows: tuple[int, ...]) -> _Merged | None:
    """The kept column with further parts behind; None where these have other values."""
    column, more = kept.column, parts[len(kept.parts) :]
    pieces = [
        missing_column(column, count) if part is None else part
        for part, count in zip(more, rows[len(kept.parts) :], strict=True)
    ]
    codes = [_coded(piece, column) for piece in pieces]
    if any(own is None for own in codes):
        return None
    added: dict[str, list[NDArray[Any]]] = {
        "numbers": [piece.numbers for piece in pieces],
        "present": [piece.present for piece in pieces],
        "codes": [own for own in codes if own is not None],
    }
    if column.kind is Kind.strings:
        starts = len(column.codes) + np.cumsum([0, *(len(own) for own in added["codes"])])
        added["offsets"] = [piece.offsets[1:] + start for piece, start in zip(pieces, starts, strict=False)]
    buffers: dict[str, NDArray[Any]] = {}
    arrays: dict[str, Any] = {}
    for name, array in column.arrays.items():
        buffers[name], arrays[name] = _appended(kept.buffers.get(name, array), array, added[name])
    return _Merged(parts, rows, replace(column, **arrays), buffers)


def _coded(piece: Column, column: Column) -> NDArray[np.int32] | None:
    """A part's codes as places in the values of the whole; None where it has others."""
    if piece.values is column.values or column.kind is Kind.boolean or not len(piece.codes):
        return piece.codes
    places = [column.code(value) for value in piece.values]
    return None if -1 in places else np.array([*places, -1], np.int32)[piece.codes]


def _appended(
    buffer: NDArray[Any], array: NDArray[Any], added: Sequence[NDArray[Any]]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The array with others behind, in the room of its buffer, or in a larger one. What was there stays as it was."""
    length = len(array) + sum(map(len, added))
    if length == len(array):  # its buffer may be another's
        return buffer, array
    if length > len(buffer):
        buffer = np.empty(length + max(_LEAST_ROOM, length // _ROOM_SHARE), array.dtype)
        buffer[: len(array)] = array
    start = len(array)
    for own in added:
        buffer[start : start + len(own)] = own
        start += len(own)
    view = buffer[:length]
    view.setflags(write=False)
    return buffer, view
