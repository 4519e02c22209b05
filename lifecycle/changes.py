"""Sends files of changes to a running service: products to add or replace, fields to change, ids to remove."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

from google.protobuf.json_format import ParseError
from google.protobuf.struct_pb2 import Struct

from catalog.product import CATALOG_SCHEMA, MICROS
from core.errors import FeedError, TandemError
from core.strings import quoted
from indexer.cleaning.mapping import FeedMapping, default_mapping
from indexer.cleaning.rejection import InvalidValue
from indexer.cleaning.row import RowCleaner
from indexer.feed.read import Feed, open_feed
from indexer.product_files import QuarantineWriter, row_json
from tandem.client import (
    DeleteRequest,
    FieldsUpdate,
    ProductDelete,
    ProductUpsert,
    SearchClient,
    UpdateFieldsRequest,
    UpsertRequest,
)
from tandem.v1 import catalog_pb2

_AT_ONCE, _BYTES_AT_ONCE = 200, 512 << 10  # products and bytes of a request
_MOST_VERSION = (1 << 63) - 1

Product: TypeAlias = ProductUpsert | ProductDelete | FieldsUpdate
Send: TypeAlias = Callable[[list[Any]], Any]


@dataclass(slots=True)
class ChangeReport:
    """What came of a file: rows by outcome, rejected ones by reason with an example of each, the last revision."""

    outcomes: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, None] = field(default_factory=dict)
    revision: int = 0

    def add(self, response: Any) -> None:
        """Counts what came of one request."""
        self.revision = max(self.revision, response.revision)
        self.warnings = dict.fromkeys(response.warnings)
        for result in response.results:
            name = catalog_pb2.ChangeOutcome.Name(result.outcome).removeprefix("CHANGE_OUTCOME_").lower()
            if result.outcome == catalog_pb2.CHANGE_OUTCOME_REJECTED:
                self.reject(result.reason, f"{quoted(result.product_id)}: {result.detail}")
            else:
                self.outcomes[name] += 1

    def reject(self, reason: str, example: str) -> None:
        """Counts a row that is no change."""
        self.rejected[reason] += 1
        self.examples.setdefault(reason, example)


class ChangeFile:
    """A file of changes and where they go. `version` names the column of versions, empty where there is none."""

    def __init__(self, client: SearchClient, catalog: str, version: str = "", quarantine: Path | None = None) -> None:
        """Rejected rows are written to `quarantine`, where it is given, as `tandem index` writes them."""
        self.report = ChangeReport()
        self._client = client
        self._catalog = catalog
        self._version = version
        self._quarantine_path = quarantine
        self._quarantine: QuarantineWriter | None = None

    def upsert(self, path: Path, mapping: FeedMapping) -> ChangeReport:
        """Adds or replaces the products of a feed, in its order. Raises FeedError, TandemError, or SearchError."""

        def changes(feed: Feed) -> Iterator[Product]:
            cleaner: RowCleaner | None = None
            for number, row in self._rows(feed):
                if cleaner is None or not feed.format.complete:
                    columns = feed.format.columns if feed.format.complete else tuple(row)
                    cleaner = RowCleaner(mapping if mapping.fields else _default(columns, mapping, feed))
                try:
                    product = dict(zip(CATALOG_SCHEMA.names, cleaner.clean(row), strict=True))
                    upsert = ProductUpsert(product_id=product["id"], version=self._version_of(row))
                    upsert.row.CopyFrom(_struct(_plain(product)))
                    yield upsert
                except InvalidValue as error:
                    self._reject(number, cleaner.name(row), error, row)

        return self._send_file(path, mapping, changes, self._upsert)

    def update(self, path: Path) -> ChangeReport:
        """Changes the fields that are the columns of a file, beside `id`; an empty one clears its field."""

        def changes(feed: Feed) -> Iterator[Product]:
            for number, row in self._rows(feed):
                try:
                    name = row.pop("id", row.pop("product_id", None))
                    if name in (None, ""):
                        raise InvalidValue("no_id", "the row has no id")
                    update = FieldsUpdate(product_id=_text(name), version=self._version_of(row))
                    row.pop(self._version, None)
                    update.fields.CopyFrom(_struct(row))
                    yield update
                except InvalidValue as error:
                    self._reject(number, None, error, row)

        return self._send_file(path, FeedMapping(), changes, self._update)

    def delete(self, ids: Iterable[str]) -> ChangeReport:
        """Removes the products of these ids."""
        self._send((ProductDelete(product_id=name) for name in ids), self._delete)
        return self.report

    def delete_file(self, path: Path) -> ChangeReport:
        """Removes the products of a file's column `id`."""

        def changes(feed: Feed) -> Iterator[Product]:
            for number, row in self._rows(feed):
                try:
                    name = row.get("id", row.get("product_id"))
                    if name in (None, ""):
                        raise InvalidValue("no_id", "the row has no id")
                    yield ProductDelete(product_id=_text(name), version=self._version_of(row))
                except InvalidValue as error:
                    self._reject(number, None, error, row)

        return self._send_file(path, FeedMapping(), changes, self._delete)

    def _send_file(
        self, path: Path, mapping: FeedMapping, changes: Callable[[Feed], Iterator[Product]], send: Send
    ) -> ChangeReport:
        with ExitStack() as stack:
            if self._quarantine_path is not None:
                self._quarantine = stack.enter_context(QuarantineWriter(self._quarantine_path))
            feed = stack.enter_context(open_feed(path, mapping.catalog.language, mapping.catalog.encoding))
            if mapping.fields and feed.format.complete:
                mapping.check(feed.format.columns)
            if self._version and feed.format.complete and self._version not in feed.format.columns:
                raise FeedError(f"{path}: has no column {self._version!r} for versions")
            self._send(changes(feed), send)
        return self.report

    def _send(self, changes: Iterable[Product], send: Send) -> None:
        batch: list[Product] = []
        size = 0
        for change in changes:
            if batch and (len(batch) == _AT_ONCE or size + change.ByteSize() > _BYTES_AT_ONCE):
                self.report.add(send(batch))
                batch, size = [], 0
            batch.append(change)
            size += change.ByteSize()
        if batch:
            self.report.add(send(batch))

    def _rows(self, feed: Feed) -> Iterator[tuple[int, dict[str, Any]]]:
        for batch in feed.batches:
            for broken in batch.broken:
                self._reject_row(broken.number, None, broken.reason, broken.detail, broken.raw)
            yield from zip(batch.numbers, map(dict, batch.rows), strict=True)

    def _version_of(self, row: Mapping[str, Any]) -> int:
        value = row.get(self._version) if self._version else None
        if value in (None, ""):
            return 0
        try:
            number = Decimal(_text(value))
            version = int(number)
        except (ArithmeticError, ValueError):
            version = -1
        if not 0 <= version <= _MOST_VERSION or version != number:
            raise InvalidValue("bad_version", f"{_text(value)[:40]!r} is no whole number from 0 on")
        return version

    def _reject(self, number: int, name: str | None, error: InvalidValue, row: Mapping[str, Any]) -> None:
        self._reject_row(number, name, error.reason, error.detail, row_json(dict(row)))

    def _reject_row(self, number: int, name: str | None, reason: str, detail: str, raw: str) -> None:
        self.report.reject(reason, f"row {number}: {detail}")
        if self._quarantine is not None:
            self._quarantine.add(number, name, reason, detail, raw)

    def _upsert(self, products: list[Any]) -> Any:
        return self._client.upsert(UpsertRequest(catalog=self._catalog, products=products))

    def _update(self, products: list[Any]) -> Any:
        return self._client.update_fields(UpdateFieldsRequest(catalog=self._catalog, products=products))

    def _delete(self, products: list[Any]) -> Any:
        return self._client.delete(DeleteRequest(catalog=self._catalog, products=products))


