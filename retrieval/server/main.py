"""Runs the service on a port: health, reflection, release watching, and a clean end."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from core.address import UNIX, is_local
from core.audit import AuditLog
from core.errors import TandemError
from core.memory import freeze_objects
from core.releases import ReleaseStore
from core.signatures import VerifyingKeys
from engine.cache import Caches
from engine.vector.index import use_one_thread
from retrieval.live.catalogs import LiveCatalogs
from retrieval.processes.port import check_free, refused
from retrieval.profiles.profiles import Profiles, open_profiles
from retrieval.release.engines import engine_maker
from retrieval.release.loaded import open_release
from retrieval.release.manager import ReleaseManager, SwapBarrier, swap_at_once
from retrieval.server.admission import Admission
from retrieval.server.batch import BatchSearch
from retrieval.server.bulk import BulkQueue
from retrieval.server.call_server import CallServer
from retrieval.server.catalog_service import CATALOG_SERVICE, CHANGE_METHODS, MOST_CHANGE_BYTES, CatalogService
from retrieval.server.deadlines import Deadlines
from retrieval.server.exposure import check_exposure
from retrieval.server.health import HEALTH, Health
from retrieval.server.identity.settings import Identity, open_identity
from retrieval.server.identity.tls import ServerTls
from retrieval.server.probes import probe_port
from retrieval.server.recommend import (
    RECOMMEND_METHODS,
    RECOMMEND_SERVICE,
    RECOMMEND_SHORT_METHODS,
    RecommendService,
)
from retrieval.server.reflection import REFLECTIONS, Reflection
from retrieval.server.service import METHODS, SERVICE, SHORT_METHODS, SearchService
from retrieval.server.settings import ServeSettings
from retrieval.telemetry.gauges import read_certificate
from retrieval.telemetry.telemetry import Publish, Telemetry, open_telemetry

log = logging.getLogger("tandem.server")

_SERVICES = (SERVICE, RECOMMEND_SERVICE, CATALOG_SERVICE)
# Seconds between health's turn and the end of new calls: clients that watch health go elsewhere meanwhile.
_NOTICE = 0.1
_STREAMS = 100  # of a connection at once, at least
# Calls that gRPC has received and its thread has not taken yet; beyond this it drops some of any caller's.
_PENDING = 10_000
_SHORT_CALLS = 32  # places of short methods
_FORGETTING = 4  # shoppers who are forgotten at a time: each writes to disk
_CHANGES = 64  # places of changes, which mostly wait for the disk
_PING_MILLISECONDS = 1000  # clients that ping more often than that are sent away
_CONNECTION_GRACE = 60 * 1000  # milliseconds for calls on a connection that is too old


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that accepts calls."""

    address: str
    manager: ReleaseManager
    caches: Caches
    health_address: str | None = None
    tls: ServerTls | None = None


@asynccontextmanager
async def run_server(
    settings: ServeSettings,
    manager: ReleaseManager | None = None,
    swap_barrier: SwapBarrier = swap_at_once,
    after_swap: Callable[[], None] = lambda: None,
    publish: Publish | None = None,
) -> AsyncIterator[RunningServer]:
    """Serves while the block runs, then drains: health turns, new calls are refused, calls in flight end.

    `swap_barrier` is awaited before a loaded release is swapped in, and `after_swap` called afterwards (see
    `ReleaseManager`). `publish` takes the gauges of one of several processes; one alone serves its metrics itself.
    Raises TandemError when a port is taken, no release can be served, a library is missing, or profiles cannot be kept
    as set.
    """
    check_exposure(settings)
    use_one_thread()  # the loop looks up a few vectors itself; helpers would spin for them while others need the cores
    profiles = open_profiles(settings.profile_settings)
    telemetry = open_telemetry(settings, profiles)
    caches = Caches.with_limits(settings.query_cache_bytes, settings.candidate_cache_bytes, settings.score_cache_bytes)
    keys = VerifyingKeys(settings.verify_key) if settings.verify_key else None
    store = ReleaseStore(settings.releases, verifying_keys=keys)
    live = LiveCatalogs(store, settings.change_log, settings.max_fresh)
    open_one = partial(open_release, make_engine=engine_maker(settings, telemetry.note_batch), caches=caches)
    manager = manager or ReleaseManager(
        store,
        settings.poll_seconds,
        open_one,
        swap_barrier=swap_barrier,
        after_swap=after_swap,
        attach=live.attach,
    )
    await manager.refresh()
    if not manager.loaded:
        why = "; ".join(manager.refusals) or "make one with `tandem index`"
        raise TandemError(f"no release can be served from {settings.releases}: {why}")
    draining = asyncio.Event()
    admission = _admission(settings, manager)
    queue = BulkQueue(admission)
    async with AsyncExitStack() as probes:
        identity = probes.enter_context(open_identity(settings))
        server, address = _server(settings, manager, draining, profiles, identity, admission, queue, telemetry)
        probed = await probes.enter_async_context(
            probe_port(settings.health_address, _SERVICES, draining, settings.processes > 1)
        )
        if identity.tls is not None:
            telemetry.add_gauges(read_certificate(identity.tls))
        watching = telemetry.watch(settings, manager, caches, admission, lambda: queue.waiting, publish)
        await probes.enter_async_context(watching)
        await server.start()
        watch = asyncio.create_task(manager.watch())
        try:
            yield RunningServer(address, manager, caches, probed, identity.tls)
        finally:
            watch.cancel()
            [ended] = await asyncio.gather(watch, return_exceptions=True)
            if not isinstance(ended, asyncio.CancelledError):
                log.error("watching for new releases had ended: %r", ended)
            draining.set()
            await asyncio.sleep(_NOTICE)
            await server.stop(settings.grace_seconds)
            await probes.aclose()
            manager.close()
            if profiles is not None:
                profiles.close()
            live.close()
            telemetry.close()
            log.info("caches: %s", caches)


