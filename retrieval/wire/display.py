"""The display fields of products, within the bytes that an answer has room for."""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from catalog.product import MICROS, MOST_ATTRIBUTES
from catalog.view import CatalogView
from tandem.v1 import search_pb2

Fill = Callable[[search_pb2.Product, int], None]

LONG_FIELDS = ("description", "attributes")
_LONGEST_TEXT, _LONGEST_ATTRIBUTE = 16 << 10, 1 << 10  # bytes in UTF-8; an attribute's of name and of value
BOUNDS = (
    f"an answer takes 1 MiB at most, a product {MOST_ATTRIBUTES} attributes, "
    f"an attribute {_LONGEST_ATTRIBUTE:,} bytes, another text {_LONGEST_TEXT:,}"
)
_NANOS_PER_MICRO = 1000

_AVAILABILITY = {
    "in_stock": search_pb2.AVAILABILITY_IN_STOCK,
    "out_of_stock": search_pb2.AVAILABILITY_OUT_OF_STOCK,
    "preorder": search_pb2.AVAILABILITY_PREORDER,
    "backorder": search_pb2.AVAILABILITY_BACKORDER,
}
# Where a message field is not the column of the same name.
_COLUMNS = {"price": ("price_micros", "currency"), "attributes": ()}


class Display:
    """Fills in products while there is room. `cut` has the rows of those that show less than the request asks for."""

    def __init__(self, view: CatalogView, room: int) -> None:
        """`room` is in bytes, for all products together."""
        self.cut: set[int] = set()
        self._view = view
        self._room = room

    def filler(self, fields: Sequence[str]) -> Fill:
        """What adds these fields of the product of a row to its message, or none of them where they do not fit."""
        columns = [column for field in fields for column in _COLUMNS.get(field, (field,))]

        def fill(product: search_pb2.Product, row: int) -> None:
            if self._room <= 0:
                self.cut.add(row)
                return
            before = product.ByteSize()
            self._set(product, row, fields, self._view.row(row, columns))
            if (taken := product.ByteSize() - before) <= self._room:
                self._room -= taken
                return
            for name in fields:
                product.ClearField(name)
            self._room = 0  # else lower hits would show what higher ones do not
            self.cut.add(row)

        return fill

    def _set(self, product: search_pb2.Product, row: int, fields: Sequence[str], values: dict[str, Any]) -> None:
        for name in fields:
            if name == "attributes":
                self._set_attributes(product, row)
            elif name == "price":
                if values["price_micros"] is not None:
                    product.price.CopyFrom(money(values["price_micros"], values["currency"] or ""))
            elif name == "availability":
                product.availability = _AVAILABILITY.get(values[name], search_pb2.AVAILABILITY_UNSPECIFIED)
            elif values[name] is not None:
                setattr(product, name, self._clipped(values[name], _LONGEST_TEXT, row))

    def _set_attributes(self, product: search_pb2.Product, row: int) -> None:
        pairs = self._view.attributes(row, MOST_ATTRIBUTES + 1)
        if len(pairs) > MOST_ATTRIBUTES:
            self.cut.add(row)
        limit = _LONGEST_ATTRIBUTE
        shown = ((self._clipped(key, limit, row), self._clipped(value or "", limit, row)) for key, value in pairs)
        product.attributes.update(islice(shown, MOST_ATTRIBUTES))

    def _clipped(self, text: str, limit: int, row: int) -> str:
        if 4 * len(text) <= limit or len(data := text.encode()) <= limit:
            return text
        self.cut.add(row)
        return data[:limit].decode(errors="ignore")


def money(micros: int, currency: str) -> search_pb2.Money:
    """An amount of millionths as whole units and billionths. Amounts are never negative: cleaning sees to it."""
    units, rest = divmod(micros, MICROS)
    return search_pb2.Money(currency_code=currency, units=units, nanos=rest * _NANOS_PER_MICRO)
