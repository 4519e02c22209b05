"""The typed columns of a catalog, from its product table: types inferred or declared, text as codes.

Memory beside the table, which is mapped: 4 bytes an attribute of a product, and one column at a time.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from catalog.column_file import ColumnsFile
from catalog.columns import ATTRIBUTES, BOOLEANS, NUMERIC, Column, Kind, type_levels
from catalog.compaction import arrow_texts
from catalog.masks import PRODUCT_TYPE
from catalog.table import ProductTable
from core.formats import TYPED_COLUMNS
from core.manifest import ColumnsReport, FieldReport
from core.progress import Report
from indexer.column_values import LONG_TEXTS, SETS, read_value
from indexer.inference import (
    LOOKED_AT,
    InferredType,
    declared_type,
    infer_type,
    list_separator,
    separator_name,
    split_values,
)

COLUMN_RULES = 1  # changes with any change of how types are inferred and values read
MOST_ATTRIBUTES = 256
# The order in which fields are named to people.
_ORDER = ("id", "title", "brand", PRODUCT_TYPE, "price", "currency", "availability", *SETS, "gtin", "item_group_id")


@dataclass(frozen=True, slots=True)
class ColumnSettings:
    """Language (BCP 47) and currency (ISO 4217) of the catalog, and the types that its mapping declares by field."""

    language: str
    currency: str | None
    types: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _CodedColumn:
    """The k products that have a field, ascending, the places of their values in `values`, both of shape (k,), and how
    often each of the v different values is there."""

    rows: NDArray[np.int64]
    codes: NDArray[np.int32]
    values: pa.Array

    @property
    def counts(self) -> NDArray[np.int64]:
        return np.bincount(self.codes, minlength=len(self.values))

    def sample(self) -> tuple[list[str], NDArray[np.int64]]:
        """Some of the different values, evenly spread, and how often each is there; all where they are few."""
        places = np.arange(0, len(self.values), max(1, len(self.values) // LOOKED_AT))
        return self.values.take(pa.array(places)).to_pylist(), self.counts[places]


def write_columns(table: ProductTable, settings: ColumnSettings, path: Path, report: Report) -> ColumnsReport:
    """Writes the typed columns of all products to a file."""
    fields: dict[str, FieldReport] = {}
    attributes = _Attributes(table, [name.removeprefix(ATTRIBUTES) for name in settings.types if "." in name])
    total = len(_ORDER) + len(LONG_TEXTS) + 1 + len(attributes.names)
    with ColumnsFile(path, len(table)) as file:
        for name, column, unreadable, separator in _columns(table, settings, attributes):
            file.add(name, column)
            fields[name] = _field_report(column, unreadable, name in settings.types, separator)
            report(len(fields), total)
    return ColumnsReport(
        format=TYPED_COLUMNS.number, bytes=path.stat().st_size, rare_attributes=attributes.left_out, fields=fields
    )


def _columns(
    table: ProductTable, settings: ColumnSettings, attributes: "_Attributes"
) -> Iterator[tuple[str, Column, int, str]]:
    """Every column with its name, how many values are not of its type, and the name of what separates several."""
    rows, types = len(table), settings.types
    for name in _ORDER:
        if name == "price":
            yield name, *_prices(table, settings.currency), ""
            continue
        coded = _code(np.arange(rows), _field(table, name))
        if name in types:
            yield name, *_typed(coded, rows, _declared(Kind(types[name]), name, coded, settings), settings)
        elif name == PRODUCT_TYPE:
            yield name, _sets(coded, rows, type_levels), 0, ""
        elif name in SETS:
            yield name, *_typed(coded, rows, InferredType(Kind.strings, separator=list_separator()), settings)
        else:
            yield name, *_typed(coded, rows, InferredType(Kind.string), settings)
    yield "popularity", Column(Kind.number, numbers=table.numbers("popularity")), 0, ""
    for name in LONG_TEXTS:
        present = [batch.column(name).is_valid().to_numpy(zero_copy_only=False) for batch in table.batches()]
        yield name, Column(Kind.text, present=np.concatenate([np.empty(0, np.bool_), *present])), 0, ""
    for place, name in enumerate(attributes.names):
        full = ATTRIBUTES + name
        coded = _code(*attributes.values(place))
        if full in types:
            chosen = _declared(Kind(types[full]), full, coded, settings)
        else:
            chosen = infer_type(*coded.sample(), settings.language)
        yield full, *_typed(coded, rows, chosen, settings)


class _Attributes:
    """The best filled attributes, and their values in all products."""

    def __init__(self, table: ProductTable, wanted: Sequence[str]) -> None:
        """`wanted` are there in any case."""
        self._maps = [batch.column("attributes") for batch in table.batches()]
        self._starts = np.cumsum([0, *map(len, self._maps)])
        counts: Counter[str] = Counter()
        keys = [attributes.keys.dictionary_encode() for attributes in self._maps]
        for encoded in keys:
            many = np.bincount(encoded.indices.to_numpy(), minlength=len(encoded.dictionary))
            counts.update(dict(zip(encoded.dictionary.to_pylist(), many.tolist(), strict=True)))
        common = [name for name, _ in counts.most_common() if name not in wanted]
        self.names = [*wanted, *common[: max(0, MOST_ATTRIBUTES - len(wanted))]]
        self.left_out = len(counts.keys() - set(self.names))
        places = {name: place for place, name in enumerate(self.names)}
        # Of each batch its map's items by attribute, and where those of each attribute begin.
        self._items: list[tuple[NDArray[np.int32], NDArray[np.int64]]] = []
        for encoded in keys:
            own = np.array([places.get(key, len(places)) for key in encoded.dictionary.to_pylist()], np.int32)
            places_of_items = own[encoded.indices.to_numpy()]
            order = np.argsort(places_of_items, kind="stable").astype(np.int32)
            starts = np.searchsorted(places_of_items[order], np.arange(len(places) + 1))
            self._items.append((order[: starts[-1]], starts))

    def values(self, place: int) -> tuple[NDArray[np.int64], pa.ChunkedArray]:
        """The products that have an attribute, and its value in each."""
        rows, texts = [np.empty(0, np.int64)], []
        for attributes, first, (order, starts) in zip(self._maps, self._starts[:-1], self._items, strict=True):
            items = order[starts[place] : starts[place + 1]]
            if len(items):
                ends = attributes.offsets.to_numpy()
                rows.append(first + np.searchsorted(ends, items, side="right") - 1)
                texts.append(attributes.items.take(pa.array(items)))
        return np.concatenate(rows), pa.chunked_array(texts, pa.string())


def _field(table: ProductTable, name: str) -> pa.ChunkedArray:
    return pa.chunked_array([batch.column(name) for batch in table.batches()], pa.string())


def _code(rows: NDArray[np.int64], texts: pa.ChunkedArray) -> _CodedColumn:
    """Texts of products as codes; those that are null or empty are none."""
    has = pc.greater(pc.binary_length(texts), 0).fill_null(False)
    encoded = texts.filter(has).cast(pa.large_string()).combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    mask = has.to_numpy(zero_copy_only=False) if len(texts) else np.empty(0, np.bool_)
    return _CodedColumn(rows[mask], encoded.indices.to_numpy(), encoded.dictionary)


def _declared(kind: Kind, name: str, coded: _CodedColumn, settings: ColumnSettings) -> InferredType:
    if kind is Kind.money:
        return InferredType(kind, settings.currency or "")
    if kind is Kind.strings and name in SETS:
        return InferredType(kind, separator=list_separator())
    return declared_type(kind, *coded.sample(), settings.language)


def _typed(coded: _CodedColumn, rows: int, chosen: InferredType, settings: ColumnSettings) -> tuple[Column, int, str]:
    """The column of n products, how many values are not of its type, and the name of what separates several."""
    if chosen.kind is Kind.string:
        return _strings(coded, rows), 0, ""
    if chosen.kind is Kind.strings:
        assert chosen.separator is not None
        separator = chosen.separator
        return _sets(coded, rows, lambda text: split_values(text, separator)), 0, separator_name(separator)
    numbers = np.array(
        [read_value(text, chosen, settings.language, settings.currency) for text in coded.values.to_pylist()],
        np.float64,
    )
    unreadable = int(np.isnan(numbers[coded.codes]).sum())
    values = np.full(rows, np.nan)
    values[coded.rows] = numbers[coded.codes]
    if chosen.kind in NUMERIC:
        return Column(chosen.kind, chosen.unit, numbers=values), unreadable, ""
    codes = np.nan_to_num(values, nan=-1).astype(np.int32)
    return Column(chosen.kind, codes=codes, values=BOOLEANS), unreadable, ""


def _strings(coded: _CodedColumn, rows: int) -> Column:
    order = pc.sort_indices(coded.values).to_numpy()
    places = np.empty(len(order), np.int32)
    places[order] = np.arange(len(order), dtype=np.int32)
    codes = np.full(rows, -1, np.int32)
    codes[coded.rows] = places[coded.codes]
    return Column(Kind.string, codes=codes, values=arrow_texts(coded.values.take(pa.array(order))))


def _sets(coded: _CodedColumn, rows: int, split: Callable[[str], Sequence[str]]) -> Column:
    parts = [split(text) for text in coded.values.to_pylist()]
    values = sorted({part for own in parts for part in own})
    places = {value: place for place, value in enumerate(values)}
    own_codes = np.array([place for own in parts for place in sorted(places[part] for part in own)], np.int32)
    lengths = np.array([len(own) for own in parts], np.int64)
    starts = np.cumsum(lengths) - lengths
    counts = np.zeros(rows, np.int64)
    counts[coded.rows] = lengths[coded.codes]
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    many = lengths[coded.codes]
    first = np.repeat(starts[coded.codes] - (np.cumsum(many) - many), many)
    codes = own_codes[first + np.arange(len(first))] if len(first) else np.empty(0, np.int32)
    return Column(Kind.strings, codes=codes, offsets=offsets, values=values)


def _prices(table: ProductTable, currency: str | None) -> tuple[Column, int]:
    """Prices in the catalog's currency, or in the commonest one where it names none; others cannot be compared."""
    coded = _code(np.arange(len(table)), _field(table, "currency"))
    prices = table.numbers("price_micros")
    names = coded.values.to_pylist()
    if currency is None and names:
        currency = names[int(coded.counts.argmax())]
    other = np.zeros(len(table), np.bool_)
    other[coded.rows] = np.array([name != currency for name in names], np.bool_)[coded.codes]
    other &= ~np.isnan(prices)
    return Column(Kind.money, currency or "", numbers=np.where(other, np.nan, prices)), int(other.sum())


def _field_report(column: Column, unreadable: int, declared: bool, separator: str) -> FieldReport:
    values = 0 if column.kind is Kind.boolean else len(column.values)
    filled = int(np.count_nonzero(column.exists()))
    settings: dict[str, Any] = {
        "values": values,
        "unreadable": unreadable,
        "declared": declared,
        "separator": separator,
    }
    return FieldReport(kind=column.kind.value, unit=column.unit, filled=filled, **settings)