async def serve(
    settings: ServeSettings,
    ready: Callable[[RunningServer], None] = lambda _: None,
    swap_barrier: SwapBarrier = swap_at_once,
    publish: Publish | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT, then drains. `ready` is called with the server once calls are accepted; see
    `run_server` for the others."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, stop.set)
    async with run_server(settings, swap_barrier=swap_barrier, after_swap=freeze_objects, publish=publish) as server:
        ready(server)
        await stop.wait()
        log.info("draining")


def _options(settings: ServeSettings) -> list[tuple[str, int]]:
    return [
        # Of one process: a port already taken is an error, not a second server behind it.
        ("grpc.so_reuseport", int(settings.processes > 1)),
        # Larger requests than are read, so that they are refused as bad input, in words of our own.
        ("grpc.max_receive_message_length", 4 * MOST_CHANGE_BYTES),
        # One connection fills no queue in which others' calls are dropped, not even by calls that it resets at once:
        # each answer to a reset waits for a ping, and until then the stream counts.
        ("grpc.max_concurrent_streams", max(_STREAMS, settings.places)),
        ("grpc.http.overload_protection", 1),
        ("grpc.http2.ping_on_rst_stream_percent", 100),
        ("grpc.server.max_pending_requests", _PENDING),
        ("grpc.server.max_pending_requests_hard_limit", 2 * _PENDING),
        # Gateways and load balancers look every few seconds whether a connection lives, with or without calls on it.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", _PING_MILLISECONDS),
        # Long-lived gateways spread out again after a scale-up, and over the processes.
        ("grpc.max_connection_age_ms", int(settings.connection_age * 1000)),
        ("grpc.max_connection_age_grace_ms", _CONNECTION_GRACE),
    ]


def _admission(settings: ServeSettings, manager: ReleaseManager) -> Admission:
    # The slowest of the releases in service: callers that are refused before any request was answered wait so long.
    seconds = max(release.warm_seconds for release in manager.loaded.values())
    return Admission(settings.places, seconds, floor=settings.least_places, objective=settings.latency_objective)


def _server(
    settings: ServeSettings,
    manager: ReleaseManager,
    draining: asyncio.Event,
    profiles: Profiles | None,
    identity: Identity,
    admission: Admission,
    queue: BulkQueue,
    telemetry: Telemetry,
) -> tuple[CallServer, str]:
    admissions = {
        admission: (*METHODS, *RECOMMEND_METHODS),
        Admission(_SHORT_CALLS): SHORT_METHODS,
        Admission(_FORGETTING): RECOMMEND_SHORT_METHODS,
        Admission(_CHANGES): CHANGE_METHODS,
    }
    server = CallServer(admissions, _options(settings), settings.sending_seconds, identity.gate, telemetry)
    deadlines = Deadlines(settings.default_deadline, settings.longest_deadline)
    service = SearchService(manager, settings.plan, deadlines, profiles, telemetry)
    audit = AuditLog(settings.audit_file)
    recommending = RecommendService(manager, settings.plan, deadlines, profiles, audit, telemetry)
    changing = CatalogService(manager, deadlines, draining, telemetry)
    batch = BatchSearch(service.answer, queue, settings.longest_deadline, draining)
    reflection = Reflection([*_SERVICES, HEALTH, *REFLECTIONS], draining)
    searching = (service.handlers(), batch.handlers(), recommending.handlers())
    reflects = is_local(settings.address) if settings.reflection is None else settings.reflection
    reflecting = reflection.handlers() if reflects else ()
    handlers = (*searching, changing.handlers(), Health(_SERVICES, draining).handlers(), *reflecting)
    server.add_generic_rpc_handlers(handlers)
    return server, _bind(server, settings.address, identity.tls)


def _bind(server: CallServer, address: str, tls: ServerTls | None) -> str:
    """The address with its port, which is chosen where it is 0. Raises TandemError when it cannot be listened on."""
    if address.startswith(UNIX):
        check_free(Path(address.removeprefix(UNIX)))
    try:
        port = server.add_insecure_port(address) if tls is None else server.add_secure_port(address, tls.credentials())
    except RuntimeError:
        port = 0
    if not port:
        raise refused(address)
    return address if address.startswith(UNIX) else f"{address.rpartition(':')[0]}:{port}"
