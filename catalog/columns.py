"""Typed columns: every field and attribute of a segment's products, to filter, count, sort and group by.

Text is kept as codes, places in the field's sorted values, so that conditions compare integers.
"""

import copy
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from threading import Lock
from typing import Any, overload

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray
from rapidfuzz import fuzz, process

from catalog.kept_masks import KeptMasks
from catalog.product import MICROS
from core.errors import TandemError
from core.filters import MAX_FIELD_CHARACTERS, timestamp
from core.strings import quoted

Mask = NDArray[np.bool_]

ATTRIBUTES = "attributes."
BOOLEANS = ("false", "true")
_SPARSE_SHARE = 0.25  # of products, up to which those without the field are left out of the file
_EXPANDED_BYTES = 256 << 20
_ENTRY_BYTES = 480
_NEAR = 60  # of 100, from which on a name is like another
_NO_CODES = np.empty(0, np.int32)
_NO_OFFSETS = np.zeros(1, np.int64)
_NO_NUMBERS = np.empty(0, np.float64)
_NO_PRESENT = np.empty(0, np.bool_)


class Kind(StrEnum):
    """The type of a column."""

    string = "string"
    strings = "strings"  # a set
    number = "number"
    money = "money"
    boolean = "boolean"
    date = "date"
    text = "text"  # whether there is one, and no more


NUMERIC = frozenset({Kind.number, Kind.money, Kind.date})


class UnknownField(TandemError):
    """A catalog has no such field."""


