"""What every store of profiles offers, wherever it keeps them."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from core.errors import TandemError
from retrieval.recommend.user import UserEvent


class ProfileError(TandemError):
    """The store of profiles cannot be used, or did not do what was asked; the message names no shopper."""


class ProfileStore(Protocol):
    """Profiles by shopper, a keyed hash of 32 bytes, and catalog. Calls block; they are for any number of threads, and
    any number of processes use one store. All raise ProfileError.
    """

    def read(self, shopper: bytes, catalog: str, since: float) -> list[UserEvent]:
        """The events of a profile from a time on, in seconds since 1970, the latest first; none of an unknown one."""
        ...

    def add(self, shopper: bytes, catalog: str, events: Sequence[UserEvent], since: float, most: int) -> None:
        """Adds events, which have times, to a profile, and keeps its latest `most` from a time on. What is there
        already is not added twice."""
        ...

    def forget(self, shopper: bytes, now: float) -> int:
        """Deletes the profile in every catalog, and notes the hash in the list of the forgotten. When it returns,
        that is as durable as the store is, and nothing of the profile is left in it. Returns how many catalogs had a
        profile."""
        ...

    def forgotten(self) -> Iterable[bytes]:
        """The hashes of the shoppers to forget."""
        ...

    def expire(self, before: float) -> int:
        """Deletes all events before a time, in seconds since 1970. Returns how many; what is left out of it has a
        retention of its own."""
        ...

    def close(self) -> None:
        """Ends connections."""
        ...
