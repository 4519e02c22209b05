"""What the supervisor decides: when to start again, when to give up, when all swap. Its processes are fakes."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from core.errors import TandemError
from retrieval.processes.supervisor import Member, Restarts, Supervisor, swappable
from retrieval.server.settings import ServeSettings

READY = {"serves": {"shop": "r-1"}}


class Process:
    """A serving process that says what the test has it say."""

    pid = 7

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self.drained = self.killed = False
        self.drains = True
        self._says: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._status: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def report(self, *messages: dict[str, Any]) -> None:
        for message in messages:
            self._says.put_nowait(message)

    def end(self, status: int = -9) -> None:
        self._says.put_nowait(None)
        if not self._status.done():
            self._status.set_result(status)

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        while (message := await self._says.get()) is not None:
            yield message

    def send(self, message: dict[str, Any]) -> None:
        self.received.append(message)

    def drain(self) -> None:
        self.drained = True
        if self.drains:
            self.end(0)

    def kill(self) -> None:
        self.killed = True
        self.end()

    async def wait(self) -> int:
        return await asyncio.shield(self._status)


class Fleet:
    """A supervisor over fakes; its clock stands unless a pause is slept, which takes no time."""

    def __init__(self, processes: int = 2, grace: float = 1.0, hang: float = 60.0, load: float = 600.0) -> None:
        self.now = 100.0
        self.pauses: list[float] = []
        self.ready: list[dict[str, str]] = []
        self.started: dict[int, list[Process]] = {}
        self.stop = asyncio.Event()
        self.on_start: Callable[[int, Process], None] = lambda _, process: process.report(READY)
        self.supervisor = Supervisor(
            ServeSettings(processes=processes, grace_seconds=grace).model_copy(
                update={"hang_seconds": hang, "load_seconds": load}
            ),
            self.ready.append,
            self._start,  # type: ignore[arg-type]
            lambda: self.now,
            self._sleep,
        )

    async def _start(self, number: int) -> Process:
        process = Process()
        self.started.setdefault(number, []).append(process)
        self.on_start(number, process)
        return process

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["asyncio.Task[None]"]:
        task = asyncio.create_task(self.supervisor.run(self.stop))
        try:
            await settle()
            yield task
        finally:
            self.stop.set()
            await asyncio.wait([task])

    def last(self, number: int) -> Process:
        return self.started[number][-1]


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


def test_pauses_double_up_to_half_a_minute_and_start_over_after_steady_serving() -> None:
    restarts = Restarts()
    assert [restarts.pause(0) for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert restarts.pause(60) == 0.5 and restarts.pause(59.9) == 1
    restarts.failures = 1_100  # beyond 2 ** 1024, which is no float
    assert restarts.pause(0) == 30


def test_six_tries_without_steady_serving_are_hopeless() -> None:
    restarts = Restarts()
    tried = []
    for _ in range(6):
        restarts.pause(0)
        tried.append(restarts.hopeless)
    assert tried == [False] * 5 + [True]
    restarts.pause(61)
    assert not restarts.hopeless


async def test_ready_is_told_once_when_all_serve() -> None:
    fleet = Fleet()
    fleet.on_start = lambda *_: None
    async with fleet.running():
        fleet.last(1).report(READY)
        await settle()
        assert not fleet.ready
        fleet.last(0).report(READY)
        await settle()
        assert fleet.ready == [{"shop": "r-1"}]
        fleet.last(0).end()
        fleet.on_start = lambda _, process: process.report(READY)
        await settle()
        assert len(fleet.started[0]) == 2 and len(fleet.ready) == 1


async def test_a_process_that_dies_is_started_again_and_the_others_stay() -> None:
    fleet = Fleet()
    async with fleet.running():
        fleet.last(0).end(-9)
        await settle()
        fleet.now += 61
        fleet.last(0).end(0)  # someone ended it by hand
        await settle()
        assert fleet.pauses == [0.5, 0.5]
        assert len(fleet.started[0]) == 3 and len(fleet.started[1]) == 1
    assert fleet.last(0).drained and fleet.last(1).drained
    assert not fleet.started[0][0].drained


async def test_a_process_that_hangs_is_killed_and_started_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("retrieval.processes.supervisor._LISTEN", 0.01)
    fleet = Fleet(hang=0.05)
    async with fleet.running():
        hangs = fleet.last(0)
        hangs.report({"lives": True})
        async with asyncio.timeout(5):
            while not hangs.killed:
                fleet.last(1).report({"lives": True})
                await asyncio.sleep(0)
        await settle()
        assert len(fleet.started[0]) == 2 and len(fleet.started[1]) == 1 and not fleet.last(1).killed
    assert "it hung for" in caplog.text


async def test_one_that_loads_and_lives_is_left_to_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.processes.supervisor._LISTEN", 0.001)
    looks = 0
    fleet = Fleet(1, hang=0.01)

    def count(served: bool) -> bool:
        nonlocal looks
        looks += 1
        fleet.last(0).report({"lives": True})
        return served

    fleet.on_start = lambda *_: None
    monkeypatch.setattr(Member, "alive", property(lambda self: count(True), lambda self, value: None), raising=False)
    async with fleet.running():
        async with asyncio.timeout(5):
            while looks < 50:  # five times as long as one may be silent
                await asyncio.sleep(0)
        assert not fleet.last(0).killed


@pytest.mark.parametrize("sign", [True, False], ids=["its loop stands", "it never says a word"])
async def test_one_that_hangs_while_it_loads_is_killed_and_started_again(
    sign: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("retrieval.processes.supervisor._LISTEN", 0.01)
    fleet = Fleet(hang=0.05, load=60 if sign else 0.05)
    async with fleet.running():
        fleet.on_start = lambda _, process: process.report(*([{"lives": True}] if sign else []))
        fleet.last(0).end()
        await settle()
        loads = fleet.last(0)
        async with asyncio.timeout(5):
            while not loads.killed:
                await asyncio.sleep(0)
        fleet.on_start = lambda _, process: process.report(READY)
        await settle()
        assert loads is not fleet.last(0) and not fleet.last(1).killed
    assert ("it hung for" if sign else "it did not serve within") in caplog.text


async def test_a_first_process_that_hangs_while_it_loads_ends_all_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("retrieval.processes.supervisor._LISTEN", 0.001)
    fleet = Fleet(1, load=0.01)
    fleet.on_start = lambda *_: None
    async with fleet.running() as task:
        async with asyncio.timeout(5):
            await asyncio.wait([task])
    with pytest.raises(TandemError, match=r"did not serve within .* and was killed"):
        await task


async def test_one_that_cannot_start_at_first_ends_all_with_its_own_reason() -> None:
    fleet = Fleet()

    def start(number: int, process: Process) -> None:
        if number == 1:
            process.report({"failed": "no release can be served from x: make one"})
            process.end(2)
        else:
            process.report(READY)

    fleet.on_start = start
    async with fleet.running() as task:
        assert task.done()
    with pytest.raises(TandemError, match=r"^no release can be served from x: make one$"):
        await task
    assert fleet.last(0).drained and not fleet.ready and not fleet.pauses


async def test_one_that_dies_at_first_without_a_word_is_told_by_its_status() -> None:
    fleet = Fleet(1)
    fleet.on_start = lambda _, process: process.end(-11)
    async with fleet.running() as task:
        assert task.done()
    with pytest.raises(TandemError, match=r"ended with status -11 before it served"):
        await task


async def test_one_that_read_what_was_cut_off_is_told_with_the_cause() -> None:
    fleet = Fleet(1)
    fleet.on_start = lambda _, process: process.end(-7)
    async with fleet.running() as task:
        assert task.done()
    with pytest.raises(TandemError, match=r"status -7 before it served: a file of a release was cut short in place"):
        await task


async def test_it_gives_up_when_nobody_can_be_started_any_more() -> None:
    fleet = Fleet(1)
    async with fleet.running() as task:
        fleet.on_start = lambda _, process: (process.report({"failed": "disk is gone"}), process.end(2))  # type: ignore[assignment]
        fleet.last(0).end()
        await settle()
        assert task.done()
    with pytest.raises(TandemError, match=r"no serving process can be kept up.*: disk is gone"):
        await task
    assert fleet.pauses == [0.5, 1, 2, 4, 8]


async def test_it_never_gives_up_while_another_serves() -> None:
    fleet = Fleet()
    async with fleet.running() as task:
        fleet.on_start = lambda _, process: process.end(1) if len(fleet.pauses) < 20 else None
        fleet.last(0).end()
        for _ in range(10):
            await settle()
        assert not task.done() and len(fleet.pauses) == 20


async def test_stopping_drains_all_and_kills_who_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.processes.supervisor._KILL_SECONDS", 0.02)
    fleet = Fleet(grace=0.0)
    async with fleet.running() as task:
        fleet.last(0).drains = False
    await task
    assert fleet.last(0).drained and fleet.last(0).killed
    assert fleet.last(1).drained and not fleet.last(1).killed
    assert not fleet.pauses  # nobody is started again


async def test_a_release_is_swapped_in_once_every_process_has_loaded_it() -> None:
    fleet = Fleet()
    async with fleet.running():
        fleet.last(0).report({"waits": ["shop", "r-2"]})
        await settle()
        assert not fleet.last(0).received and not fleet.last(1).received
        fleet.last(1).report({"waits": ["shop", "r-2"]})
        await settle()
        assert fleet.last(0).received == fleet.last(1).received == [{"swap": ["shop", "r-2"]}]


async def test_a_process_that_dies_is_not_waited_for() -> None:
    fleet = Fleet()
    async with fleet.running():
        fleet.last(0).report({"waits": ["shop", "r-2"]})
        await settle()
        fleet.on_start = lambda *_: None
        fleet.last(1).end()
        await settle()
        assert fleet.last(0).received == [{"swap": ["shop", "r-2"]}]


async def test_a_process_that_refuses_the_release_is_waited_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.processes.supervisor._SWAP_SECONDS", 0.01)
    fleet = Fleet()
    async with fleet.running():
        fleet.last(0).report({"waits": ["shop", "r-2"]})
        async with asyncio.timeout(5):
            while not fleet.last(0).received:
                await asyncio.sleep(0.005)
        assert fleet.last(0).received[0] == {"swap": ["shop", "r-2"]}


def member(waits: tuple[str, str] | None = None, serving: bool = True, **serves: str) -> Member:
    return Member(Process.__new__(Process), serves, 1.0 if serving else None, waits)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("members", "swap"),
    [
        ([member(("a", "2"), a="1"), member(a="1")], []),
        ([member(("a", "2"), a="1"), member(a="2")], [0]),  # started with the new one
        ([member(("a", "2"), a="1"), member(serving=False)], [0]),
        ([member(("a", "2"), a="1"), member(("b", "2"), a="1", b="1")], [0, 1]),  # else for ever
        ([member(("a", "2"), a="1"), member(("b", "2"), a="1", b="1"), member(a="1", b="2")], [1]),
        ([member(("a", "2"), a="1")] * 2 + [member(a="1")], []),
    ],
)
def test_who_waits_for_whom(members: list[Member], swap: list[int]) -> None:
    assert swappable(dict(enumerate(members))) == swap


def test_the_supervisor_loads_neither_grpc_nor_models() -> None:
    code = "import sys, lifecycle.cli.app, lifecycle.serving, retrieval.processes.supervisor; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "retrieval.processes.workers" in loaded
    assert not {"grpc", "google.protobuf", "onnxruntime", "faiss", "pyarrow", "numpy", "tokenizers"} & set(loaded)
