"""What a request states of a shopper, and for whom or beside what it asks for recommendations."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Action(StrEnum):
    """What a shopper did with a product."""

    view = "view"
    cart = "cart"
    purchase = "purchase"


@dataclass(frozen=True, slots=True)
class UserEvent:
    """A product that a shopper did something with. `time` is in seconds since 1970; None is now."""

    product_id: str
    time: float | None = None
    action: Action = Action.view


@dataclass(frozen=True, slots=True)
class User:
    """A shopper. `strength` is how strongly a search is to be personalised, 0 to 1; None: as the plan allows.

    The id is left out of what is printed.
    """

    user_id: str = field(default="", repr=False)
    events: tuple[UserEvent, ...] = field(default=(), repr=False)
    segments: Mapping[str, str] = field(default_factory=dict)
    remember: bool = False
    strength: float | None = None


class Relation(StrEnum):
    """What recommended products have to do with one product."""

    similar = "similar"
    bought_together = "bought_together"


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom or what a list is for: a user, a product, or everybody of some segments."""

    user: User | None = None
    product_id: str = ""
    relation: Relation = Relation.similar
    segments: Mapping[str, str] = field(default_factory=dict)

    @property
    def all_segments(self) -> Mapping[str, str]:
        """Those of the user, where it is one, else the request's."""
        return self.segments if self.user is None else self.user.segments
