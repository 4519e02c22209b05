"""The products of item groups, such as the colours of one article."""

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from catalog.columns import Column, Kind
from catalog.segment import Rows, Segment
from catalog.view import CatalogView

GROUP_FIELD = "item_group_id"
_KEPT = 16  # segments, of the revisions in use


@dataclass(frozen=True, slots=True, eq=False)
class _Sorted:
    """A segment's rows in the order of their groups' codes, those codes, and the codes by row."""

    codes: NDArray[np.int32]
    order: Rows
    ascending: NDArray[np.int32]


class Groups:
    """For the views of one release, and any number of threads."""

    def __init__(self) -> None:
        self._sorted: OrderedDict[int, _Sorted] = OrderedDict()
        self._lock = Lock()

    def prepare(self, view: CatalogView) -> None:
        """Sorts the rows of all segments."""
        for segment in view.segments:
            if (column := _column(segment)) is not None:
                self._of(column)

    def members(self, view: CatalogView, known: Rows) -> tuple[Rows, NDArray[np.int64]]:
        """All rows of the groups of these r rows, those of deleted products among them, and for each the place, among
        these, of the first row of its group; both (m,), ascending by place and then by row."""
        rows, places = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for number, segment in enumerate(view.segments):
            column = _column(segment)
            if column is None:
                continue
            own = self._of(column)
            codes = _codes_in(view, number, column, known)
            codes[_repeated(codes)] = -1
            there = np.flatnonzero(codes >= 0)
            wanted = codes[there].astype(own.ascending.dtype)  # else all rows' codes are converted each time
            starts = np.searchsorted(own.ascending, wanted, side="left")
            ends = np.searchsorted(own.ascending, wanted, side="right")
            for place, start, end in zip(there.tolist(), starts.tolist(), ends.tolist(), strict=True):
                rows.append(own.order[start:end] + view.start(number))
                places.append(np.full(end - start, place, np.int64))
        every, at = np.concatenate(rows), np.concatenate(places)
        order = np.lexsort((every, at))
        return every[order], at[order]

    def _of(self, column: Column) -> _Sorted:
        key = id(column.codes)  # which the entry holds, so that no other array gets its id
        with self._lock:
            known = self._sorted.get(key)
            if known is not None:
                self._sorted.move_to_end(key)
                return known
        order = np.argsort(column.codes, kind="stable").astype(np.int64)
        made = _Sorted(column.codes, order, column.codes[order])
        with self._lock:
            self._sorted[key] = made
            while len(self._sorted) > _KEPT:
                self._sorted.popitem(last=False)
        return made


def _column(segment: Segment) -> Column | None:
    """The column of groups, where the segment has one of single values of text."""
    column = None if segment.columns is None else segment.columns.get(GROUP_FIELD)
    return column if column is not None and column.kind is Kind.string else None


def _codes_in(view: CatalogView, number: int, column: Column, rows: Rows) -> NDArray[np.int64]:
    """The codes, in one segment's column, of the groups of r rows of the view, -1 where the segment has none."""
    codes = np.full(len(rows), -1, np.int64)
    for part in view.parts(rows):
        if part.segment == number:
            codes[part.places] = column.codes[part.rows]
            continue
        for place in part.places.tolist():  # another dictionary: by name
            name = view.row(int(rows[place]), (GROUP_FIELD,))[GROUP_FIELD]
            codes[place] = column.code(name) if name else -1
    return codes


def _repeated(codes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which codes stand further in front too."""
    _, first = np.unique(codes, return_index=True)
    repeated = np.ones(len(codes), np.bool_)
    repeated[first] = False
    return repeated
