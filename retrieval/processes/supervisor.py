"""Several serving processes on one address: started, restarted, swapped together and drained. Loads no gRPC itself."""

import asyncio
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

from core.errors import TandemError
from retrieval.processes.port import reserve_address
from retrieval.processes.workers import Message, Worker, start_worker
from retrieval.server.settings import ServeSettings
from retrieval.telemetry.optional import load_for
from retrieval.telemetry.state import State

log = logging.getLogger("tandem.supervisor")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0  # seconds before a process is started again, doubling
_DOUBLINGS = 10
_STEADY = 60.0  # seconds of serving after which what was before is forgotten
_TRIES = 6
_SWAP_SECONDS = 30.0  # a release that some have loaded waits so long for those that have not
_KILL_SECONDS = 5.0  # beyond the grace
_LISTEN = 1.0  # seconds between two looks at who is silent

Ready = Callable[[str, dict[str, str]], None]
"""Called once all processes serve, with the address and the release of each catalog."""


@dataclass(slots=True)
class Restarts:
    """When a process that ended is started again, by how often it ended without having served for a while."""

    failures: int = 0

    def pause(self, served: float) -> float:
        """Seconds until the next start, after a process that served so many seconds."""
        self.failures = 1 if served >= _STEADY else self.failures + 1
        doublings = min(self.failures - 1, _DOUBLINGS)  # 2.0 ** 1024 is beyond a float
        return min(_FIRST_PAUSE * 2**doublings, _LONGEST_PAUSE)

    @property
    def hopeless(self) -> bool:
        """Whether it was tried often enough, where no other process serves either."""
        return self.failures >= _TRIES


@dataclass(slots=True)
class Member:
    """The state of one running process. `waits` is a catalog and the release of it that was loaded."""

    worker: Worker
    serves: dict[str, str] = field(default_factory=dict)
    served_from: float | None = None
    waits: tuple[str, str] | None = None
    too_long: bool = False
    failed: str = ""
    alive: bool = False  # whether its event loop gave a sign of life
    silent: int = 0  # looks since it last did
    loading: int = 0  # looks since it was started, until it serves
    state: State = field(default_factory=dict)  # its gauges, where metrics are served


def swappable(members: Mapping[int, Member]) -> list[int]:
    """Which of the waiting processes swap now.

    Those whose release every serving process has loaded or serves already; one that waits for another release is not
    waited for, lest two wait for each other; and those that have waited too long, for a process may have refused it.
    """
    serving = [member for member in members.values() if member.served_from is not None]
    return [
        number
        for number, member in members.items()
        if (wanted := member.waits) is not None
        and (
            member.too_long
            or all(other.waits is not None or other.serves.get(wanted[0]) == wanted[1] for other in serving)
        )
    ]


