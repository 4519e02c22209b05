"""The gauges of a serving process: what it holds, how full it is, what it serves."""

import time
from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

from core.errors import ChangeLogError
from engine.cache import Caches
from retrieval.release.loaded import LoadedRelease
from retrieval.release.manager import ReleaseManager
from retrieval.server.admission import Admission
from retrieval.telemetry.state import State, put


@runtime_checkable
class Watched(Protocol):
    """An engine that knows when it answers nothing."""

    @property
    def trouble(self) -> str | None:
        """Why it answers nothing; None while it answers."""
        ...


def read_admission(admission: Admission, waiting: Callable[[], int]) -> Callable[[State], None]:
    """How many calls are at work; `waiting` is how many searches of batches wait for a place."""

    def read(state: State) -> None:
        put(state, "tandem_in_flight", admission.in_flight, "interactive")
        put(state, "tandem_in_flight", admission.bulk, "batch")
        put(state, "tandem_in_flight_limit", admission.limit)
        put(state, "tandem_pressure", admission.pressure)
        put(state, "tandem_bulk_waiting", waiting())

    return read


class Certificate(Protocol):
    """A certificate that may be replaced while it serves."""

    @property
    def expires(self) -> float:
        """When it expires, in seconds since 1970."""
        ...


def read_certificate(certificate: Certificate) -> Callable[[State], None]:
    """When the certificate in use expires."""

    def read(state: State) -> None:
        put(state, "tandem_certificate_expiry_timestamp_seconds", certificate.expires)

    return read


def read_caches(caches: Caches) -> Callable[[State], None]:
    """Memory in use by the caches."""

    def read(state: State) -> None:
        for name, cache in (("vectors", caches.vectors), ("candidates", caches.candidates), ("scores", caches.scores)):
            put(state, "tandem_cache_bytes", cache.size, name)

    return read


def read_releases(
    manager: ReleaseManager, logs: Mapping[str, int], max_fresh: int, clock: Callable[[], float] = time.monotonic
) -> Callable[[State], None]:
    """The releases in service and their changes. `logs` has the last revision of each catalog's log, as it was read
    last; `clock` returns seconds."""
    behind: dict[str, tuple[int, float]] = {}

    def lag(catalog: str, visible: int) -> float:
        """For how long the log has had a revision that is not served."""
        last = logs.get(catalog, 0)
        missing, since = behind.get(catalog, (0, 0.0))
        if last <= visible:
            behind.pop(catalog, None)
            return 0.0
        if visible >= missing:  # that one is served by now, a later one is not
            missing, since = behind[catalog] = last, clock()
        return clock() - since

    def read(state: State) -> None:
        put(state, "tandem_fresh_products_limit", max_fresh)
        refused = manager.refused_catalogs
        for catalog, release in manager.loaded.items():
            view = release.view
            put(state, "tandem_release_info", 1, catalog, release.release_id)
            put(state, "tandem_release_timestamp_seconds", release.manifest.created.timestamp(), catalog)
            put(state, "tandem_release_products", len(view), catalog)
            put(state, "tandem_revision", view.revision, catalog)
            put(state, "tandem_engine_up", not _in_trouble(release), catalog)
            put(state, "tandem_release_refused", catalog in refused, catalog)
            if release.live is not None:
                put(state, "tandem_fresh_products", release.live.overlay.fresh, catalog)
                put(state, "tandem_revision_lag_seconds", lag(catalog, release.live.overlay.revision), catalog)
        for catalog in refused - manager.loaded.keys():
            put(state, "tandem_release_refused", 1, catalog)

    return read


def last_revisions(manager: ReleaseManager) -> dict[str, int]:
    """The last revision of each catalog's log. Blocks: it is for threads. A log that cannot be read is left out."""
    last = {}
    for catalog, release in manager.loaded.items():
        if release.live is not None:
            try:
                last[catalog] = release.live.entries.bounds()[1]
            except ChangeLogError:
                continue
    return last


def _in_trouble(release: LoadedRelease) -> bool:
    return isinstance(release.engine, Watched) and release.engine.trouble is not None
