"""What a query states, as far as it is understood."""

from dataclasses import dataclass, replace

from core.filters import Equal, Filter, Range
from text.price_bounds import PriceBounds

SOFT, HARD, OFF = "soft", "hard", "off"
MODES = (SOFT, HARD, OFF)
"""What is done with it: evidence for the order, conditions, nothing."""
_SURE = 0.5  # an attribute that is likelier meant than not is a condition
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class PredictedType:
    """A product type, as products have it, and the probability that the query means it."""

    product_type: str
    confidence: float


@dataclass(frozen=True, slots=True)
class StatedAttribute:
    """A value of a field that words of the query state, and the probability that they mean it.

    `value` is as products have it; of a number with its unit, `number` is its value.
    """

    field: str
    value: str
    words: str
    confidence: float
    number: float | None = None


@dataclass(frozen=True, slots=True)
class Understanding:
    """What a query states. `negations` are the things that it negates, in its own words; `low_price` is whether it asks
    for a low price without a number. `filter` is what it adds to the request's, where it is a condition."""

    negations: tuple[str, ...] = ()
    price: PriceBounds | None = None
    low_price: bool = False
    attributes: tuple[StatedAttribute, ...] = ()
    product_types: tuple[PredictedType, ...] = ()
    filter: Filter | None = None

    def with_more(self, other: "Understanding") -> "Understanding":
        """What both state; a price of the other stands for this one's."""
        negations = tuple(dict.fromkeys((*self.negations, *other.negations)))
        low = self.low_price or other.low_price
        return replace(self, negations=negations, price=other.price or self.price, low_price=low)

    @property
    def conditions(self) -> tuple[Filter, ...]:
        """What it would ask of products as conditions, the surest first."""
        sure = sorted((one for one in self.attributes if one.confidence >= _SURE), key=lambda one: -one.confidence)
        stated: list[Filter] = [Equal(one.field, one.value if one.number is None else one.number) for one in sure]
        if self.price is not None:
            ends = {"at_least": self.price.least, "at_most": self.price.most}
            bounds = {name: end / _MILLION for name, end in ends.items() if end is not None}
            stated.insert(0, Range("price", **bounds))
        return tuple(stated)
