"""Requests to change products read and checked, and what came of them as messages."""

import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeAlias, TypeVar

from google.protobuf import struct_pb2

from catalog.product import AVAILABILITIES
from catalog.versions import Outcome
from retrieval.live.rows import ChangeCleaner, CleanedRow
from retrieval.live.writer import Written
from retrieval.wire.request import MAX_NAME
from retrieval.wire.violations import InvalidRequest, Violation
from tandem.v1 import catalog_pb2, search_pb2

MOST_CHANGES = 500
_MOST_ID = 1024  # in characters as sent; cleaning has its own bound
_MOST_VERSION = (1 << 63) - 1
_NANOS = Decimal(10) ** -9

Request: TypeAlias = catalog_pb2.UpsertRequest | catalog_pb2.DeleteRequest | catalog_pb2.UpdateFieldsRequest
Response = TypeVar("Response", catalog_pb2.UpsertResponse, catalog_pb2.DeleteResponse, catalog_pb2.UpdateFieldsResponse)

_OUTCOMES = {
    Outcome.applied: catalog_pb2.CHANGE_OUTCOME_APPLIED,
    Outcome.unchanged: catalog_pb2.CHANGE_OUTCOME_UNCHANGED,
    Outcome.stale: catalog_pb2.CHANGE_OUTCOME_STALE,
    Outcome.missing: catalog_pb2.CHANGE_OUTCOME_MISSING,
}
_AVAILABILITY = dict(
    zip(
        (
            search_pb2.AVAILABILITY_IN_STOCK,
            search_pb2.AVAILABILITY_OUT_OF_STOCK,
            search_pb2.AVAILABILITY_PREORDER,
            search_pb2.AVAILABILITY_BACKORDER,
        ),
        AVAILABILITIES,
        strict=True,
    )
)


def check_changes(request: Request) -> None:
    """Raises InvalidRequest with all violations at once."""
    violations = list(_name_violations(request))
    if not 1 <= len(request.products) <= MOST_CHANGES:
        count = len(request.products)
        violations.append(Violation("products", f"has {count}; send 1 to {MOST_CHANGES} in a request"))
    else:
        violations += _product_violations(request)
    if violations:
        raise InvalidRequest(violations)


def read_changes(request: Request, cleaner: ChangeCleaner) -> list[CleanedRow]:
    """The changes of a checked request, cleaned, in its order; a product that comes twice is changed twice."""
    if isinstance(request, catalog_pb2.UpsertRequest):
        return [cleaner.upsert(_row(one), one.version, one.product_id) for one in request.products]
    if isinstance(request, catalog_pb2.DeleteRequest):
        return [cleaner.delete(one.product_id, one.version) for one in request.products]
    return [cleaner.update(one.product_id, struct_values(one.fields), one.version) for one in request.products]


def written_message(kind: type[Response], written: Written, catalog: str) -> Response:
    """What came of a request."""
    results = [
        catalog_pb2.ChangeResult(
            product_id=row.product_id,
            outcome=catalog_pb2.CHANGE_OUTCOME_REJECTED if outcome is None else _OUTCOMES[outcome],
            reason=row.reason,
            detail=row.detail,
            dropped=row.dropped,
        )
        for row, outcome in zip(written.rows, written.outcomes, strict=True)
    ]
    return kind(
        request_id=written.request_id,
        catalog=catalog,
        revision=written.revision,
        results=results,
        warnings=written.warnings,
    )


def struct_values(struct: struct_pb2.Struct) -> dict[str, Any]:
    """A message as a row of JSON has it: whole numbers are whole. Numbers that are none are text, which no field
    reads."""
    return {name: _value(value) for name, value in struct.fields.items()}


def _value(value: struct_pb2.Value) -> Any:
    match value.WhichOneof("kind"):
        case "number_value":
            number = value.number_value
            if not math.isfinite(number):
                return str(number)
            return int(number) if number == int(number) and abs(number) < 1 << 53 else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return struct_values(value.struct_value)
        case "list_value":
            return [_value(one) for one in value.list_value.values]
    return None


def _row(upsert: catalog_pb2.ProductUpsert) -> Mapping[str, Any]:
    """The row of one product, whichever way it was sent."""
    if upsert.WhichOneof("content") == "row":
        return struct_values(upsert.row)
    product = upsert.product
    row: dict[str, Any] = {field.name: value for field, value in product.ListFields() if isinstance(value, str)}
    row["title"] = product.title
    if product.HasField("price"):
        price = product.price
        row["price"] = format(Decimal(price.units) + price.nanos * _NANOS, "f")
        row["currency"] = price.currency_code
    if product.availability in _AVAILABILITY:
        row["availability"] = _AVAILABILITY[product.availability]
    if product.attributes:
        row["attributes"] = dict(product.attributes)
    if upsert.HasField("popularity"):
        row["popularity"] = upsert.popularity
    return row


def _name_violations(request: Request) -> Iterator[Violation]:
    for field, name in (("catalog", request.catalog), ("request_id", request.request_id)):
        if len(name) > MAX_NAME:
            yield Violation(field, f"has {len(name)} characters; send at most {MAX_NAME}")
        elif not name.isprintable():
            yield Violation(field, "has a character that cannot be printed; leave it out")


def _product_violations(request: Request) -> Sequence[Violation]:
    violations = []
    products: Sequence[Any] = request.products
    for place, product in enumerate(products):
        path = f"products[{place}]"
        if len(product.product_id) > _MOST_ID:
            violations.append(Violation(f"{path}.product_id", f"has {len(product.product_id)} characters"))
        if not 0 <= product.version <= _MOST_VERSION:
            violations.append(Violation(f"{path}.version", f"is {product.version}; send 0 or more"))
        if isinstance(product, catalog_pb2.ProductUpsert) and product.WhichOneof("content") is None:
            violations.append(Violation(path, "has neither product nor row; send one of them"))
    return violations