@dataclass(frozen=True, slots=True)
class Column:
    """One field of n products, by its kind:

    - string, boolean: `codes`, shape (n,), are places in `values`, -1 where a product has none.
    - strings: product i has `codes[offsets[i]:offsets[i + 1]]`, ascending; `offsets` has shape (n + 1,).
    - number, money (millionths of the currency `unit`), date (seconds since 1970 in UTC): `numbers`, shape (n,), NaN
      where a product has none.
    - text: `present`, shape (n,).

    `values` are sorted by code point. Arrays are read-only.
    """

    kind: Kind
    unit: str = ""
    codes: NDArray[np.int32] = field(default_factory=lambda: _NO_CODES)
    offsets: NDArray[np.int64] = field(default_factory=lambda: _NO_OFFSETS)
    values: Sequence[str] = ()
    numbers: NDArray[np.float64] = field(default_factory=lambda: _NO_NUMBERS)
    present: Mask = field(default_factory=lambda: _NO_PRESENT)

    def __len__(self) -> int:
        if self.kind in NUMERIC:
            return len(self.numbers)
        if self.kind is Kind.strings:
            return len(self.offsets) - 1
        return len(self.present if self.kind is Kind.text else self.codes)

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays that its kind has, by their names."""
        if self.kind in NUMERIC:
            return {"numbers": self.numbers}
        if self.kind is Kind.text:
            return {"present": self.present}
        return {"codes": self.codes} | ({"offsets": self.offsets} if self.kind is Kind.strings else {})

    def exists(self) -> Mask:
        """Which products have the field; shape (n,)."""
        if self.kind in NUMERIC:
            return ~np.isnan(self.numbers)
        if self.kind is Kind.strings:
            return self.offsets[1:] > self.offsets[:-1]
        return self.present if self.kind is Kind.text else self.codes >= 0

    def code(self, value: str) -> int:
        """The place of a value, -1 where no product has it."""
        place = bisect_left(self.values, value)
        return place if place < len(self.values) and self.values[place] == value else -1


@dataclass(frozen=True, slots=True)
class SparseColumn:
    """A column that few of n products have: the others are left out.

    `rows`, shape (r,), are the products that have it, ascending; `filled` is the column of these.
    """

    size: int
    rows: NDArray[np.int32]
    filled: Column

    @property
    def kind(self) -> Kind:
        """The type of the column."""
        return self.filled.kind

    def __len__(self) -> int:
        return self.size

    def expand(self) -> Column:
        """The column of all products."""
        filled = self.filled
        if filled.kind in NUMERIC:
            numbers = np.full(self.size, np.nan)
            numbers[self.rows] = filled.numbers
            return replace(filled, numbers=_frozen(numbers))
        if filled.kind is Kind.strings:
            counts = np.zeros(self.size + 1, np.int64)
            counts[self.rows.astype(np.int64) + 1] = np.diff(filled.offsets)
            return replace(filled, offsets=_frozen(np.cumsum(counts)))
        codes = np.full(self.size, -1, np.int32)
        codes[self.rows] = filled.codes
        return replace(filled, codes=_frozen(codes))


def take_column(column: Column, rows: NDArray[np.int64]) -> Column:
    """The column of r of its products, in the order of their rows, with the same values."""
    if column.kind in NUMERIC:
        return replace(column, numbers=_frozen(column.numbers[rows]))
    if column.kind is Kind.text:
        return replace(column, present=_frozen(column.present[rows]))
    if column.kind is not Kind.strings:
        return replace(column, codes=_frozen(column.codes[rows]))
    starts, lengths = column.offsets[rows], column.offsets[rows + 1] - column.offsets[rows]
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    shifts = np.repeat(starts - offsets[:-1], lengths)
    return replace(column, codes=_frozen(column.codes[np.arange(offsets[-1]) + shifts]), offsets=_frozen(offsets))


def thin_column(column: Column) -> Column | SparseColumn:
    """The column without the products that lack the field, where most do."""
    has = column.exists()
    if column.kind is Kind.text or np.count_nonzero(has) > _SPARSE_SHARE * len(column):
        return column
    rows = np.flatnonzero(has).astype(np.int32)
    if column.kind in NUMERIC:
        return SparseColumn(len(column), rows, replace(column, numbers=column.numbers[rows]))
    if column.kind is Kind.strings:
        offsets = np.append(column.offsets[rows], column.offsets[-1])
        return SparseColumn(len(column), rows, replace(column, offsets=offsets))
    return SparseColumn(len(column), rows, replace(column, codes=column.codes[rows]))


class Texts(Sequence[str]):
    """Texts in one block of UTF-8, decoded when they are read."""

    def __init__(self, ends: NDArray[np.int64], data: memoryview) -> None:
        """Text i is `data[ends[i]:ends[i + 1]]`; `ends` has one entry more than there are texts."""
        self.ends = ends
        self.data = data

    def __len__(self) -> int:
        return len(self.ends) - 1

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
        return str(self.data[self.ends[place] : self.ends[place + 1]], "utf-8")


class Columns:
    """The columns of one segment. For any number of threads.

    Columns that few products have are expanded at first use, in some milliseconds a million products, and kept up to a
    bound.
    """

    def __init__(
        self, columns: Mapping[str, Column | SparseColumn], rows: int, expanded_bytes: int = _EXPANDED_BYTES
    ) -> None:
        """`rows` is the number of products, which every column has."""
        for name, column in columns.items():
            if len(column) != rows:
                raise ValueError(f"column {name!r} has {len(column)} products, and the segment has {rows}")
        self._columns = dict(columns)
        self.rows = rows
        self._expanded: LRUCache[str, Column] = LRUCache(expanded_bytes, getsizeof=_private_bytes)
        self._lock = Lock()
        self.kinds: Mapping[str, Kind] = {name: column.kind for name, column in self._columns.items()}
        self.masks, self.version = KeptMasks(), 0
        """Where masks of these columns are kept, with those of columns that differ in few products."""

    def replaced(self, columns: Mapping[str, Column], rows: NDArray[np.int64]) -> "Columns":
        """The same with other columns, of the same kinds, in the place of some, which differ in these rows."""
        other = copy.copy(self)
        other._columns = {**self._columns, **columns}
        other.kinds = {**self.kinds, **{name: column.kind for name, column in columns.items()}}
        other.masks, other.version = self.masks.follow(self.version, columns, rows)
        return other

    @property
    def names(self) -> tuple[str, ...]:
        """The fields, in the order of the product's and then of the best filled attributes."""
        return tuple(self._columns)

    def unit(self, name: str) -> str:
        """The unit of a column's numbers, or the currency of its money; empty without one."""
        column = self._columns[name]
        return (column.filled if isinstance(column, SparseColumn) else column).unit

    def column(self, name: str) -> Column:
        """Raises UnknownField, with the nearest name."""
        if (column := self.get(name)) is None:
            raise UnknownField(unknown_field(name, self._columns))
        return column

    def get(self, name: str) -> Column | None:
        """The column, or None."""
        column = self._columns.get(name)
        if not isinstance(column, SparseColumn):
            return column
        with self._lock:
            if (kept := self._expanded.get(name)) is not None:
                return kept
        expanded = column.expand()
        with self._lock:
            if _private_bytes(expanded) <= self._expanded.maxsize:
                self._expanded[name] = expanded
        return expanded


