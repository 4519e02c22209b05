"""The typed columns of products that come while a release is served, of the kinds that its columns have."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from catalog.columns import ATTRIBUTES, NUMERIC, Column, Columns, Kind, make_column, type_levels
from catalog.masks import PRODUCT_TYPE
from core.manifest import ColumnsReport
from indexer.column_values import LONG_TEXTS, SETS, read_value
from indexer.inference import LISTED_NAME, InferredType, named_separator, split_values

PRICE, POPULARITY = "price", "popularity"
_FIELDS = ("id", "title", "brand", PRODUCT_TYPE, "currency", "availability", *SETS, "gtin", "item_group_id")
Read = Callable[[str], Any]
"""Reads the text of a field: a value of its column's kind, None where it is not of that kind."""


class FreshColumns:
    """Types the values of rows as indexing types those of a feed. For any number of threads."""

    def __init__(self, base: Columns, report: ColumnsReport | None, language: str, currency: str | None) -> None:
        """`base` are the columns of the release, `report` its manifest's; language (BCP 47) and currency (ISO 4217) are
        the catalog's."""
        self._kinds = base.kinds
        self._units = {name: base.unit(name) for name in base.names}
        self._readers = {
            name: _reader(name, kind, self._units[name], report, language, currency)
            for name, kind in base.kinds.items()
        }
        self.left_out: Counter[str] = Counter()
        """How many values were left out, by field: of another type than the release's column, or of an attribute for
        which it has none."""

    def build(self, rows: Sequence[Mapping[str, Any]]) -> Columns:
        """The columns of n rows of the catalog's columns; row i is product i. Fields that none of them has are left
        out."""
        values: dict[str, list[Any]] = defaultdict(lambda: [None] * len(rows))
        for place, row in enumerate(rows):
            for name in _FIELDS:
                if row[name]:
                    self._put(values, name, place, row[name])
            for name in LONG_TEXTS:
                if row[name] is not None:
                    values[name][place] = True
            values[PRICE][place] = self.price(row["price_micros"], row["currency"])
            values[POPULARITY][place] = row["popularity"]
            for name, text in row["attributes"] or ():
                if text:
                    self._put(values, ATTRIBUTES + name, place, text)
        known = {name: column for name, column in values.items() if name in self._kinds}
        return Columns({name: self._column(name, column) for name, column in known.items()}, len(rows))

    def empty(self, name: str, rows: int) -> Column:
        """The column of so many products, none of which has the field."""
        return self._column(name, [None] * rows)

    def changed(self, fields: Collection[str], rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
        """The values of r rows in the columns that these fields of the product table show in."""
        result: dict[str, list[Any]] = {}
        if {"price_micros", "currency"} & set(fields):
            result[PRICE] = [self.price(row["price_micros"], row["currency"]) for row in rows]
        if POPULARITY in fields:
            result[POPULARITY] = [row[POPULARITY] for row in rows]
        for name in ("currency", "availability"):
            if name in fields:
                result[name] = [self.read(name, row[name]) for row in rows]
        result |= {name: [row[name] for row in rows] for name in LONG_TEXTS if name in fields}
        return {name: values for name, values in result.items() if name in self._kinds}

    def price(self, micros: int | None, currency: str | None) -> int | None:
        """A price as the release's column has it: None in another currency than the column's."""
        if micros is not None and currency and currency != self._units.get(PRICE):
            self.left_out[PRICE] += 1
            return None
        return micros

    def read(self, name: str, text: str | None) -> Any:
        """The value of one field's text, as its column has it; None for none, and for one of another type."""
        value = self._readers[name](text) if text else None
        if text and value is None:
            self.left_out[name] += 1
        return value

    def _put(self, values: dict[str, list[Any]], name: str, place: int, text: str) -> None:
        if name not in self._readers:
            self.left_out[name] += 1
        elif (value := self.read(name, text)) is not None:
            values[name][place] = value

    def _column(self, name: str, values: Sequence[Any]) -> Column:
        kind = self._kinds[name]
        if kind in NUMERIC:  # already in the column's own unit
            numbers = np.array([np.nan if value is None else value for value in values], np.float64)
            numbers.setflags(write=False)
            return Column(kind, self._units[name], numbers=numbers)
        return make_column(kind, values, self._units[name])


def _usual_separator(name: str) -> str:
    """Of manifests that note none."""
    return LISTED_NAME if name in SETS else ""


def _reader(
    name: str, kind: Kind, unit: str, report: ColumnsReport | None, language: str, currency: str | None
) -> Read:
    noted = report.fields.get(name) if report else None
    if kind is Kind.string:
        return lambda text: text
    if kind is Kind.strings:
        if name == PRODUCT_TYPE and not (noted and noted.declared):
            return type_levels
        separator = named_separator((noted.separator if noted else "") or _usual_separator(name))
        return lambda text: split_values(text, separator)
    chosen = InferredType(kind, unit)

    def read(text: str) -> float | bool | None:
        number = read_value(text, chosen, language, currency)
        if np.isnan(number):
            return None
        return bool(number) if kind is Kind.boolean else number

    return read
