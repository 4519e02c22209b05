"""What a query states, as messages, and what a request wants done with it."""

from retrieval.understanding.result import HARD, OFF, SOFT, Understanding
from tandem.v1 import search_pb2
from text.price_bounds import PriceBounds

MODE_NAMES = {
    search_pb2.UNDERSTANDING_MODE_UNSPECIFIED: SOFT,
    search_pb2.UNDERSTANDING_MODE_HARD: HARD,
    search_pb2.UNDERSTANDING_MODE_OFF: OFF,
}
_MILLION, _NANOS_OF_MICRO = 1_000_000, 1000


def add_understanding(message: search_pb2.SearchResponse, stated: Understanding, currency: str | None) -> None:
    """Puts into the answer what its query states; nothing where that is nothing. `currency` is the catalog's."""
    if stated == Understanding():
        return
    for kind in stated.product_types:
        message.understanding.product_types.add(product_type=kind.product_type, confidence=kind.confidence)
    for one in stated.attributes:
        message.understanding.attributes.add(
            field=one.field, value=one.value, words=one.words, confidence=one.confidence
        )
    message.understanding.negations.extend(stated.negations)
    if stated.price is not None:
        _set_price(message.understanding.price, stated.price, currency)


def _set_price(message: search_pb2.PriceRange, price: PriceBounds, currency: str | None) -> None:
    for name, micros in (("at_least", price.least), ("at_most", price.most)):
        if micros is not None:
            money = getattr(message, name)
            money.currency_code = currency or ""
            money.units, rest = divmod(micros, _MILLION)
            money.nanos = rest * _NANOS_OF_MICRO
