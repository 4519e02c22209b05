"""Messages made up from their descriptors: mostly plausible, with hostile values among them; and bytes that are none.

Every field of every message is reached, those that a later version adds as well.
"""

import random
import struct
from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

# What stands for a lone surrogate until the message is serialized: protobuf's strings in Python hold none.
_SURROGATE, _SURROGATE_BYTES = "\ue000", b"\xed\xa0\x80"
_PLAIN = (
    *("", "default", "en", "red kettle", "garden hose 50 ft under 20 €", "boots without laces", "a-1", "a-29", "new-1"),
    *("price", "brand", "availability", "title", "attributes.voltage", "product_type", "popularity", "in_stock"),
    *("*", "price.units", "12.50 EUR", "tandem.v1.SearchService", "grpc.health.v1.Health", "tandem/v1/search.proto"),
)
_LIKELY = {
    "catalog": ("", "", "", "default", "no such"),
    "language": ("", "", "en", "xx"),
    "country": ("", "", "IE", "?"),
    "page_token": ("", "", "", "AAAA"),
    "query": _PLAIN[3:6],
    "product_id": ("a-1", "a-29", "new-1", "no such"),
    "field": ("price", "brand", "availability", "title", "popularity", "attributes.voltage", "no.such"),
    "currency_code": ("", "EUR", "eur"),
}
# What most messages would be refused without, at any depth and inside others.
_NEEDED, _FILLED = {"query", "prefix", "field", "product_id", "id", "title", "user_id"}, {"filters", "values", "value"}
_UNITS = (
    *("\u0301", "a\u0301\u0323", "\u0344", "\u1112\u1161\u11ab", "\u0f40\u0f71\u0f72", "\ufdfa", "手機殼藍色", "กาแฟ"),
    *("\u202e", "\u2066x\u2069", "\u200f", "\x00", "\x00a", _SURROGATE, "\U0010ffff", "\ufeff", "\u200b", "\ufffd"),
    *(
        "x",
        "1",
        "1/2 x ",
        '"',
        "'",
        "a1-b2/",
        " ",
        "\t",
        "(",
        "%s",
        "\\",
        "../",
        "🔥",
        "👩‍👩‍👧‍👧",
        "ß",
        "İ",
        "ﬁ",
        "NOT ",
    ),
)
_LENGTHS = (1, 1, 2, 3, 17, 64, 200, 511, 513, 2047, 4097)
_LONG = 66_000  # characters: beyond a request
_INTEGERS = (0, 1, -1, 2, 10, 199, 201, 2**31 - 1, -(2**31), 2**31, 2**53 + 1, 2**63 - 1, -(2**63))
_NUMBERS = (0.0, -0.0, 1.0, 0.5, -1.0, 1e-320, 1e308, -1e308, float("nan"), float("inf"), float("-inf"), 19.99)
_DEEP = (1, 2, 9, 33, 99, 200)
_INTEGER_TYPES = {
    FieldDescriptor.TYPE_INT32: 32,
    FieldDescriptor.TYPE_SINT32: 32,
    FieldDescriptor.TYPE_SFIXED32: 32,
    FieldDescriptor.TYPE_INT64: 64,
    FieldDescriptor.TYPE_SINT64: 64,
    FieldDescriptor.TYPE_SFIXED64: 64,
}
_UNSIGNED_TYPES = {
    FieldDescriptor.TYPE_UINT32: 32,
    FieldDescriptor.TYPE_UINT64: 64,
    FieldDescriptor.TYPE_FIXED32: 32,
    FieldDescriptor.TYPE_FIXED64: 64,
}
_FLOATS = (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT)


