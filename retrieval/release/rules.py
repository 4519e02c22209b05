"""Takes up a catalog's rules as they are published, without touching the release that is served."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from catalog.masks import check_filter
from core.errors import ReleaseError, RulesError
from core.filter_text import parse_filter
from core.filters import Filter
from core.pointer import PointerContent
from core.releases import ReleaseStore
from core.rule_store import RuleStore
from core.rules import RulesFile
from retrieval.release.loaded import LoadedRelease
from retrieval.rules.ruleset import NO_RULES, RuleSet

log = logging.getLogger("tandem.rules")
_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 60.0  # seconds between tries of a refused version, doubling


@dataclass(slots=True)
class _RulesState:
    """What was tried for one release: the version that was refused, when it is tried again, and what was logged."""

    release_id: str = ""
    refused: str = ""
    pause: float = 0.0
    until: float = 0.0
    logged: str = ""


def prepare_rules(rules: RulesFile, release: LoadedRelease, name: str = "") -> RuleSet:
    """The rules ready for a release, by the name of their version. Rules whose filters its columns do not fit are left
    out; see `RuleSet.left_out`."""

    def read_filter(text: str) -> Filter:
        filter = parse_filter(text)
        check_filter(filter, release.view.field_kinds)
        return filter

    return RuleSet(rules, release.manifest.language, read_filter, name)


class RulesWatch:
    """Gives releases in service the rules that are published. For one event loop; rules are read on a thread."""

    def __init__(self, store: ReleaseStore, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` returns seconds, for the pauses before a refused version is tried again."""
        self._store = store
        self._clock = clock
        self._watched: dict[str, _RulesState] = {}

    async def refresh(self, catalog: str, release: LoadedRelease) -> None:
        """Gives the release the rules that the pointer names, if it has others.

        Rules that cannot be used leave those in service; a reason is logged once, and they are tried again after ever
        longer pauses. Where there are none in service, the last whole ones before stand in.
        """
        watched = self._watched.setdefault(catalog, _RulesState())
        if watched.release_id != release.release_id:  # another release: rules are made anew, for its columns
            watched = self._watched[catalog] = _RulesState(release.release_id, logged=watched.logged)
        try:
            await self._refresh(RuleStore(self._store, catalog), release, watched)
        except Exception as error:  # whatever it is, the rules in service stay
            self._refuse(catalog, release, watched, f"{error}")

    async def _refresh(self, store: RuleStore, release: LoadedRelease, watched: _RulesState) -> None:
        trail = store.trail()
        if not trail:
            if release.rules.name:
                log.info("catalog %s: no rules are published any more", store.catalog)
                release.rules = NO_RULES
            return
        if trail[0].release == release.rules.name:
            watched.refused = ""
            return
        if watched.refused == trail[0].release and self._clock() < watched.until:
            return
        try:
            self._put(store, release, await asyncio.to_thread(_load, store, trail[0], release))
            watched.refused, watched.logged = "", ""
        except (RulesError, ReleaseError) as error:
            again = watched.refused == trail[0].release
            watched.refused = trail[0].release
            watched.pause = min(2 * watched.pause, _LONGEST_PAUSE) if again else _FIRST_PAUSE
            watched.until = self._clock() + watched.pause
            self._refuse(store.catalog, release, watched, str(error))
            if not release.rules.name:
                await self._stand_in(store, release, trail[1:])

    async def _stand_in(self, store: RuleStore, release: LoadedRelease, earlier: tuple[PointerContent, ...]) -> None:
        for entry in earlier:
            try:
                rules = await asyncio.to_thread(_load, store, entry, release)
            except (RulesError, ReleaseError) as error:
                log.error("catalog %s: rules %s are passed over: %s", store.catalog, entry.release, error)
                continue
            self._put(store, release, rules)
            return

    def _put(self, store: RuleStore, release: LoadedRelease, rules: RuleSet) -> None:
        release.rules = rules
        log.info("catalog %s: rules %s in service, %d of them", store.catalog, rules.name, len(rules))
        for rule_id, reason in rules.left_out.items():
            log.warning("catalog %s: rule %s is left out: %s", store.catalog, rule_id, reason)

    def _refuse(self, catalog: str, release: LoadedRelease, watched: _RulesState, reason: str) -> None:
        if watched.logged == reason:
            return
        watched.logged = reason
        log.error("catalog %s: rules refused, %s: %s", catalog, _consequence(release), reason)


def _load(store: RuleStore, entry: PointerContent, release: LoadedRelease) -> RuleSet:
    return prepare_rules(store.read(entry.release, entry.sha256), release, entry.release)


def _consequence(release: LoadedRelease) -> str:
    return f"{release.rules.name} stay" if release.rules.name else "there are none in service"
