"""Masks: which products of a segment pass a filter, by comparing codes and numbers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from threading import Lock

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from catalog.columns import (
    BOOLEANS,
    NUMERIC,
    Column,
    Columns,
    Kind,
    Mask,
    take_column,
    type_levels,
    unknown_field,
)
from catalog.product import MICROS
from core.filters import (
    And,
    Condition,
    Equal,
    Exists,
    Filter,
    InvalidFilter,
    Not,
    OneOf,
    Or,
    Range,
    Value,
    conditions,
    filter_digest,
    timestamp,
)
from core.strings import quoted

PRODUCT_TYPE = "product_type"
_CACHE_BYTES = 64 << 20
_ENTRY_BYTES = 480  # what an entry takes beside its mask
# From so large a share of a set's codes on, counting along all of them is faster than searching for each one's product.
_DENSE_SHARE = 0.05
_HOLDS = {
    Kind.string: "text",
    Kind.strings: "text",
    Kind.number: "numbers",
    Kind.money: "amounts of money",
    Kind.boolean: "true or false",
    Kind.date: "dates",
    Kind.text: "long text, of which only `exists` can be asked",
}
_SEND = {
    Kind.string: "text (a number in quotes is text)",
    Kind.strings: "text (a number in quotes is text)",
    Kind.number: "a number",
    Kind.money: "a number",
    Kind.boolean: "true or false",
    Kind.date: "a date such as 2026-01-31",
}


class MaskCache:
    """Masks by the digest of their filter; the least recently used go first. For any number of threads."""

    def __init__(self, limit: int = _CACHE_BYTES) -> None:
        """`limit` is in bytes; masks that are larger are not kept."""
        self._masks: LRUCache[str, Mask] = LRUCache(limit, getsizeof=lambda mask: int(mask.nbytes) + _ENTRY_BYTES)
        self._lock = Lock()

    @property
    def size(self) -> int:
        """Bytes in use."""
        return int(self._masks.currsize)

    def fetch(self, filter: Filter, compute: Callable[[Filter], Mask]) -> Mask:
        """The filter's mask, read-only; `compute` makes it where it is not kept, outside of the lock."""
        key = filter_digest(filter)
        with self._lock:
            if (kept := self._masks.get(key)) is not None:
                return kept
        mask = compute(filter)
        mask.setflags(write=False)
        with self._lock:
            if mask.nbytes + _ENTRY_BYTES <= self._masks.maxsize:
                self._masks[key] = mask
        return mask


def filter_problems(filter: Filter, kinds: Mapping[str, Kind] | None, path: str = "filter") -> Iterator[InvalidFilter]:
    """What a catalog whose columns have these kinds cannot apply; None stands for a release without columns."""
    if kinds is None:
        yield InvalidFilter(path, "this release has no typed columns; index the catalog again with `tandem index`")
        return
    for place, condition in conditions(filter, path):
        kind = kinds.get(condition.field)
        if kind is None:
            name = place if isinstance(condition, Exists) else f"{place}.field"
            yield InvalidFilter(name, unknown_field(condition.field, kinds))
        else:
            yield from _type_problems(condition, kind, place)


def check_filter(filter: Filter, kinds: Mapping[str, Kind] | None, path: str = "filter") -> None:
    """Raises InvalidFilter for the first problem."""
    for problem in filter_problems(filter, kinds, path):
        raise problem


def evaluate(filter: Filter, columns: Columns) -> Mask:
    """Which products of a segment pass; shape (rows,). A field that the segment lacks is missing in each product.

    The filter was checked against the catalog's kinds.
    """
    match filter:
        case Not(inner):
            return ~evaluate(inner, columns)
        case And(parts):
            return _combined(np.logical_and, (evaluate(part, columns) for part in parts))
        case Or(parts):
            return _combined(np.logical_or, (evaluate(part, columns) for part in parts))
    column = columns.get(filter.field)
    if column is None:
        return np.zeros(columns.rows, np.bool_)
    match filter:
        case Exists():
            return column.exists().copy()
        case Range():
            return _within(filter, column)
        case OneOf(_, values):
            return _one_of(values, filter.field, column)
        case Equal(_, value):
            return _one_of([value], filter.field, column)


def segment_mask(filter: Filter, columns: Columns) -> Mask:
    """As `evaluate`, read-only, and kept with the columns: where values of few products changed since, a mask of before
    is made good in their rows."""
    fields = {condition.field for _, condition in conditions(filter)}

    def renew(rows: NDArray[np.int64]) -> Mask:
        own = {name: take_column(column, rows) for name in fields if (column := columns.get(name)) is not None}
        return evaluate(filter, Columns(own, len(rows)))

    key = filter_digest(filter)
    return columns.masks.fetch(key, columns.version, fields, lambda: evaluate(filter, columns), renew)


