"""Rows of changes, cleaned as a feed's rows are: each becomes a change, or a reason why it is none."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from catalog.changes import Change, ChangeKind, names_attribute
from catalog.columns import ATTRIBUTES
from catalog.product import CATALOG_SCHEMA
from core.errors import FeedError
from core.manifest import Manifest
from core.strings import quoted
from indexer.cleaning.codes import parse_id
from indexer.cleaning.mapping import FIELDS, AttributeRules, CatalogSettings, FeedMapping, default_mapping
from indexer.cleaning.rejection import InvalidValue
from indexer.cleaning.row import RowCleaner

Row = Mapping[str, Any]

_MAPPINGS = 64
_ATTRIBUTES = ATTRIBUTES.removesuffix(".")
# Where a field is not the column of the same name.
_COLUMNS = {"price": ("price_micros", "currency")}


@dataclass(frozen=True, slots=True)
class CleanedRow:
    """The change that a row asks for, or None and why: `reason` as in a feed's quarantine, `detail` in words.

    `dropped` are values that could not be read and were left out, by field and reason.
    """

    product_id: str
    change: Change | None = None
    reason: str = ""
    detail: str = ""
    dropped: tuple[str, ...] = ()


class ChangeCleaner:
    """Cleans the rows of one catalog's changes. For one thread at a time."""

    def __init__(self, manifest: Manifest) -> None:
        """The catalog's language, country and currency are those of the release."""
        self._settings = CatalogSettings.model_construct(
            name=manifest.catalog, language=manifest.language, country=manifest.country, currency=manifest.currency
        )
        self._cleaner = lru_cache(_MAPPINGS)(self._make_cleaner)
        fields = default_mapping(FIELDS, self._settings).fields
        self._update = RowCleaner(_mapping(fields, self._settings))

    def upsert(self, row: Row, version: int = 0, product_id: str = "") -> CleanedRow:
        """The change that makes the product what the row holds; `product_id` stands in for an id that the row lacks."""
        if product_id:
            row = {"id": product_id, **row}
        try:
            cleaner = self._cleaner(tuple(row))
        except FeedError as error:
            return CleanedRow(product_id, None, "no_product", str(error))
        try:
            values = cleaner.clean(dict(row))
        except InvalidValue as error:
            return CleanedRow(cleaner.name(dict(row)) or product_id, None, error.reason, error.detail)
        product = dict(zip(CATALOG_SCHEMA.names, values, strict=True))
        change = Change(ChangeKind.upsert, product["id"], version, product)
        return CleanedRow(product["id"], change, dropped=_take_dropped(cleaner))

    def delete(self, product_id: str, version: int = 0) -> CleanedRow:
        """The change that removes the product."""
        try:
            name = parse_id(product_id)
        except InvalidValue as error:
            return CleanedRow(product_id, None, error.reason, error.detail)
        return CleanedRow(name, Change(ChangeKind.delete, name, version))

    def update(self, product_id: str, fields: Row, version: int = 0) -> CleanedRow:
        """The change of the named fields. A value that cannot be read rejects the row: it clears nothing."""
        try:
            name = parse_id(product_id)
            changed = self._changed(name, fields)
        except InvalidValue as error:
            return CleanedRow(product_id, None, error.reason, error.detail)
        return CleanedRow(name, Change(ChangeKind.update_fields, name, version, changed))

    def _changed(self, product_id: str, fields: Row) -> dict[str, Any]:
        """The columns that change, with their new values. Raises InvalidValue."""
        if not fields:
            raise InvalidValue("no_fields", "no field is given; send at least one")
        named = {field.removeprefix(ATTRIBUTES): value for field, value in fields.items() if names_attribute(field)}
        for field in fields:
            if field == "id" or (field not in FIELDS and field != _ATTRIBUTES and not names_attribute(field)):
                raise InvalidValue("unknown_field", f"{quoted(field)} is no field that can change; {_known()}")
        if "currency" in fields and "price" not in fields:
            raise InvalidValue("no_price", "currency is given without price; send both")
        row = {"title": "product", **{field: value for field, value in fields.items() if not names_attribute(field)}}
        if named:
            row[_ATTRIBUTES] = named
        values = dict(zip(CATALOG_SCHEMA.names, self._update.clean({**row, "id": product_id}), strict=True))
        self._refuse_dropped()
        changed: dict[str, Any] = {}
        for field in fields:
            for column in _COLUMNS.get(field, (field,)):
                if column in values and not (column == "currency" and values[column] is None):
                    changed[column] = values[column]
        if named:
            changed.pop(_ATTRIBUTES, None)
            written = dict(values[_ATTRIBUTES] or ())
            if missing := [name for name, value in named.items() if value not in (None, "") and name not in written]:
                raise InvalidValue("attribute", f"{quoted(missing[0])} cannot be read")
            changed |= {ATTRIBUTES + name: written.get(name) for name in named}
        return changed

    def _refuse_dropped(self) -> None:
        examples = dict(self._update.examples)
        dropped = _take_dropped(self._update)
        if dropped:
            field, _, reason = dropped[0].partition(": ")
            raise InvalidValue(reason, f"{field}: {examples.get(dropped[0], reason)}")

    def _make_cleaner(self, columns: tuple[str, ...]) -> RowCleaner:
        mapping = default_mapping(columns, self._settings)
        return RowCleaner(mapping)


def _known() -> str:
    return f"there is {', '.join(name for name in FIELDS if name != 'id')}, attributes and {ATTRIBUTES}NAME"


def _mapping(fields: dict[str, Any], settings: CatalogSettings) -> FeedMapping:
    rules = AttributeRules(include=(_ATTRIBUTES,))
    return FeedMapping.model_construct(catalog=settings, fields=fields, attributes=rules)


def _take_dropped(cleaner: RowCleaner) -> tuple[str, ...]:
    """What the cleaner left out of the row just cleaned."""
    dropped = tuple(cleaner.dropped)
    cleaner.dropped.clear()
    cleaner.examples.clear()
    return dropped
