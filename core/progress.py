"""How a long job reports progress, independent of how it is displayed."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

# Called with what is done so far and the total, or None while the total is unknown.
Report = Callable[[int, int | None], None]


class Steps(Protocol):
    """Opens one long step after another."""

    def step(self, name: str) -> AbstractContextManager[Report]:
        """A step in the words shown to the user; it ends with the block."""
        ...


class Silent:
    """Shows nothing."""

    def step(self, name: str) -> AbstractContextManager[Report]:
        """A report that goes nowhere."""
        return nullcontext(ignore)


def ignore(done: int, total: int | None) -> None:
    """A report that goes nowhere."""