def number_of(kind: Kind, value: Value) -> float:
    """A value as a column of numbers, money or dates has it. Raises ValueError for a date that cannot be read."""
    if isinstance(value, datetime):
        return timestamp(value)
    if isinstance(value, str):
        return timestamp(read_date(value))
    # 19.99 as written, not as the nearest binary fraction.
    return float(Decimal(repr(value)) * MICROS) if kind is Kind.money else float(value)


def read_date(text: str) -> datetime:
    """A date or point in time of ISO 8601, such as 2026-01-31 or 2026-01-31T12:00:00+01:00; in UTC without a zone.

    Raises ValueError.
    """
    if len(text) < 10 or text[4] != "-" or len(text) > 40:
        raise ValueError("no date")
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _type_problems(condition: Condition, kind: Kind, path: str) -> Iterator[InvalidFilter]:
    values: dict[str, Value] = {}
    match condition:
        case Exists():
            return
        case Range():
            values = condition.bounds
            if kind not in NUMERIC:
                yield InvalidFilter(path, f"{quoted(condition.field)} holds {_HOLDS[kind]}; a range needs numbers")
                return
        case OneOf(_, several):
            values = {f"values[{place}]": value for place, value in enumerate(several)}
        case Equal(_, value):
            values = {"value": value}
    for name, value in values.items():
        if not _fits(kind, value):
            send = f"; send {_SEND[kind]}" if kind in _SEND else ""
            yield InvalidFilter(f"{path}.{name}", f"{quoted(condition.field)} holds {_HOLDS[kind]}{send}")


def _fits(kind: Kind, value: Value) -> bool:
    if kind in (Kind.string, Kind.strings):
        return isinstance(value, str)
    if kind is Kind.boolean:
        return isinstance(value, bool)
    if kind is Kind.date:
        try:
            return isinstance(value, str | datetime) and bool(number_of(kind, value) or True)
        except (ValueError, OverflowError):
            return False
    return kind in NUMERIC and isinstance(value, int | float) and not isinstance(value, bool)


def _one_of(values: Sequence[Value], field: str, column: Column) -> Mask:
    if column.kind in NUMERIC:
        wanted = [number_of(column.kind, value) for value in values]
        return column.numbers == wanted[0] if len(wanted) == 1 else np.isin(column.numbers, wanted)
    texts = [BOOLEANS[value] if isinstance(value, bool) else str(value) for value in values]
    if field == PRODUCT_TYPE:
        texts = [(type_levels(text) or [text])[-1] for text in texts]
    codes = sorted({code for code in map(column.code, texts) if code >= 0})
    if not codes:
        return np.zeros(len(column), np.bool_)
    hits = column.codes == codes[0] if len(codes) == 1 else _member(column, codes)
    return _owners(hits, column.offsets) if column.kind is Kind.strings else hits


def _member(column: Column, codes: list[int]) -> Mask:
    """Which codes of a column are among these."""
    wanted = np.zeros(len(column.values) + 1, np.bool_)  # -1, for none, reads the last
    wanted[codes] = True
    return wanted[column.codes]


def _owners(hits: Mask, offsets: NDArray[np.int64]) -> Mask:
    """Which products have a hit among their values; `hits` has shape (m,), `offsets` (n + 1,)."""
    places = np.flatnonzero(hits)
    if len(places) < _DENSE_SHARE * len(hits):
        mask = np.zeros(len(offsets) - 1, np.bool_)
        mask[np.searchsorted(offsets, places, side="right") - 1] = True
        return mask
    before = np.zeros(len(hits) + 1, np.int32)
    np.cumsum(hits, out=before[1:], dtype=np.int32)
    counts = before[offsets]
    return counts[1:] > counts[:-1]


def _within(condition: Range, column: Column) -> Mask:
    compare = {"at_least": np.greater_equal, "above": np.greater, "at_most": np.less_equal, "below": np.less}
    bounds = condition.bounds.items()
    return _combined(np.logical_and, (compare[n](column.numbers, number_of(column.kind, value)) for n, value in bounds))


def _combined(join: np.ufunc, masks: Iterator[Mask]) -> Mask:
    """All masks joined into the first, which is no one else's."""
    first = next(masks)
    for mask in masks:
        join(first, mask, out=first)
    return first
