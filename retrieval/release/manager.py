"""Keeps the current release of every catalog loaded, and swaps in new ones while serving.

A process holds at most two releases of a catalog at once: the one in service and the one being loaded or drained.
"""

import asyncio
import logging
import time
import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import ReleaseError
from core.manifest import Manifest
from core.memory import collect_frozen, separate_blocks, trim_memory
from core.release import check_sizes
from core.releases import ReleaseStore
from core.strings import quoted
from engine.protocol import EngineError
from retrieval.live.threads import stay_behind
from retrieval.release.loaded import LoadedRelease, open_release
from retrieval.release.rules import RulesWatch
from retrieval.wire.violations import InvalidRequest, Violation

log = logging.getLogger("tandem.releases")

_UNREADABLE_POINTER = "the pointer"  # in place of a release's name, where it cannot be read
_CYCLE_SECONDS = 3.0  # a replaced release that no request uses is gone by then, unless a cycle keeps it
_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 60.0  # seconds between tries of a refused release, doubling

_MOST_NAMES = 10  # of catalogs, in an error

OpenRelease = Callable[[Path, Manifest], LoadedRelease]
# Called with catalog and release once it is warm; returns when it is to be swapped in.
SwapBarrier = Callable[[str, str], Awaitable[None]]


async def swap_at_once(catalog: str, release: str) -> None:
    """The barrier of a single process: it waits for no other."""


class UnknownCatalog(Exception):
    """The catalog of the request is not served here."""


