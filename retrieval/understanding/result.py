"""What a query states, as far as it is understood."""

from dataclasses import dataclass

from text.price_bounds import PriceBounds

SOFT, HARD, OFF = "soft", "hard", "off"
MODES = (SOFT, HARD, OFF)
"""What is done with it: evidence for the order, conditions, nothing."""


@dataclass(frozen=True, slots=True)
class Understanding:
    """What a query states. `negations` are the things that it negates, in its own words."""

    negations: tuple[str, ...] = ()
    price: PriceBounds | None = None

    def with_more(self, other: "Understanding") -> "Understanding":
        """What both state; a price of the other stands for this one's."""
        negations = tuple(dict.fromkeys((*self.negations, *other.negations)))
        return Understanding(negations, other.price or self.price)
