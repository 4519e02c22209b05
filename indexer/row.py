"""One row of a feed, under a mapping, becomes one product."""

import json
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from core.product import CATALOG_SCHEMA, MOST_ATTRIBUTES
from indexer.batch import Row
from indexer.clean import as_text, clean_link, clean_text, clip, parse_availability, parse_gtin, parse_number
from indexer.mapping import Mapping, Source
from indexer.price import parse_currency, parse_price
from indexer.rejection import Rejected

ID_LIMIT = 256
# In characters, after cleaning.
LIMITS = {
    "title": 1000,
    "description": 10_000,
    "brand": 200,
    "product_type": 1000,
    "color": 200,
    "size": 200,
    "material": 200,
    "item_group_id": ID_LIMIT,
}
ATTRIBUTE_NAME_LIMIT, ATTRIBUTE_LIMIT = 100, 500
# Longer texts are cut before they are cleaned: markup can be most of a text, but not all of 50,000 characters.
_RAW_LIMIT = 50_000
# How a field that may hold several values joins a list. Every other field takes a list's first value.
_JOINED = {"description": " ", "product_type": " > ", "color": "/", "size": "/", "material": "/"}
_LINKS = ("image_link", "link")
_Parsed = TypeVar("_Parsed")


class RowCleaner:
    """Cleans rows one by one; `warnings` counts by name what was changed or dropped in rows that were kept."""

    def __init__(self, mapping: Mapping) -> None:
        self.warnings: Counter[str] = Counter()
        self.taken: set[str] = set(mapping.sources)
        self._mapping = mapping
        self._currency = mapping.catalog.currency
        self._places: dict[str, tuple[int, str] | None] = {}
        self._ranked = len(mapping.attributes.include) > 1
        self._texts = [name for name in LIMITS if name != "title" and name in mapping.fields]
        self._links = [name for name in _LINKS if name in mapping.fields]

    def clean(self, row: Row) -> tuple[Any, ...]:
        """The product's values in the order of `CATALOG_SCHEMA`. Raises Rejected for a row that cannot be one."""
        product: dict[str, Any] = {"id": self._id(row), "title": self._text(row, "title")}
        if product["title"] is None:
            raise Rejected("no_title", "the title is empty")
        for name in self._texts:
            product[name] = self._text(row, name)
        if "price" in self._mapping.fields:
            product["price_micros"], product["currency"] = self._price(row)
        if "availability" in self._mapping.fields:
            product["availability"] = parse_availability(self._plain(row, "availability"))
        if "gtin" in self._mapping.fields:
            product["gtin"] = self._kept("gtin", self._value(row, "gtin"), parse_gtin)
        if "popularity" in self._mapping.fields:
            product["popularity"] = self._kept("popularity", self._plain(row, "popularity"), parse_number)
        for name in self._links:
            product[name] = self._kept(name, as_text(self._value(row, name)), clean_link)
        product["attributes"] = self._attributes(row) if self._mapping.attributes.include else None
        return tuple(map(product.get, CATALOG_SCHEMA.names))

    def name(self, row: Row) -> str | None:
        """The row's id as far as it can be told."""
        try:
            return self._id(row)
        except Rejected:
            return None

    def reads(self, column: str) -> bool:
        """Whether the mapping makes use of this column."""
        return column in self.taken or self._place(column) is not None

    def _id(self, row: Row) -> str:
        text = as_text(self._value(row, "id")).strip()
        if not text:
            raise Rejected("no_id", "the id is empty")
        if len(text) > ID_LIMIT:
            raise Rejected("bad_id", f"the id has {len(text)} characters, more than {ID_LIMIT}")
        if not text.isprintable() and any(unicodedata.category(letter) in {"Cc", "Cs"} for letter in text):
            raise Rejected("bad_id", f"the id {text!r} holds control characters")
        return text

    def _text(self, row: Row, name: str) -> str | None:
        text = self._raw_text(row, name)
        if not text:
            return None
        return self._clipped(text, LIMITS[name], name) or None

    def _clipped(self, text: str, limit: int, name: str) -> str:
        raw = text[:_RAW_LIMIT]
        cleaned = clean_text(raw)
        if len(cleaned) <= limit and len(raw) == len(text):
            return cleaned
        self.warnings[f"{name}_cut"] += 1
        return clip(cleaned, limit)

    def _raw_text(self, row: Row, name: str) -> str:
        source = self._mapping.fields[name]
        if len(source.columns) == 1:
            value = row.get(source.columns[0])
            if isinstance(value, str):  # nearly always
                return as_text(value)
        if source.constant is not None:
            return source.constant
        texts = [_joined(_pick(row, column), _JOINED.get(name)) for column in source.columns]
        return source.join.join(text for text in texts if text)

    def _value(self, row: Row, name: str) -> Any:
        """A field's value as it stands, a list's first; text where columns are joined."""
        source = self._mapping.fields[name]
        if source.constant is not None:
            return source.constant
        if len(source.columns) == 1:
            return _first(_pick(row, source.columns[0]))
        return source.join.join(filter(None, (_joined(_pick(row, column), None) for column in source.columns)))

    def _plain(self, row: Row, name: str) -> Any:
        """A field's value without markup: `12&nbsp;&euro;`."""
        value = self._value(row, name)
        return clean_text(value) if isinstance(value, str) else value

    def _price(self, row: Row) -> tuple[int | None, str | None]:
        source: Source = self._mapping.fields["price"]
        value = self._plain(row, "price")
        if value is None or (not isinstance(value, (int, float)) and not as_text(value).strip()) or value != value:
            return None, None
        named = None
        if "currency" in self._mapping.fields:
            text = as_text(self._plain(row, "currency"))
            named = parse_currency(text) if text.strip() else None
        micros, currency = parse_price(value, named or self._currency, source.scale, source.decimal)
        if named and currency != named:
            raise Rejected("ambiguous_price", f"{value!r} where the currency is {named}")
        if currency is None:
            self.warnings["price_without_currency"] += 1
        return micros, currency

    def _kept(self, name: str, value: Any, parse: Callable[[Any], _Parsed | None]) -> _Parsed | None:
        """The parsed value; one that cannot be parsed is dropped and counted."""
        if value is None or value == "":
            return None
        parsed = parse(value)
        if parsed is None and as_text(value).strip():
            self.warnings[f"{name}_dropped"] += 1
        return parsed

    def _attributes(self, row: Row) -> list[tuple[str, str]] | None:
        placed = [
            (place, value)
            for column, value in row.items()
            if value is not None and value != "" and (place := self._place(column))
        ]
        if self._ranked:
            placed.sort(key=lambda entry: entry[0][0])
        found: dict[str, str] = {}
        for (_, name), value in placed:
            for inner, text in _pairs(name, value):
                cleaned = self._clipped(text, ATTRIBUTE_LIMIT, "attribute")
                label = clip(clean_text(inner[:_RAW_LIMIT]), ATTRIBUTE_NAME_LIMIT)
                if not cleaned or not label:
                    continue
                if label not in found and len(found) == MOST_ATTRIBUTES:
                    self.warnings[f"attributes_beyond_{MOST_ATTRIBUTES}"] += 1  # products, not attributes
                    return list(found.items())
                found[label] = _both(found[label], cleaned) if label in found else cleaned
        return list(found.items()) or None

    def _place(self, column: str) -> tuple[int, str] | None:
        try:
            return self._places[column]
        except KeyError:
            place = self._mapping.attributes.place(column)
            # A column that a field reads is an attribute as well only if it is named outright.
            if place and column in self.taken and column not in self._mapping.attributes.include:
                place = None
            self._places[column] = place
            return place


