"""Who calls."""

from dataclasses import dataclass, field
from enum import IntEnum


class Priority(IntEnum):
    """Which calls are refused first where there is no room for all: the greater."""

    INTERACTIVE = 0
    BATCH = 1


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the name of its credential, its tenant, and what it may do.

    Empty names stand for callers that nobody identified. `scopes` and `catalogs` are None where all are allowed.
    `until` is when the credential expires, in seconds since 1970; `listed` states that the file of keys names it.
    """

    name: str = ""
    tenant: str = ""
    scopes: frozenset[str] | None = None
    catalogs: frozenset[str] | None = None
    priority: Priority = Priority.INTERACTIVE
    until: float = field(default=float("inf"), compare=False)
    listed: bool = field(default=False, compare=False)

    def may_use(self, catalog: str) -> bool:
        """Whether it may use a catalog."""
        return self.catalogs is None or catalog in self.catalogs


ANYONE = Caller()
