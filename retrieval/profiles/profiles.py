"""The stored profiles of shoppers, as the service uses them: by id, off the event loop."""

import asyncio
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from threading import Lock
from typing import TypeVar

from core.breaker import Breaker
from retrieval.profiles.keys import KEY_FILE, ShopperKey, read_key, read_or_make_key
from retrieval.profiles.protocol import ProfileError, ProfileStore
from retrieval.profiles.redis import RedisProfiles
from retrieval.profiles.settings import EMBEDDED, OFF, REDIS, ProfileSettings
from retrieval.profiles.sqlite import FILE, SqliteProfiles
from retrieval.recommend.behaviour import DAY
from retrieval.recommend.user import UserEvent

_EXPIRY_SECONDS = 3600.0
# A store that hangs keeps its threads busy, and no others: what else runs on threads goes on.
_THREADS, _FORGETTING = 8, 4
# Seconds without an answer after which the store counts as gone, and between two tries then.
_PATIENCE, _PAUSE = 0.6, 0.5
_GONE = "the store of profiles does not answer, and is tried again every half second"

_Result = TypeVar("_Result")


class Profiles:
    """For any number of tasks and threads. Nothing of a profile is kept in memory.

    Requests do not wait for a store that has stopped answering: they fail at once, until it answers again.
    """

    def __init__(
        self,
        open_store: Callable[[], tuple[ProfileStore, ShopperKey]],
        days: float = 90.0,
        most: int = 200,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """The store and its key are opened at first use, and tried again where that failed. `clock` returns seconds
        since 1970."""
        self._open_store = open_store
        self._opened: tuple[ProfileStore, ShopperKey] | None = None
        self._opening = Lock()
        self._seconds = days * DAY
        self._most = most
        self._clock = clock
        self._expired = 0.0
        self._breaker = Breaker(_PATIENCE, _PAUSE)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="profile")
        self._forgetting = ThreadPoolExecutor(_FORGETTING, thread_name_prefix="forget")

    async def read(self, catalog: str, user_id: str) -> list[UserEvent]:
        """The latest events of a shopper, the latest first. Raises ProfileError."""
        return await self._ask(partial(self.events, catalog, user_id))

    def events(self, catalog: str, user_id: str) -> list[UserEvent]:
        """The same, for threads."""
        store, key = self._open()
        self._expire(store)
        return store.read(key.hash(user_id), catalog, self._clock() - self._seconds)[: self._most]

    async def remember(self, catalog: str, user_id: str, events: Iterable[UserEvent]) -> None:
        """Adds what a shopper did; events without a time are of now. Raises ProfileError."""
        await self._ask(partial(self.add, catalog, user_id, list(events)))

    def add(self, catalog: str, user_id: str, events: Iterable[UserEvent]) -> None:
        """The same, for threads."""
        store, key = self._open()
        now = self._clock()
        since = now - self._seconds
        timed = [event if event.time is not None else replace(event, time=now) for event in events]
        kept = [event for event in timed if event.time is not None and event.time >= since]
        if kept:
            store.add(key.hash(user_id), catalog, kept, since, self._most)
        self._expire(store)

    def hash(self, user_id: str) -> bytes:
        """The keyed hash of a shopper's id. Raises ProfileError."""
        return self._open()[1].hash(user_id)

    async def forget(self, user_id: str) -> int:
        """Deletes a shopper's profiles, and lists the shopper as forgotten. Returns of how many catalogs there was one.
        Raises ProfileError."""
        return await asyncio.get_running_loop().run_in_executor(self._forgetting, self._forget, user_id)

    def forgotten(self) -> "Forgotten":
        """The shoppers to leave out of a training. Raises ProfileError."""
        store, key = self._open()
        return Forgotten(key, frozenset(store.forgotten()))

    def close(self) -> None:
        """Ends connections."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._forgetting.shutdown(wait=False)
        with self._opening:
            if self._opened is not None:
                self._opened[0].close()
            self._opened = None

    async def _ask(self, work: Callable[[], _Result]) -> _Result:
        """Runs this on a thread. Raises ProfileError, at the latest when patience ends."""
        if not self._breaker.admits():
            raise ProfileError(_GONE)

        def watched() -> _Result:
            with self._breaker.watching():
                return work()

        try:
            async with asyncio.timeout(_PATIENCE):
                return await asyncio.get_running_loop().run_in_executor(self._threads, watched)
        except TimeoutError:
            self._breaker.trip()
            raise ProfileError(_GONE) from None

    def _expire(self, store: ProfileStore) -> None:
        """Deletes, once an hour, what is old of shoppers who never come again."""
        now = self._clock()
        if now - self._expired > _EXPIRY_SECONDS:
            self._expired = now
            store.expire(now - self._seconds)

    def _forget(self, user_id: str) -> int:
        store, key = self._open()
        return store.forget(key.hash(user_id), self._clock())

    def _open(self) -> tuple[ProfileStore, ShopperKey]:
        with self._opening:
            if self._opened is None:
                self._opened = self._open_store()
            return self._opened


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Shoppers that are to be forgotten."""

    _key: ShopperKey
    _hashes: frozenset[bytes]

    def __len__(self) -> int:
        return len(self._hashes)

    def __contains__(self, user_id: str) -> bool:
        return bool(self._hashes) and self._key.hash(user_id) in self._hashes


def open_profiles(settings: ProfileSettings) -> Profiles | None:
    """The profiles that settings name, made at first use; None where they are off.

    Raises ProfileError for settings that cannot be used, MissingPackageError for a Redis without its package.
    """
    if settings.store == OFF:
        return None
    if settings.store == EMBEDDED:
        return Profiles(partial(_open_embedded, settings), settings.days, settings.most)
    if settings.store.startswith(REDIS):
        opened = RedisProfiles(settings.store), _shared_key(settings)
        return Profiles(lambda: opened, settings.days, settings.most)
    # An address may hold a password: it is not repeated.
    raise ProfileError(f"`profiles` is neither `{EMBEDDED}` nor `{OFF}`, nor an address as redis://HOST:PORT/0")


def _open_embedded(settings: ProfileSettings) -> tuple[ProfileStore, ShopperKey]:
    if settings.key:
        key = ShopperKey(settings.key.encode())
    else:
        key = read_or_make_key(settings.key_file or settings.folder / KEY_FILE)
    return SqliteProfiles(settings.folder / FILE), key


def _shared_key(settings: ProfileSettings) -> ShopperKey:
    """It has to be given, since each machine would make its own."""
    if settings.key:
        return ShopperKey(settings.key.encode())
    path = settings.key_file or settings.folder / KEY_FILE
    if not path.exists():
        raise ProfileError(
            f"{path}, the key of profiles, is not there: all machines that share profiles need the same, so put it "
            "there, or set TANDEM_SERVE_PROFILE_KEY"
        )
    return read_key(path)