def _default(columns: Iterable[str], mapping: FeedMapping, feed: Feed) -> FeedMapping:
    return default_mapping(columns, mapping.catalog, mapping.attributes, feed.format.export)


def _plain(product: Mapping[str, Any]) -> dict[str, Any]:
    """A cleaned product as a row of usual column names, without what it lacks."""
    row = {name: value for name, value in product.items() if value is not None and name != "price_micros"}
    if product["price_micros"] is not None:
        row["price"] = format(Decimal(product["price_micros"]) / MICROS, "f")
    if product["attributes"] is not None:
        row["attributes"] = dict(product["attributes"])
    return row


def _struct(row: Mapping[str, Any]) -> Struct:
    """The row as a message, values that JSON lacks as text. Raises InvalidValue."""
    struct = Struct()
    try:
        struct.update({name: _json(value) for name, value in row.items()})
    except (ValueError, TypeError, ParseError) as error:
        raise InvalidValue("unreadable", str(error)) from None
    return struct


def _json(value: Any) -> Any:
    match value:
        case None | bool() | str() | int() | float():
            return value
        case Mapping():
            return {str(name): _json(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_json(inner) for inner in value]
    return str(value)


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def no_changes(report: ChangeReport) -> TandemError | None:
    """The error of a file of which nothing was taken."""
    if report.outcomes or not report.rejected:
        return None
    reason, example = next(iter(report.examples.items()))
    return TandemError(f"all {sum(report.rejected.values()):,} rows were rejected; first {reason}: {example}")
