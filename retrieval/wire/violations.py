"""What is wrong with a request: the fields at fault, by their paths, and what to do about each."""

from collections.abc import Sequence
from dataclasses import dataclass

_MOST_VIOLATIONS, _MOST_IN_MESSAGE = 10, 4


@dataclass(frozen=True, slots=True)
class Violation:
    """One field at fault and what to do about it."""

    field: str
    description: str


class InvalidRequest(Exception):
    """The request cannot be answered as it stands.

    `violations` are the first ten faults; the message names the first few of them.
    """

    def __init__(self, violations: Sequence[Violation]) -> None:
        named = [f"{v.field}: {v.description}" for v in violations[:_MOST_IN_MESSAGE]]
        more = [f"and {len(violations) - len(named)} more"] if len(violations) > len(named) else []
        super().__init__("; ".join(named + more))
        self.violations = list(violations[:_MOST_VIOLATIONS])