class HostileMessages:
    """Makes up messages by chance. `hostile` is the share of values that no honest caller sends."""

    def __init__(self, chance: random.Random, hostile: float = 0.15) -> None:
        self._chance = chance
        self._hostile = self._share = hostile

    def serialized(self, kind: type[Message]) -> bytes:
        """The bytes of a message of this kind. Of some, all values are plausible, so that they get far."""
        self._share = self._chance.choice((0.0, 0.02, self._hostile, self._hostile))
        data = self.message(kind.DESCRIPTOR).SerializeToString()
        return data.replace(_SURROGATE.encode(), _SURROGATE_BYTES)

    def message(self, kind: Descriptor, depth: int = 0) -> Any:
        """A message of this kind."""
        message = GetMessageClass(kind)()
        share = self._chance.choice((0.1, 0.3, 0.6)) / (1 + depth / 3)
        for field in kind.fields:
            needed = field.name in _NEEDED or (depth > 0 and field.name in _FILLED)
            if field.containing_oneof is None and self._chance.random() < (0.97 if needed else share):
                self._set(message, field, depth)
        for oneof in kind.oneofs:
            if self._chance.random() < (share if len(oneof.fields) == 1 else 0.95):
                self._set(message, self._chance.choice(oneof.fields), depth)
        return message

    def _set(self, message: Any, field: FieldDescriptor, depth: int) -> None:
        if field.message_type is None:
            values = [self._value(field) for _ in range(self._count(field))]
            if field.is_repeated:
                getattr(message, field.name).extend(values)
            else:
                setattr(message, field.name, values[0])
        elif field.message_type.GetOptions().map_entry:
            self._fill_map(getattr(message, field.name), field.message_type, depth)
        elif field.is_repeated:
            for _ in range(self._count(field) if depth < 3 else 1):
                if depth < 40:
                    getattr(message, field.name).add().CopyFrom(self.message(field.message_type, depth + 1))
        elif depth < 40:
            getattr(message, field.name).CopyFrom(self._nested(field.message_type, depth))

    def _nested(self, kind: Descriptor, depth: int) -> Any:
        """A message, sometimes in many of its own kind, as filters and structures can be."""
        inner = self.message(kind, depth + 1)
        own = [field for field in kind.fields if field.message_type is kind and not field.is_repeated]
        if own and self._chance.random() < self._share:
            for _ in range(self._chance.choice(_DEEP)):
                outer = GetMessageClass(kind)()
                getattr(outer, own[0].name).CopyFrom(inner)
                inner = outer
        return inner

    def _fill_map(self, entries: Any, kind: Descriptor, depth: int) -> None:
        key, value = kind.fields_by_name["key"], kind.fields_by_name["value"]
        for _ in range(self._count(key)):
            name = self._value(key)
            if value.message_type is None:
                entries[name] = self._value(value)
            elif depth < 12:
                entries[name].CopyFrom(self.message(value.message_type, depth + 1))

    def _count(self, field: FieldDescriptor) -> int:
        if self._chance.random() < self._share / 5 and field.message_type is None:
            return self._chance.choice((20, 65, 300))
        return self._chance.choice((1, 1, 2, 3))

    def _value(self, field: FieldDescriptor) -> Any:
        chance = self._chance
        hostile = chance.random() < self._share
        if field.type == FieldDescriptor.TYPE_STRING:
            return self.text() if hostile else chance.choice(_LIKELY.get(field.name, _PLAIN))
        if field.type == FieldDescriptor.TYPE_BYTES:
            return chance.randbytes(chance.choice(_LENGTHS))
        if field.type == FieldDescriptor.TYPE_BOOL:
            return chance.random() < 0.5
        if field.type in _FLOATS:
            return chance.choice(_NUMBERS) if hostile else chance.uniform(-1, 40)
        if field.type == FieldDescriptor.TYPE_ENUM:
            return chance.choice((99, -1)) if hostile else chance.choice(field.enum_type.values).number
        if field.type in _UNSIGNED_TYPES:
            return chance.choice(_INTEGERS) % 2 ** _UNSIGNED_TYPES[field.type]
        bits = _INTEGER_TYPES[field.type]
        number = chance.choice(_INTEGERS) if hostile else chance.randrange(12)
        return min(max(number, -(2 ** (bits - 1))), 2 ** (bits - 1) - 1)

    def text(self) -> str:
        """A text that no honest caller sends: of marks, of one letter, of scripts that go the other way, too long."""
        chance = self._chance
        if chance.random() < 0.02:
            return chance.choice(_UNITS)[0] * _LONG
        units = chance.choices(_UNITS, k=chance.choice((1, 1, 2, 5)))
        length = chance.choice(_LENGTHS)
        return ("".join(units) * length)[:length]


def broken_bytes(chance: random.Random, whole: bytes, other: bytes) -> bytes:
    """Bytes by chance, or a message damaged: bits turned, cut, spliced with another, or with lengths that lie."""
    ways: Sequence[Callable[[], bytes]] = (
        lambda: chance.randbytes(chance.choice(_LENGTHS)),
        lambda: _flipped(chance, whole),
        lambda: whole[: chance.randrange(len(whole) + 1)],
        lambda: whole[: chance.randrange(len(whole) + 1)] + other[chance.randrange(len(other) + 1) :],
        lambda: _lying(chance, whole),
        lambda: _groups(chance),
        lambda: whole + other * chance.choice((1, 2, 50)),
    )
    return chance.choice(ways)()


def _flipped(chance: random.Random, data: bytes) -> bytes:
    damaged = bytearray(data)
    for _ in range(chance.choice((1, 2, 9)) if damaged else 0):
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def _lying(chance: random.Random, data: bytes) -> bytes:
    """A field by chance whose length is another than stated, up to what no memory holds, in the midst of a message."""
    at = chance.randrange(len(data) + 1)
    tag = _varint(chance.randrange(1, 40) << 3 | 2)
    length = _varint(chance.choice((1, 127, 2**20, 2**31 - 1, 2**32, 2**63, 2**64 - 1)))
    return data[:at] + tag + length + data[at:]


def _groups(chance: random.Random) -> bytes:
    """Groups in groups, which are never closed."""
    return _varint(chance.randrange(1, 20) << 3 | 3) * chance.choice((3, 99, 101, 5000))


def _varint(number: int) -> bytes:
    result = bytearray()
    while number > 127:
        result.append(number & 127 | 128)
        number >>= 7
    return bytes(result) + struct.pack("B", number)
