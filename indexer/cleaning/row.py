"""One row of a feed, under a mapping, becomes one product."""

import re
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

from catalog.product import CATALOG_SCHEMA, MOST_ATTRIBUTES
from indexer.cleaning.availability import parse_availability
from indexer.cleaning.codes import ID_LIMIT, parse_gtin, parse_id, plain_number
from indexer.cleaning.currency import parse_currency
from indexer.cleaning.mapping import VERSION, FeedMapping, FieldSource
from indexer.cleaning.price import parse_price
from indexer.cleaning.rejection import InvalidValue
from indexer.cleaning.text import as_text, clean_link, clean_text, clip, parse_number
from indexer.cleaning.values import attribute_pairs, first_value, get_value, join_values
from indexer.feed.batch import Row

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
# Longer texts are cut before they are cleaned, at so many times the field's limit: markup can be most of a text.
_RAW_TIMES, _RAW_LEAST = 5, 5000
# How a field that may hold several values joins a list. Every other field takes a list's first value.
_JOINED = {"description": " ", "product_type": " > ", "color": "/", "size": "/", "material": "/"}
_LINKS = ("image_link", "link")
_SHOWN = 100
_WHOLE_NUMBER = re.compile(r"[0-9]{1,19}")
_Parsed = TypeVar("_Parsed")


