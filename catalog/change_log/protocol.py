"""What every change log of a catalog does. Calls block: they are for threads, and any number may call at once."""

from collections.abc import Sequence
from typing import Protocol

from catalog.changes import Entry, NewEntry
from core.errors import ChangeLogError


class ChangeLog(Protocol):
    """The entries of one catalog, numbered 1, 2, 3 and so on over its whole life."""

    @property
    def id(self) -> str:
        """Names the log, and no other that took its place; empty before its first entry."""
        ...

    def append(self, entries: Sequence[NewEntry]) -> list[Entry]:
        """Numbers the entries in their order, one behind the other; when it returns they outlast a crash.

        Callers at the same time share the cost. Raises ChangeLogError, whose text states whether the log may have them.
        """
        ...

    def read(self, after: int, most: int = 1000) -> list[Entry]:
        """The entries behind revision `after`, at most `most`, fewer where they are large; none behind the last.

        Raises EntriesDropped where the next one was dropped, ChangeLogError for a damaged log and for one that ends
        before `after`.
        """
        ...

    def bounds(self) -> tuple[int, int]:
        """The revisions of the first entry that is kept and of the last; (last + 1, last) where none is kept."""
        ...

    def wait(self, after: int, seconds: float) -> bool:
        """Waits until there is an entry behind `after`. Returns False on time-out and when the log was closed."""
        ...

    def drop(self, through: int) -> None:
        """Drops entries through that revision, or some fewer."""
        ...

    def close(self) -> None:
        """Ends all waiting. Nothing may be called afterwards."""
        ...


def ends_early(log: str, last: int, after: int) -> ChangeLogError:
    """The error for a log that ends before a revision that was read from it."""
    return ChangeLogError(
        f"{log} ends at revision {last:,}, before {after:,}, which was read from it: it was put back or replaced; "
        "start the service again"
    )
