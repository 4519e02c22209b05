"""Changes of products between two releases: upserts, deletes and updates of fields, and how they are kept as bytes."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgpack

from catalog.columns import ATTRIBUTES
from core.errors import ChangeLogError

_FORMAT = 1
MOST_BYTES = 32 << 20  # of one entry


class ChangeKind(StrEnum):
    """What a change does to a product."""

    upsert = "upsert"
    delete = "delete"
    update_fields = "update_fields"


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one product. `version` is 0 where nobody gave one.

    `product` has the names of `CATALOG_SCHEMA`, cleaned: of an upsert all of them, of an update those that change,
    where None clears; a delete has none. Attributes are a list of pairs. `vector` is the product's in little-endian
    float16, made by the item tower whose digest `encoder` is; both are empty where it is not known.
    """

    kind: ChangeKind
    product_id: str
    version: int = 0
    product: Mapping[str, Any] | None = None
    vector: bytes = b""
    encoder: str = ""


@dataclass(frozen=True, slots=True)
class NewEntry:
    """The changes of one request, applied together or not at all. `time` is Unix time in milliseconds."""

    time: int
    request_id: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Entry(NewEntry):
    """An entry of a change log. Revisions are 1, 2, 3 and so on, without gaps."""

    revision: int


def encode_entry(entry: NewEntry) -> bytes:
    """The entry as MessagePack, without its revision.

    Raises ChangeLogError for one beyond `MOST_BYTES`, or with what cannot be kept, such as a lone surrogate.
    """
    changes = [
        [c.kind.value, c.product_id, c.version, None if c.product is None else dict(c.product), c.vector, c.encoder]
        for c in entry.changes
    ]
    try:
        data: bytes = msgpack.packb([_FORMAT, entry.time, entry.request_id, changes])
    except (TypeError, ValueError, OverflowError) as error:
        raise ChangeLogError(f"changes of request {entry.request_id!r} cannot be kept: {error}") from None
    if len(data) > MOST_BYTES:
        raise ChangeLogError(
            f"changes of request {entry.request_id!r} take {len(data):,} bytes, and a request may have {MOST_BYTES:,}: "
            "send fewer at once"
        )
    return data


def decode_entry(data: bytes, revision: int) -> Entry:
    """The entry that `encode_entry` made. Raises ChangeLogError for bytes of another version or of none."""
    try:
        content = msgpack.unpackb(data)
        if (number := content[0]) != _FORMAT:
            raise ChangeLogError(
                f"entry {revision} of the change log has format {number}, and this version reads {_FORMAT}: use the "
                "version of Tandem that wrote it, or a newer one"
            )
        _, time, request_id, changes = content
        return Entry(time, request_id, tuple(_change(*change) for change in changes), revision)
    except (TypeError, ValueError, IndexError, KeyError, msgpack.UnpackException) as error:
        raise ChangeLogError(f"entry {revision} of the change log is not one: {error}") from None


def _change(
    kind: str, product_id: str, version: int, product: dict[str, Any] | None, vector: bytes, encoder: str
) -> Change:
    if product is not None and product.get("attributes") is not None:
        product["attributes"] = [(name, value) for name, value in product["attributes"]]
    return Change(ChangeKind(kind), product_id, version, product, vector, encoder)


def merge_fields(row: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """The product with the fields of an update: all its attributes first, then those that are named."""
    merged = {**row, **{name: value for name, value in changed.items() if not names_attribute(name)}}
    named = {name.removeprefix(ATTRIBUTES): value for name, value in changed.items() if names_attribute(name)}
    if named:
        attributes = dict(merged["attributes"] or ())
        for name, value in named.items():
            if value is None:
                attributes.pop(name, None)
            else:
                attributes[name] = value
        merged["attributes"] = list(attributes.items()) or None
    return merged


def join_fields(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of two updates as those of one."""
    if ATTRIBUTES.removesuffix(".") in later:
        earlier = {name: value for name, value in earlier.items() if not names_attribute(name)}
    return {**earlier, **later}


def names_attribute(field: str) -> bool:
    """Whether a field of an update is one attribute, `attributes.NAME`."""
    return field.startswith(ATTRIBUTES) and field != ATTRIBUTES
