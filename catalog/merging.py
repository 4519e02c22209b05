"""One column of several segments: codes of all under one sorted dictionary."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from catalog.columns import BOOLEANS, NUMERIC, Column, Kind


class MergedTexts(Sequence[str]):
    """Sorted texts with others inserted, without a copy of the first."""

    def __init__(self, base: Sequence[str], added: Sequence[str], places: NDArray[np.int64]) -> None:
        """`places` are where the added texts stand in the result, ascending."""
        self._base = base
        self._added = added
        self._places = places

    def __len__(self) -> int:
        return len(self._base) + len(self._added)

    def is_base(self, texts: Sequence[str]) -> bool:
        """Whether these are the texts that others were inserted into."""
        return texts is self._base

    def base_places(self) -> NDArray[np.int32]:
        """Where each of those stands now."""
        return np.delete(np.arange(len(self), dtype=np.int32), self._places)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        if place < 0:
            place += len(self)
        if not 0 <= place < len(self):
            raise IndexError(place)
        before = int(np.searchsorted(self._places, place))
        if before < len(self._places) and self._places[before] == place:
            return self._added[before]
        return self._base[place - before]


def merge_columns(base: Column, others: Sequence[Column | None], rows: Sequence[int]) -> Column:
    """The column of all segments in their order. `rows` are the products of the others; None lacks the field."""
    columns = [
        base,
        *(missing_column(base, n) if other is None else other for other, n in zip(others, rows, strict=True)),
    ]
    if wrong := [column.kind for column in columns if column.kind != base.kind]:
        raise ValueError(f"a fresh segment has a column of kind {wrong[0]} where the release's is {base.kind}")
    if base.kind in NUMERIC:
        return Column(base.kind, base.unit, numbers=_frozen([column.numbers for column in columns]))
    if base.kind is Kind.text:
        return Column(base.kind, present=_frozen([column.present for column in columns]))
    values = base.values if base.kind is Kind.boolean else _merge_values(base, columns[1:])
    codes = _frozen([_recode(column, values) for column in columns])
    if base.kind is not Kind.strings:
        return Column(base.kind, codes=codes, values=values)
    starts = np.cumsum([0, *(len(column.codes) for column in columns)])
    offsets = [column.offsets[:-1] + start for column, start in zip(columns, starts, strict=False)]
    return Column(base.kind, codes=codes, offsets=_frozen([*offsets, starts[-1:].astype(np.int64)]), values=values)


def _merge_values(base: Column, others: Sequence[Column]) -> Sequence[str]:
    added = sorted({value for column in others for value in column.values if base.code(value) < 0})
    if not added:
        return base.values
    places = np.array([bisect_left(base.values, value) + i for i, value in enumerate(added)], np.int64)
    return MergedTexts(base.values, added, places)


def _recode(column: Column, values: Sequence[str]) -> NDArray[np.int32]:
    """The column's codes as places in `values`, which hold all of its own."""
    if column.values is values or column.kind is Kind.boolean:
        return column.codes
    if isinstance(values, MergedTexts) and values.is_base(column.values):
        places = values.base_places()
    else:
        places = np.array([bisect_left(values, value) for value in column.values], np.int32)
    return np.append(places, np.int32(-1))[column.codes]


def missing_column(like: Column, rows: int) -> Column:
    """A column of products without the field."""
    return Column(
        like.kind,
        codes=np.empty(0, np.int32) if like.kind is Kind.strings else np.full(rows, -1, np.int32),
        offsets=np.zeros(rows + 1, np.int64),
        values=BOOLEANS if like.kind is Kind.boolean else (),
        numbers=np.full(rows, np.nan),
        present=np.zeros(rows, np.bool_),
    )


def _frozen(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    array = np.concatenate(parts)
    array.setflags(write=False)
    return array