class RowCleaner:
    """Cleans rows one by one.

    `warnings` counts by name what was changed in rows that were kept. `dropped` counts by field and reason the values
    that could not be read, without which their products were kept; `examples` has a value of each.
    """

    def __init__(self, mapping: FeedMapping) -> None:
        self.warnings: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self.field_columns: set[str] = set(mapping.sources)
        self._mapping = mapping
        self._currency = mapping.catalog.currency
        self._places: dict[str, tuple[int, str] | None] = {}
        self._ranked = len(mapping.attributes.include) > 1
        self._texts = [name for name in LIMITS if name != "title" and name in mapping.fields]
        parsers = {"availability": self._availability, "gtin": self._gtin, "popularity": self._popularity}
        parsers |= dict.fromkeys(_LINKS, self._link)
        self._parsed = [(name, parse) for name, parse in parsers.items() if name in mapping.fields]

    def clean(self, row: Row) -> tuple[Any, ...]:
        """The product's values in the order of `CATALOG_SCHEMA`. Raises InvalidValue for a row that cannot be one."""
        product: dict[str, Any] = {"id": self._id(row), "title": self._text(row, "title")}
        if product["title"] is None:
            raise InvalidValue("no_title", "the title is empty")
        for name in self._texts:
            product[name] = self._read(name, row, self._text)
        if "price" in self._mapping.fields:
            product["price_micros"], product["currency"] = self._read("price", row, self._price) or (None, None)
        for name, parse in self._parsed:
            product[name] = self._read(name, row, parse)
        product["attributes"] = self._attributes(row) if self._mapping.attributes.include else None
        return tuple(map(product.get, CATALOG_SCHEMA.names))

    def version(self, row: Row) -> int:
        """The row's version, 1 to 2^63 - 1; 0 where it has none, or none that can be read."""
        return self._read(VERSION, row, self._version) or 0 if VERSION in self._mapping.fields else 0

    def name(self, row: Row) -> str | None:
        """The row's id where it can be read."""
        try:
            return self._id(row)
        except InvalidValue:
            return None

    def reads(self, column: str) -> bool:
        """Whether the mapping makes use of this column."""
        return column in self.field_columns or self._place(column) is not None

    def _id(self, row: Row) -> str:
        return parse_id(self._value(row, "id"))

    def _read(self, name: str, row: Row, read: Callable[[Row, str], _Parsed | None]) -> _Parsed | None:
        """A field's value; one that cannot be read is dropped and counted."""
        try:
            return read(row, name)
        except InvalidValue as error:
            self._drop(name, error)
            return None

    def _drop(self, name: str, error: InvalidValue) -> None:
        kind = f"{name}: {error.reason}"
        self.dropped[kind] += 1
        if kind not in self.examples:
            self.examples[kind] = error.detail

    def _text(self, row: Row, name: str) -> str | None:
        text = self._raw_text(row, name)
        if not text:
            return None
        if name == "item_group_id":
            text = plain_number(text)
        return self._clean_and_clip(text, LIMITS[name], name) or None

    def _clean_and_clip(self, text: str, limit: int, name: str) -> str:
        raw = text[: max(limit * _RAW_TIMES, _RAW_LEAST)]
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
        texts = [join_values(get_value(row, column), _JOINED.get(name)) for column in source.columns]
        return source.join.join(text for text in texts if text)

    def _value(self, row: Row, name: str) -> Any:
        """A field's value as it stands, a list's first; text where columns are joined."""
        source = self._mapping.fields[name]
        if source.constant is not None:
            return source.constant
        if len(source.columns) == 1:
            return first_value(get_value(row, source.columns[0]))
        return source.join.join(filter(None, (join_values(get_value(row, column), None) for column in source.columns)))

    def _plain(self, row: Row, name: str) -> Any:
        """A field's value without markup: `12&nbsp;&euro;`."""
        value = self._value(row, name)
        return clean_text(value[:_RAW_LEAST]) if isinstance(value, str) else value

    def _price(self, row: Row, _: str) -> tuple[int, str | None] | None:
        source: FieldSource = self._mapping.fields["price"]
        value = self._plain(row, "price")
        if value is None or (not isinstance(value, (int, float)) and not as_text(value).strip()) or value != value:
            return None
        stated = None
        if "currency" in self._mapping.fields:
            text = as_text(self._plain(row, "currency"))
            stated = parse_currency(text, self._currency) if text.strip() else None
        micros, currency = parse_price(value, stated or self._currency, source.scale, source.decimal)
        if stated and currency != stated:
            raise InvalidValue("ambiguous_price", f"{value!r} where the currency is {stated}")
        if currency is None:
            self.warnings["price_without_currency"] += 1
        return micros, currency

    def _availability(self, row: Row, name: str) -> str | None:
        return parse_availability(self._plain(row, name))

    def _gtin(self, row: Row, name: str) -> str | None:
        return parse_gtin(self._value(row, name))

    def _popularity(self, row: Row, name: str) -> float | None:
        value = self._plain(row, name)
        number = parse_number(value)
        if number is None and as_text(value).strip():
            raise InvalidValue("no_number", f"{as_text(value)[:_SHOWN]!r} is no number")
        return number

    def _version(self, row: Row, name: str) -> int | None:
        value = self._value(row, name)
        text = plain_number(as_text(value).strip())
        if not text or value != value or text == "0":
            return None
        if not _WHOLE_NUMBER.fullmatch(text) or not 0 < int(text) < 1 << 63:
            raise InvalidValue("no_version", f"{text[:_SHOWN]!r} is no whole number from 1 to 2^63 - 1")
        return int(text)

    def _link(self, row: Row, name: str) -> str | None:
        text = as_text(self._value(row, name))
        link = clean_link(text)
        if link is None and text.strip():
            raise InvalidValue("no_link", f"{text[:_SHOWN]!r} is no http address of at most 4,096 characters")
        return link

    def _attributes(self, row: Row) -> list[tuple[str, str]] | None:
        placed = [
            (place, value)
            for column, value in row.items()
            if value is not None and value != "" and (place := self._place(column))
        ]
        if self._ranked:
            placed.sort(key=lambda entry: entry[0][0])
        attributes: dict[str, str] = {}
        for (_, name), value in placed:
            try:
                texts = list(attribute_pairs(name, value))
            except InvalidValue as error:
                self._drop("attribute", error)
                continue
            for inner, text in texts:
                cleaned = self._clean_and_clip(text, ATTRIBUTE_LIMIT, "attribute")
                label = clip(clean_text(inner[:_RAW_LEAST]), ATTRIBUTE_NAME_LIMIT)
                if not cleaned or not label:
                    continue
                if label not in attributes and len(attributes) == MOST_ATTRIBUTES:
                    self.warnings[f"attributes_beyond_{MOST_ATTRIBUTES}"] += 1  # products, not attributes
                    return list(attributes.items())
                attributes[label] = _join_texts(attributes[label], cleaned) if label in attributes else cleaned
        return list(attributes.items()) or None

    def _place(self, column: str) -> tuple[int, str] | None:
        try:
            return self._places[column]
        except KeyError:
            place = self._mapping.attributes.match(column)
            # A column that a field reads is an attribute as well only if it is named outright.
            if place and column in self.field_columns and column not in self._mapping.attributes.include:
                place = None
            self._places[column] = place
            return place


def _join_texts(text: str, more: str) -> str:
    """Two texts of an attribute as one, no longer than one may be."""
    return text if text == more or len(text) >= ATTRIBUTE_LIMIT else clip(f"{text}, {more}", ATTRIBUTE_LIMIT)
