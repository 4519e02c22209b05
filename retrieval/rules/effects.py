"""What the rules that match a request do to its answer."""

from dataclasses import dataclass
from typing import NamedTuple

from core.filters import Filter


class Pin(NamedTuple):
    """A product and its place in the answer, from 1."""

    place: int
    product_id: str
    rule_id: str


class Bury(NamedTuple):
    """Products that come last: those of these ids, and those that pass the filter, where there is one."""

    rule_id: str
    product_ids: frozenset[str]
    filter: Filter | None


class Boost(NamedTuple):
    """Products, as of `Bury`, whose standing is multiplied by the factor."""

    rule_id: str
    product_ids: frozenset[str]
    filter: Filter | None
    factor: float


class RuleReport(NamedTuple):
    """One effect for the answer; `action` is pin, bury, boost, filter, rewrite or redirect."""

    rule_id: str
    action: str
    detail: str


@dataclass(frozen=True, slots=True)
class RuleEffects:
    """All effects on one request, in the order of the rules.

    No two pins have the same place or product, and no pinned product is buried by its id. `digest` is that of the rules
    that match, as they are written, empty where none does: equal digests have equal effects.
    """

    pins: tuple[Pin, ...] = ()
    buried: tuple[Bury, ...] = ()
    boosts: tuple[Boost, ...] = ()
    filter: Filter | None = None
    rewrite: str | None = None
    redirect: str = ""
    reports: tuple[RuleReport, ...] = ()
    digest: str = ""

    def __bool__(self) -> bool:
        return bool(self.digest)


NO_EFFECTS = RuleEffects()