def _pick(row: Row, column: str) -> Any:
    """A column's value; `a.b` is member b of the object in column a, unless there is a column of that name."""
    value = row.get(column)
    if value is not None or "." not in column or column in row:
        return value
    value = row
    for part in column.split("."):
        value = _first(value)
        if isinstance(value, list):
            return None
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _first(value: Any) -> Any:
    """A list's first value that says something; anything else as it is."""
    while isinstance(value, (list, tuple)):
        value = next((item for item in value if item is not None and item != ""), None)
    return value


def _joined(value: Any, joiner: str | None) -> str:
    if joiner is None or not isinstance(value, list):
        return as_text(_first(value))
    return joiner.join(filter(None, (as_text(_first(item)) for item in value)))


def _both(known: str, more: str) -> str:
    """Two texts of an attribute as one, no longer than one may be."""
    return known if known == more or len(known) >= ATTRIBUTE_LIMIT else clip(f"{known}, {more}", ATTRIBUTE_LIMIT)


def _pairs(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Names and texts in an attribute's value; an object or an Arrow map gives one for each member."""
    if isinstance(value, dict):
        yield from ((str(key), _flat(member)) for key, member in value.items())
    elif isinstance(value, list) and value and all(isinstance(item, tuple) and len(item) == 2 for item in value):
        yield from ((str(key), _flat(member)) for key, member in value)
    else:
        yield name, _flat(value)


def _flat(value: Any) -> str:
    """Any value as one text: a list of scalars joined by commas, what is nested deeper as JSON."""
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(v, (dict, list, tuple)) for v in value)):
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, (list, tuple)):
        return ", ".join(filter(None, map(as_text, value)))
    return as_text(value)