class NotReady(Exception):
    """No release is loaded yet."""


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A release that failed, why, and when to try it again: the cause may be corrected, or may have passed."""

    release: str
    reason: str
    pause: float
    until: float


class ReleaseManager:
    """The loaded releases by catalog. For use from one event loop; loading happens on a thread."""

    def __init__(
        self,
        store: ReleaseStore,
        poll_seconds: float = 1.0,
        open: OpenRelease = open_release,
        clock: Callable[[], float] = time.monotonic,
        swap_barrier: SwapBarrier = swap_at_once,
        after_swap: Callable[[], None] = lambda: None,
        attach: Callable[[LoadedRelease, Path], None] = lambda release, folder: None,
    ) -> None:
        """`clock` returns seconds, for the pauses before a refused release is tried again. `attach` is called, on a
        thread, with a loaded release and its folder, and `after_swap` once a release is in service."""
        self._store = store
        self._poll_seconds = poll_seconds
        self._open = open
        self._swap_barrier = swap_barrier
        self._after_swap = after_swap
        self._attach = attach
        self._behind = ThreadPoolExecutor(1, thread_name_prefix="load", initializer=stay_behind)
        self._rules = RulesWatch(store, clock)
        self._loaded: dict[str, LoadedRelease] = {}
        self._clock = clock
        self._refused: dict[str, _Refusal] = {}
        self._unreadable: dict[str, str] = {}
        self._passed_over: dict[str, str] = {}
        self._changed: set[str] = set()
        self._replaced: list[tuple[weakref.ref[Any], float]] = []  # releases, parts of them, and since when

    @property
    def loaded(self) -> dict[str, LoadedRelease]:
        """The releases in service, by catalog."""
        return dict(self._loaded)

    @property
    def refusals(self) -> list[str]:
        """Which releases were refused, and why."""
        return [
            f"{refusal.release} was refused: {' '.join(refusal.reason.split())}" for refusal in self._refused.values()
        ]

    @property
    def refused_catalogs(self) -> set[str]:
        """Catalogs of which the published release was refused, or whose pointer cannot be read."""
        return {*self._refused, *self._unreadable}

    def get(self, catalog: str) -> LoadedRelease:
        """The release in service of the named catalog, or of the only one for an empty name.

        Raises NotReady, UnknownCatalog, or InvalidRequest when the name is needed and missing.
        """
        if not self._loaded:
            raise NotReady
        if catalog:
            if catalog not in self._loaded:
                raise UnknownCatalog(f"catalog {quoted(catalog)} is not served here; there is {self._names()}")
            return self._loaded[catalog]
        if len(self._loaded) > 1:
            raise InvalidRequest([Violation("catalog", f"is needed, since several are served: {self._names()}")])
        return next(iter(self._loaded.values()))

    def _names(self) -> str:
        """The catalogs in service, as many as a message has room for."""
        names = sorted(self._loaded)
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        return ", ".join(names[:_MOST_NAMES]) + more

    async def refresh(self) -> None:
        """Loads, warms and swaps in what the pointers name, and takes up the rules that are published.

        A release that fails is refused and tried again after ever longer pauses; a reason is logged once. Where nothing
        is served, the last whole release that was served before stands in for it.
        """
        for catalog in self._store.catalogs():
            await self._refresh(catalog)
            if (served := self._loaded.get(catalog)) is not None:
                await self._rules.refresh(catalog, served)

    async def _refresh(self, catalog: str) -> None:
        wanted = self._wanted(catalog) or _UNREADABLE_POINTER
        served = self._loaded.get(catalog)
        if served is not None and served.release_id == wanted:
            self._refused.pop(catalog, None)
            await self._check(catalog, served)
            return
        if self._pauses(catalog, wanted) or (served is not None and wanted == _UNREADABLE_POINTER):
            if served is not None:
                await self._check(catalog, served)
            return
        try:
            if wanted == _UNREADABLE_POINTER:
                raise ReleaseError(self._unreadable.get(catalog, "it is gone"))
            fresh = await self._ready(catalog, wanted)
        except Exception as error:
            # whatever is wrong with it, the release in service stays, and other catalogs get their turn
            self._refuse(catalog, wanted, str(error))
            if served is None and not isinstance(error, EngineError):
                await self._stand_in(catalog, wanted)
        else:
            self._swap(catalog, fresh)
            self._refused.pop(catalog, None)

    async def watch(self) -> None:
        """Refreshes for ever, once a poll interval, whatever goes wrong; a reason is logged once."""
        before = ""
        while True:
            await asyncio.sleep(self._poll_seconds)
            try:
                await self.refresh()
                before = ""
            except Exception as error:
                if before != (before := f"{type(error).__name__}: {error}"):
                    log.error("the releases cannot be read: %s", before)
            self._return_memory()

    def close(self) -> None:
        """Retires every release; each closes once its requests are done."""
        self._behind.shutdown(wait=False)
        for release in self._loaded.values():
            release.retire()
        self._loaded.clear()

    def _wanted(self, catalog: str) -> str | None:
        """The release that the catalog's pointer names; None where it cannot be read, which no other catalog minds."""
        try:
            wanted = self._store.current(catalog)
        except (OSError, ValueError, ReleaseError) as error:
            reason = f"{type(error).__name__}: {error}"
            if self._unreadable.get(catalog) != reason:
                log.error("catalog %s: its pointer cannot be read, what is served stays: %s", catalog, reason)
            self._unreadable[catalog] = reason
            return None
        self._unreadable.pop(catalog, None)
        return wanted

    def _return_memory(self) -> None:
        """Has the allocator give back what replaced releases took, once all of them are gone. One that no request uses
        and that is there all the same is part of a cycle, which nobody frees among frozen objects."""
        alive = [(known, since) for known, since in self._replaced if known() is not None]
        if len(alive) < len(self._replaced):
            trim_memory()
        now = self._clock()
        waits = any(now - since > _CYCLE_SECONDS and not _in_use(known()) for known, since in alive)
        self._replaced = [(known, now) for known, _ in alive] if waits else alive
        if waits:
            collect_frozen()

    def _pauses(self, catalog: str, wanted: str) -> bool:
        refusal = self._refused.get(catalog)
        return refusal is not None and refusal.release == wanted and self._clock() < refusal.until

    def _refuse(self, catalog: str, release: str, reason: str) -> None:
        before = self._refused.get(catalog)
        if before is not None and before.release != release:
            before = None
        pause = min(before.pause * 2, _LONGEST_PAUSE) if before else _FIRST_PAUSE
        self._refused[catalog] = _Refusal(release, reason, pause, self._clock() + pause)
        if before and before.reason == reason:
            return
        served = self._loaded.get(catalog)
        consequence = f"{served.release_id} stays" if served else "nothing is served"
        log.error("catalog %s: release %s refused, %s: %s", catalog, release, consequence, reason)

    async def _ready(self, catalog: str, release: str) -> LoadedRelease:
        """The release, loaded and warm, once it is to be swapped in."""
        with separate_blocks():
            loop = asyncio.get_running_loop()
            # The first one is waited for; later ones leave the cores to searches.
            fresh = await loop.run_in_executor(self._behind if self._loaded else None, self._load, catalog, release)
            try:
                await asyncio.to_thread(self._attach, fresh, self._store.path(catalog, release))
                await self._rules.refresh(catalog, fresh)
                await fresh.warm()
                await self._swap_barrier(catalog, release)
            except BaseException:
                fresh.retire()
                raise
        return fresh

    async def _stand_in(self, catalog: str, wanted: str) -> None:
        """Serves the last whole release before one that cannot be served, which is tried again all the same."""
        for release in await asyncio.to_thread(self._store.earlier, catalog):
            try:
                fresh = await self._ready(catalog, release)
            except Exception as error:
                if self._passed_over.get(release) != str(error):
                    log.error("catalog %s: release %s is passed over: %s", catalog, release, error)
                self._passed_over[release] = str(error)
                continue
            self._swap(catalog, fresh)
            message = "catalog %s: release %s, which was served before, stands in for %s until that is whole"
            log.error(message, catalog, release, wanted)
            return

    async def _check(self, catalog: str, served: LoadedRelease) -> None:
        """Reports once that a file of the release in service was cut short, or is gone: reading what was cut off ends
        this process by a bus error, and a release that is incomplete cannot be loaded again."""
        if catalog in self._changed:
            return
        try:
            await asyncio.to_thread(check_sizes, self._store.path(catalog, served.release_id), served.manifest)
        except ReleaseError as error:
            self._changed.add(catalog)
            log.error("catalog %s: files in service changed on disk, this process may end by it: %s", catalog, error)

    def _load(self, catalog: str, release: str) -> LoadedRelease:
        return self._open(self._store.path(catalog, release), self._store.verify(catalog, release))

    def _swap(self, catalog: str, fresh: LoadedRelease) -> None:
        old = self._loaded.get(catalog)
        self._loaded[catalog] = fresh
        self._changed.discard(catalog)
        log.info("catalog %s: release %s in service, %d products", catalog, fresh.release_id, fresh.products)
        if old is not None:
            words = getattr(old.words, "index", None)  # fresh segments tie it into cycles of their own
            now = self._clock()
            self._replaced += [(weakref.ref(part), now) for part in (old, words) if part is not None]
            old.retire()
        self._after_swap()


def _in_use(part: object) -> bool:
    return isinstance(part, LoadedRelease) and part.in_use
