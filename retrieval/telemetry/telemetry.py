"""What the service reports to while it serves, and what comes of it by the settings: counts, traces, lines, probes."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, cast

import grpc

from engine.cache import Caches
from engine.spans import spans_now
from retrieval.live.writer import Written
from retrieval.profiles.profiles import Profiles
from retrieval.release.manager import ReleaseManager
from retrieval.server.admission import Admission
from retrieval.server.caller import Caller
from retrieval.server.observer import Trace
from retrieval.server.settings import ServeSettings
from retrieval.telemetry.answered import Answered
from retrieval.telemetry.drift import ScoreDrift
from retrieval.telemetry.gauges import last_revisions, read_admission, read_caches, read_releases
from retrieval.telemetry.optional import load_for
from retrieval.telemetry.probe import RecallProbe
from retrieval.telemetry.request_log import RequestLog, request_line
from retrieval.telemetry.state import State, StateReader, put, read_disk, read_memory
from retrieval.wire.status import Metadata

if TYPE_CHECKING:
    from retrieval.telemetry.counts import Counts
    from retrieval.telemetry.tracing import Traces

log = logging.getLogger("tandem.telemetry")

_TURN_SECONDS = 1.0
_LOG_TURNS = 2  # the logs of changes are asked for their ends each so many turns
_UNKNOWN = "unknown"  # a method that callers made up

Publish = Callable[[State], None]
"""Takes the gauges of this process to where they are shown, without blocking."""


class Telemetry:
    """Nothing of it is on unless its settings are. What handlers call takes microseconds, and raises nothing."""

    def __init__(
        self,
        counts: "Counts | None" = None,
        traces: "Traces | None" = None,
        request_log: RequestLog | None = None,
        probe_share: float = 0.0,
    ) -> None:
        """Use `open_telemetry`."""
        self._counts = counts
        self._traces = traces
        self._request_log = request_log
        self._probe: RecallProbe | None = None
        self._drifts: dict[str, ScoreDrift] = {}
        self._state = StateReader()
        self._pressure: Callable[[], float] = lambda: 0.0
        if counts is not None and probe_share:
            self._probe = RecallProbe(
                probe_share,
                lambda share, catalog, selectivity: counts.observe("tandem_recall_ratio", share, catalog, selectivity),
                lambda outcome: counts.add("tandem_recall_probes_total", outcome),
                lambda: self._pressure(),
            )

    # What CallServer calls: see `CallObserver`.

    def refuse(self, method: str, code: grpc.StatusCode, reason: str) -> None:
        """See `CallObserver.refuse`."""
        if self._counts is not None:
            name = method.lstrip("/") or _UNKNOWN
            self._counts.add("tandem_refused_total", name, reason)
            self._counts.add("tandem_calls_total", name, code.name)

    def begin(self, method: str, metadata: Metadata) -> Trace | None:
        """See `CallObserver.begin`."""
        return None if self._traces is None else self._traces.begin(method, metadata)

    def end(self, method: str, code: grpc.StatusCode, seconds: float, caller: Caller, trace: Trace | None) -> None:
        """See `CallObserver.end`."""
        if self._counts is not None:
            name = method.lstrip("/")
            self._counts.add("tandem_calls_total", name, code.name)
            self._counts.observe("tandem_call_duration_seconds", seconds, name)
        if trace is not None:
            trace.end(code)

    # What handlers and engines call.

    def note_batch(self, call: str, size: int, waited: float, took: float) -> None:
        """See `engine.lanes.ObserveBatch`."""
        if self._counts is not None:
            self._counts.note_batch(call, size, waited, took)

    def note_changes(self, written: Written) -> None:
        """Changes were written, or rejected."""
        if self._counts is not None:
            self._counts.note_changes("rejected" if outcome is None else outcome.name for outcome in written.outcomes)

    def note_answer(self, answered: Answered) -> None:
        """A search or a recommendation was answered. For the event loop."""
        try:
            self._note_answer(answered)
        except Exception:  # an answer is worth more than what is noted of it
            log.exception("an answer could not be noted")

    def _note_answer(self, answered: Answered) -> None:
        answer, release = answered.answer, answered.release
        catalog = release.manifest.catalog
        if self._counts is not None:
            self._counts.note_answer(catalog, answer)
            if answer.hits and not answer.offset and not answer.degraded and answered.query.text:
                drift = self._drifts.setdefault(catalog, ScoreDrift())
                drift.add(answer.hits[0].score, release.manifest.model.model_id)
        trace = cast(Trace | None, spans_now.get())
        if trace is not None:
            trace.note_answer(catalog, release.release_id, answered.request_id, answer)
        if self._request_log is not None and self._request_log.wants(answered.experiment):
            seconds = asyncio.get_running_loop().time() - answered.permit.since
            self._request_log.write(request_line(answered, seconds))
        if self._probe is not None:
            self._probe.consider(release, answer.lookup)

    # What `run_server` calls.

    def add_gauges(self, read: Callable[[State], None]) -> None:
        """`read` puts the values of gauges into a state; see `StateReader.add`."""
        self._state.add(read)

    @asynccontextmanager
    async def watch(
        self,
        settings: ServeSettings,
        manager: ReleaseManager,
        caches: Caches,
        admission: Admission,
        waiting: Callable[[], int],
        publish: Publish | None = None,
    ) -> AsyncIterator[None]:
        """Reads the gauges every second while the block runs, and shows them: by `publish`, or on a page of its own.

        Raises TandemError where the page cannot be served.
        """
        last: dict[str, int] = {}
        self._pressure = lambda: admission.pressure
        for read in (
            read_admission(admission, waiting),
            read_caches(caches),
            read_releases(manager, last, settings.max_fresh),
            read_disk(settings.releases),
            read_memory,
            self._read_drifts,
        ):
            self.add_gauges(read)
        with ExitStack() as stack:
            task = None
            if self._counts is not None:
                publish = publish or stack.enter_context(own_page(settings.metrics_address, self._counts))
                task = asyncio.create_task(self._turn(manager, caches, last, publish))
            try:
                yield
            finally:
                if task is not None:
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
                if self._probe is not None:
                    await self._probe.close()
                if self._counts is not None:
                    self._counts.read_caches(caches)

    def close(self) -> None:
        """Writes and sends what is left, for a few seconds at most."""
        if self._request_log is not None:
            self._request_log.close()
        if self._traces is not None:
            self._traces.close()

    async def _turn(self, manager: ReleaseManager, caches: Caches, last: dict[str, int], publish: Publish) -> None:
        assert self._counts is not None
        turn, failed = 0, ""
        while True:
            try:
                if turn % _LOG_TURNS == 0:
                    last |= await asyncio.to_thread(last_revisions, manager)
                self._counts.read_caches(caches)
                publish(self._state.read())
                failed = ""
            except Exception as error:
                if failed != (failed := f"{type(error).__name__}: {error}"):
                    log.error("gauges cannot be read: %s", failed)
            turn += 1
            await asyncio.sleep(_TURN_SECONDS)

    def _read_drifts(self, state: State) -> None:
        for catalog, drift in self._drifts.items():
            if (index := drift.index) is not None:
                put(state, "tandem_score_drift", index, catalog)


@contextmanager
def own_page(address: str, counts: "Counts") -> Iterator[Publish]:
    """Serves the metrics of this process alone; yields what takes its gauges."""
    exposition = load_for("metrics_address", "metrics", "exposition")
    states: list[State] = [{}]

    def publish(state: State) -> None:
        states[0] = state

    collectors = [
        counts.registry,
        exposition.ProcessGauges(lambda: list(states)),
        exposition.Supervision(lambda: 1, 1, lambda: 0),
    ]
    with exposition.serve_metrics(address, collectors) as url:
        log.info("metrics are at %s", url)
        yield publish


def open_telemetry(settings: ServeSettings, profiles: Profiles | None) -> Telemetry:
    """What the settings ask for. Raises TandemError where a library that it needs is not installed."""
    counts = traces = None
    if settings.metrics_address:
        counts = load_for("metrics_address", "metrics", "counts").open_counts()
    if settings.trace_endpoint:
        tracing = load_for("trace_endpoint", "tracing", "tracing")
        traces = tracing.Traces(settings.trace_endpoint, settings.trace_share)

    def dropped() -> None:
        if counts is not None:
            counts.add("tandem_request_log_dropped_total")

    return Telemetry(counts, traces, RequestLog(settings.request_log, profiles, dropped), settings.probe_share)


QUIET = Telemetry()
"""Notes nothing."""