class Supervisor:
    """Keeps so many processes serving."""

    def __init__(
        self,
        settings: ServeSettings,
        ready: Callable[[dict[str, str]], None],
        start: Callable[[int], Awaitable[Worker]],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        ended: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`ready` is called once, when all serve, with each catalog's release; `start` starts a process by number, and
        `ended` is called with the pid of each that has ended."""
        self._count = settings.processes
        self._grace = settings.grace_seconds
        self._hang = settings.hang_seconds
        self._load = settings.load_seconds
        self._ready = ready
        self._start = start
        self._ended = ended
        self._clock = clock
        self._sleep = sleep
        self._members: dict[int, Member] = {}
        self._complete = False  # once all have served
        self.restarts = 0
        """How often a process was started again."""

    @property
    def states(self) -> list[State]:
        """The gauges of each process, as it reported them last."""
        return [member.state for member in list(self._members.values()) if member.state]

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until `stop` is set, then drains. Raises TandemError when the processes cannot be made to serve."""
        keeping = [asyncio.create_task(self._keep(number)) for number in range(self._count)]
        keeping.append(asyncio.create_task(self._listen()))
        stopping = asyncio.create_task(stop.wait())
        try:
            done, _ = await asyncio.wait([stopping, *keeping], return_when=asyncio.FIRST_COMPLETED)
            if stopping not in done:
                await next(iter(done))  # raises: a process is kept for ever
        finally:
            log.info("draining")
            for task in (stopping, *keeping):
                task.cancel()
            await asyncio.gather(stopping, *keeping, return_exceptions=True)
            await asyncio.gather(*(self._drain(member.worker) for member in self._members.values()))

    async def _keep(self, number: int) -> None:
        """One process, started again whenever it ends."""
        restarts = Restarts()
        while True:
            worker = await self._start(number)
            member = self._members[number] = Member(worker)
            async for message in worker.messages():
                self._hear(member, message)
            status = await worker.wait()
            del self._members[number]
            self._ended(worker.pid)
            self._swap()  # others may have waited for it
            why = member.failed or f"it ended with status {status}{_hint(status)}"
            if not self._complete:
                ended = f"a serving process ended with status {status} before it served{_hint(status)}"
                raise TandemError(member.failed or ended)
            served = 0.0 if member.served_from is None else self._clock() - member.served_from
            pause = restarts.pause(served)
            if restarts.hopeless and not self.serving:
                raise TandemError(f"no serving process can be kept up; the last one after {served:.0f} s: {why}")
            line = "process %d (pid %d) is started again in %.1f s; %d of %d serve: %s"
            log.error(line, number + 1, worker.pid, pause, self.serving, self._count, why)
            await self._sleep(pause)
            self.restarts += 1

    async def _listen(self) -> None:
        """Ends processes that hang, serving or loading: `_keep` starts them again.

        Silence is counted in looks, not by the clock: where all slept, the machine with them, nobody hangs.
        """
        while True:
            await asyncio.sleep(_LISTEN)
            for member in self._members.values():
                member.silent += member.alive
                member.loading += member.served_from is None
                if member.silent * _LISTEN >= self._hang:
                    member.failed = f"it hung for {self._hang:g} s and was killed"
                    member.worker.kill()
                elif member.loading * _LISTEN >= self._load:
                    member.failed = (
                        f"it did not serve within {self._load:g} s and was killed: look at the disk, "
                        "or set TANDEM_SERVE_LOAD_SECONDS"
                    )
                    member.worker.kill()

    @property
    def serving(self) -> int:
        """Processes that accept calls."""
        return sum(member.served_from is not None for member in list(self._members.values()))

    def _hear(self, member: Member, message: Message) -> None:
        member.silent = 0
        match message:
            case {"failed": str(why)}:
                member.failed = why
            case {"serves": dict(releases)}:
                member.serves, member.served_from, member.loading = dict(releases), self._clock(), 0
                log.info("process with pid %d serves; %d of %d", member.worker.pid, self.serving, self._count)
                if not self._complete and self.serving == self._count:
                    self._complete = True
                    self._ready(releases)
            case {"waits": [str(catalog), str(release)]}:
                member.waits, member.too_long = (catalog, release), False
                asyncio.get_running_loop().call_later(_SWAP_SECONDS, self._too_long, member, member.waits)
            case {"lives": True}:
                member.alive = True
                return
            case {"state": dict(state)}:
                member.state = state
                return
        self._swap()

    def _too_long(self, member: Member, waits: tuple[str, str]) -> None:
        if member.waits == waits:
            member.too_long = True
            self._swap()

    def _swap(self) -> None:
        """Has those swap that need not wait any longer."""
        for number in swappable(self._members):
            member = self._members[number]
            assert member.waits is not None, "only a process that waits gets this message"
            catalog, release = member.waits
            member.serves[catalog], member.waits = release, None
            member.worker.send({"swap": [catalog, release]})

    async def _drain(self, worker: Worker) -> None:
        worker.drain()
        try:
            async with asyncio.timeout(self._grace + _KILL_SECONDS):
                await worker.wait()
        except TimeoutError:
            worker.kill()
            await worker.wait()


def _hint(status: int) -> str:
    """What a status means that stands for one cause."""
    if status == -signal.SIGBUS:
        return ": a file of a release was cut short in place; index again, and replace files by rename alone"
    return ""


async def supervise(settings: ServeSettings, ready: Ready) -> None:
    """Serves in several processes until SIGTERM or SIGINT, then drains. Raises TandemError."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, stop.set)
    with reserve_address(settings.address) as address, ExitStack() as stack:
        shared = settings.model_copy(update={"address": address})
        tell = partial(ready, address)
        if not settings.metrics_address:
            await Supervisor(shared, tell, partial(start_worker, shared, {})).run(stop)
            return
        exposition = load_for("metrics_address", "metrics", "exposition")
        folder = stack.enter_context(exposition.counts_folder())
        counts = exposition.SharedCounts(folder)
        start = partial(start_worker, shared, {exposition.SHARED_FOLDER: str(folder)})
        supervisor = Supervisor(shared, tell, start, ended=counts.absorb)
        processes = exposition.Supervision(lambda: supervisor.serving, settings.processes, lambda: supervisor.restarts)
        gauges = exposition.ProcessGauges(lambda: supervisor.states)
        url = stack.enter_context(exposition.serve_metrics(settings.metrics_address, [counts, gauges, processes]))
        log.info("metrics are at %s", url)
        await supervisor.run(stop)
