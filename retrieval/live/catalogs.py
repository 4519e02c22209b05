"""The change logs of a process, one a catalog, and what follows them over the releases that are in service."""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from catalog.change_log.open import CHANGES_FOLDER, open_change_log
from catalog.change_log.protocol import ChangeLog
from catalog.version_file import open_rules
from core.errors import ChangeLogError, ReleaseError
from core.releases import ReleaseStore
from retrieval.live.embedding import ItemModels
from retrieval.live.fresh import FreshSegments
from retrieval.live.overlay import Overlay
from retrieval.live.rows import ChangeCleaner
from retrieval.live.segments import SegmentStack
from retrieval.live.state import LiveState, Models
from retrieval.live.writer import ChangeWriter
from retrieval.release.loaded import LoadedRelease

log = logging.getLogger("tandem.live")

# A log that hangs keeps these threads busy, and no others.
_LOOKING = ThreadPoolExecutor(4, thread_name_prefix="log")


@dataclass(frozen=True, slots=True)
class LiveRelease:
    """What keeps a release's catalog up to date, and what changes it."""

    overlay: Overlay
    writer: ChangeWriter
    cleaner: ChangeCleaner
    entries: ChangeLog

    async def knows(self, revision: int) -> bool:
        """Whether the log has this revision, so that searches here will see it soon."""
        try:
            loop = asyncio.get_running_loop()
            return (await loop.run_in_executor(_LOOKING, self.entries.bounds))[1] >= revision
        except ChangeLogError:
            return False

    def close(self) -> None:
        """Ends both."""
        self.overlay.close()
        self.writer.close()


class LiveCatalogs:
    """See the module. For any number of threads."""

    def __init__(self, store: ReleaseStore, change_log: str = "", most_fresh: int = 100_000) -> None:
        """`change_log` is the address of a Redis server, or empty for files beside the releases."""
        self._store = store
        self._address = change_log
        self._most_fresh = most_fresh
        self._lock = threading.Lock()
        self._logs: dict[str, ChangeLog] = {}

    def attach(self, release: LoadedRelease, folder: Path) -> None:
        """Brings a release, of this folder, up to date and has it follow its catalog's changes until it closes.

        Raises ReleaseError where the changes since it was made cannot be read.
        """
        catalog = release.manifest.catalog
        entries = self._log(catalog, release.release_id)
        models = ItemModels(release.tower, release.ranker)

        def publish(view: object) -> None:
            release.view = view  # type: ignore[assignment]

        make_state = state_maker(release, folder, models, _folded(release, entries))
        overlay = Overlay(make_state, entries, f"release {release.release_id}", publish)
        try:
            overlay.catch_up()
        except BaseException:
            overlay.close()
            raise
        writer = ChangeWriter(overlay, entries, models, self._most_fresh)
        release.live = LiveRelease(overlay, writer, ChangeCleaner(release.manifest), entries)
        overlay.start()

    def close(self) -> None:
        """Closes the logs, once no release follows them."""
        with self._lock:
            logs, self._logs = self._logs, {}
        for entries in logs.values():
            entries.close()

    def _log(self, catalog: str, release_id: str) -> ChangeLog:
        with self._lock:
            if catalog not in self._logs:
                try:
                    self._logs[catalog] = open_change_log(
                        self._address, self._store.folder(catalog) / CHANGES_FOLDER, catalog
                    )
                except ChangeLogError as error:
                    raise ReleaseError(f"release {release_id}: its catalog's change log: {error}") from None
            return self._logs[catalog]


def state_maker(release: LoadedRelease, folder: Path, models: Models, revision: int) -> Callable[[], LiveState]:
    """What makes the state of a release without changes. `folder` is the release's; its base has the entries through
    the revision."""
    base, words = release.view.base, release.words
    fresh = FreshSegments(base, release.manifest, None if words is None else words.index)

    def make() -> LiveState:
        return LiveState(SegmentStack(base, fresh), base.table.find, models, open_rules(folder), revision)

    return make


def _folded(release: LoadedRelease, entries: ChangeLog) -> int:
    """The revision through which the release's base has the changes of this log; 0 where its changes are of another."""
    changes = release.manifest.snapshot.changes
    if changes is None or not changes.log:
        return 0
    if changes.log == entries.id:
        return int(changes.revision)
    log.error(
        "release %s: the change log that it was made with is gone: what it holds is served, later changes are lost",
        release.release_id,
    )
    return 0