def unknown_field(name: str, names: Iterable[str]) -> str:
    """States that there is no such field, with the nearest name where one is near."""
    near = nearest_field(name, names)
    return f"{quoted(name)} is no field of this catalog{f'; did you mean {quoted(near)}?' if near else ''}"


def nearest_field(name: str, names: Iterable[str]) -> str | None:
    """The field that was most likely meant: whatever the case, with or without "attributes."."""
    known = list(names)
    folded: dict[str, str] = {}
    for full in known:
        folded.setdefault(full.casefold(), full)
        folded.setdefault(full.removeprefix(ATTRIBUTES).casefold(), full)
    wanted = name[:MAX_FIELD_CHARACTERS].casefold()
    forms = dict.fromkeys((wanted, wanted.removeprefix(ATTRIBUTES)))
    if exact := next((form for form in forms if form in folded), None):
        return folded[exact]
    matches = (process.extractOne(form, folded.keys(), scorer=fuzz.ratio, score_cutoff=_NEAR) for form in forms)
    return next((folded[match[0]] for match in matches if match), None)


def type_levels(path: str) -> list[str]:
    """A product type's path and every level above, the highest first: "Home", "Home > Kitchen"."""
    parts = [part for part in map(str.strip, path.split(">")) if part]
    return [" > ".join(parts[: i + 1]) for i in range(len(parts))]


def make_column(kind: Kind, values: Sequence[Any], unit: str = "") -> Column:
    """A column of n values, None where a product has none: text; for strings several texts; numbers; money in units of
    the currency; truth values; datetimes, or seconds since 1970."""
    if kind in NUMERIC:
        numbers = [np.nan if value is None else _number(kind, value) for value in values]
        return Column(kind, unit, numbers=_frozen(np.array(numbers, np.float64)))
    if kind is Kind.text:
        return Column(kind, present=_frozen(np.array([bool(value) for value in values], np.bool_)))
    if kind is Kind.strings:
        sets = [sorted({value} if isinstance(value, str) else set(value or ())) for value in values]
        names = sorted({text for texts in sets for text in texts})
        places = {text: place for place, text in enumerate(names)}
        codes = [places[text] for texts in sets for text in texts]
        offsets = np.cumsum([0, *map(len, sets)], dtype=np.int64)
        return Column(kind, codes=_frozen(np.array(codes, np.int32)), offsets=_frozen(offsets), values=names)
    texts = [str(value).lower() if isinstance(value, bool) else value for value in values]
    known = BOOLEANS if kind is Kind.boolean else sorted({text for text in texts if text is not None})
    places = {text: place for place, text in enumerate(known)}
    codes = [-1 if text is None else places[text] for text in texts]
    return Column(kind, codes=_frozen(np.array(codes, np.int32)), values=known)


def make_columns(
    values: Mapping[str, Sequence[Any]], kinds: Mapping[str, Kind] | None = None, units: Mapping[str, str] | None = None
) -> Columns:
    """Columns of Python values, see `make_column`; kinds that are not given are those of the first value there is."""
    columns = {
        name: make_column((kinds or {}).get(name) or _kind(column), column, (units or {}).get(name, ""))
        for name, column in values.items()
    }
    return Columns(columns, len(next(iter(values.values()), ())))


def _number(kind: Kind, value: Any) -> float:
    if isinstance(value, datetime):
        return timestamp(value)
    return round(value * MICROS) if kind is Kind.money else float(value)


def _kind(values: Sequence[Any]) -> Kind:
    first = next((value for value in values if value is not None), "")
    if isinstance(first, bool):
        return Kind.boolean
    if isinstance(first, int | float):
        return Kind.number
    if isinstance(first, datetime):
        return Kind.date
    return Kind.string if isinstance(first, str) else Kind.strings


def _private_bytes(column: Column) -> int:
    """Bytes of the arrays that expanding a column makes, and of the entry."""
    made = column.offsets if column.kind is Kind.strings else column.numbers if column.kind in NUMERIC else column.codes
    return int(made.nbytes) + _ENTRY_BYTES


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.setflags(write=False)
    return array
