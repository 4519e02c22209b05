"""Two serving processes on one port, under a supervisor: answering, dying, swapping, draining, and none left over."""

import asyncio
import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from shops import ROOT, command, environment, index, process, write_feed

from benchmarks.common import free_address
from core.releases import ReleaseStore
from indexer.models import ModelFolders
from tandem.client import service_config
from tandem.v1 import search_pb2, search_pb2_grpc

# As gateways are told to: of equal options, channels would share one connection, and with it one process.
OPTIONS = [("grpc.use_local_subchannel_pool", 1), ("grpc.service_config", service_config())]
CHANNELS = 12
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


class Service:
    """`tandem serve --processes 2` and its processes."""

    def __init__(self, supervisor: "subprocess.Popen[str]", address: str) -> None:
        self.supervisor = supervisor
        self.address = address

    def workers(self) -> list[psutil.Process]:
        """Those that run and accept connections, the oldest first."""
        result = psutil.Process(self.supervisor.pid).children()
        return sorted((child for child in result if self._sockets(child, "LISTEN")), key=lambda child: child.pid)

    def connections(self, worker: psutil.Process) -> int:
        return self._sockets(worker, "ESTABLISHED")

    def _sockets(self, worker: psutil.Process, status: str) -> int:
        try:
            result = worker.net_connections("tcp")
        except psutil.Error:
            return 0
        port = int(self.address.rpartition(":")[2])
        return sum(each.laddr.port == port and each.status == status for each in result)

    @asynccontextmanager
    async def channels(self) -> AsyncIterator[list[grpc.aio.Channel]]:
        """Connected, some to either process."""
        channels = [grpc.aio.insecure_channel(self.address, options=OPTIONS) for _ in range(CHANNELS)]
        try:
            await asyncio.gather(*(channel.channel_ready() for channel in channels))
            yield channels
        finally:
            await asyncio.gather(*(channel.close() for channel in channels))


@contextmanager
def service(store: ReleaseStore, *more: object) -> Iterator[Service]:
    arguments = ("serve", "--releases", store.root, "--address", "127.0.0.1:0", "--processes", 2, *more)
    with process(*arguments) as supervisor:
        assert supervisor.stdout is not None and supervisor.stderr is not None
        words = supervisor.stdout.readline().split()
        assert words[:4] == ["tandem:", "serving", "release", store.current("default")], supervisor.stderr.read()
        result = Service(supervisor, words[-1])
        workers = psutil.Process(supervisor.pid).children()
        try:
            yield result
        finally:
            for worker in workers:  # should they outlive the supervisor, which a test then tells
                if worker.is_running():
                    worker.kill()


def ask(channel: grpc.aio.Channel, query: str = "red kettle") -> search_pb2.SearchResponse:
    stub = search_pb2_grpc.SearchServiceStub(channel)
    return stub.Search(search_pb2.SearchRequest(query=query), timeout=60, wait_for_ready=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.05)


async def test_both_answer_and_one_that_is_killed_comes_back(indexed: ReleaseStore) -> None:
    with service(indexed, "--max-in-flight", 5) as served:
        first, second = served.workers()
        async with served.channels() as channels:
            assert min(map(served.connections, (first, second))) > 0
            answers = [await ask(channel) for channel in channels]
            first.kill()
            answers += [await ask(channel) for channel in channels]
            await until(lambda: len(served.workers()) == 2)
            assert second in served.workers() and first not in served.workers()
            answers += [await ask(channel) for channel in channels]
        async with served.channels() as channels:
            assert min(map(served.connections, served.workers())) > 0
        assert {answer.release_id for answer in answers} == {indexed.current("default")}
        assert served.supervisor.stdout is not None
        output = [served.supervisor.stdout.readline() for _ in range(3)]
        lanes = max(1, len(psutil.Process().cpu_affinity()) // 2)
        assert output[-1] == f"  processes: 2, each with {lanes} lane(s) for its models and up to 3 calls in flight\n"


async def test_one_that_hangs_is_started_again(indexed: ReleaseStore, tmp_path: Path) -> None:
    config = tmp_path / "serve.toml"
    config.write_text("hang_seconds = 2\n")
    with service(indexed, "--config", config) as served:
        hangs, lives = served.workers()
        hangs.suspend()
        await until(lambda: hangs not in served.workers() and len(served.workers()) == 2)
        assert lives in served.workers()
        async with served.channels() as channels:
            assert {(await ask(channel)).release_id for channel in channels} == {indexed.current("default")}
        served.supervisor.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(served.supervisor.wait, 20) == 0
        assert served.supervisor.stderr is not None
        assert "it hung for 2 s and was killed" in served.supervisor.stderr.read()


async def test_a_signal_drains_both_with_their_calls_in_flight(indexed: ReleaseStore) -> None:
    statuses: list[list[int]] = []

    async def watch(channel: grpc.aio.Channel) -> None:
        stub = health_pb2_grpc.HealthStub(channel)
        statuses.append([answer.status async for answer in stub.Watch(health_pb2.HealthCheckRequest())])

    with service(indexed, "--max-in-flight", 200) as served:
        async with served.channels() as channels:
            watches = [asyncio.create_task(watch(channel)) for channel in channels]
            queries = itertools.count()  # each asked once, for answers that are kept take no time
            sent = [
                [asyncio.ensure_future(ask(channel, f"kettle {next(queries)}")) for _ in range(6)]
                for channel in channels
            ]
            first = [asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED) for calls in sent]
            await asyncio.gather(*first)
            served.supervisor.send_signal(signal.SIGTERM)
            calls = list(itertools.chain.from_iterable(sent))
            in_flight = sum(not call.done() for call in calls)
            answers = await asyncio.gather(*calls)  # a failed one would raise here
            await asyncio.gather(*watches)
        assert in_flight > 0 and {len(answer.hits) for answer in answers} == {10}
        assert statuses == [[SERVING, NOT_SERVING]] * CHANNELS
        assert await asyncio.to_thread(served.supervisor.wait, 20) == 0
        assert served.supervisor.stderr is not None
        output = served.supervisor.stderr.read()
        assert "Traceback" not in output and "started again" not in output


async def test_a_new_release_reaches_all_processes_and_none_swaps_before_the_other_has_it(
    store: ReleaseStore, models: ModelFolders, tmp_path: Path
) -> None:
    old = store.current("default")
    with service(store, "--max-in-flight", 2 * CHANNELS) as served:  # all may ask the same one
        awake, asleep = served.workers()
        async with served.channels() as channels:
            asleep.suspend()
            outcome = await asyncio.to_thread(index, write_feed(tmp_path / "b.jsonl", "b-"), models, store)
            new = outcome.manifest.release_id
            await until(lambda: any(new in each.path for each in awake.memory_maps(grouped=False)))
            await asyncio.sleep(1.5)  # it has warmed, and waits
            calls = [asyncio.ensure_future(ask(channel)) for channel in channels]
            await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            assert {call.result().release_id for call in calls if call.done()} == {old}
            asleep.resume()
            assert {answer.release_id for answer in await asyncio.gather(*calls)} <= {old, new}
            async with asyncio.timeout(60):
                while {(await ask(channel)).release_id for channel in channels} != {new}:
                    await asyncio.sleep(0.05)


async def test_no_process_outlives_a_supervisor_that_is_killed(indexed: ReleaseStore) -> None:
    with service(indexed) as served:
        workers = served.workers()
        assert len(workers) == 2
        served.supervisor.kill()
        served.supervisor.wait(20)
        gone, alive = await asyncio.to_thread(psutil.wait_procs, workers, 20)
        assert len(gone) == 2 and not alive


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGKILL])
async def test_a_supervisor_that_ends_early_leaves_nobody(indexed: ReleaseStore, sign: signal.Signals) -> None:
    """While its processes still load."""
    arguments = ("serve", "--releases", indexed.root, "--address", "127.0.0.1:0", "--processes", 2)
    with process(*arguments) as supervisor:
        until = time.monotonic() + 30
        while len(workers := psutil.Process(supervisor.pid).children()) < 2:
            assert supervisor.poll() is None and time.monotonic() < until
            await asyncio.sleep(0.01)
        supervisor.send_signal(sign)
        assert supervisor.wait(20) == (0 if sign is signal.SIGTERM else -sign)
        gone, alive = await asyncio.to_thread(psutil.wait_procs, workers, 20)
        assert len(gone) == 2 and not alive


def failing(*arguments: object) -> tuple[int, list[str]]:
    result = subprocess.run(
        command("serve", "--processes", 2, *arguments), capture_output=True, text=True, env=environment(), timeout=120
    )
    assert not result.stdout and "Traceback" not in result.stderr
    return result.returncode, [line for line in result.stderr.splitlines() if line.startswith("tandem: ")]


def test_a_port_that_is_taken_is_told_on_one_line(indexed: ReleaseStore) -> None:
    with service(indexed) as served:
        result = failing("--releases", indexed.root, "--address", served.address)
        reported = f"tandem: cannot listen on {served.address}: the port is taken or not allowed; choose another"
        assert result == (2, [reported])


def test_what_no_process_can_serve_is_told_once(tmp_path: Path) -> None:
    status, [reported] = failing("--releases", tmp_path / "none", "--address", "127.0.0.1:0")
    assert status == 2
    assert reported.startswith(f"tandem: no release can be served from {tmp_path / 'none'}: make one with")


def test_the_benchmark_of_processes_has_no_call_refused(indexed: ReleaseStore, tmp_path: Path) -> None:
    (tmp_path / "queries.txt").write_text("red kettle\nblue lamp\n")
    asked = ["--releases", indexed.root, "--queries", tmp_path / "queries.txt", "--port", free_address().split(":")[1]]
    asked += ["--server", tmp_path / "none", "--seconds", 1, "--rounds", 1, "--output", tmp_path]
    arguments = [sys.executable, "-m", "benchmarks.processes", *map(str, asked)]
    bound = environment() | {"TANDEM_SERVE_MAX_IN_FLIGHT": "2"}  # which the benchmark sets aside
    subprocess.run(arguments, env=bound, cwd=ROOT, timeout=240, check=True, stdout=subprocess.DEVNULL)
    rows = json.loads((tmp_path / "processes.json").read_text())["results"]["rows"]
    assert list(rows) == ["embedded, 1 process", "embedded, 2 processes"]
    assert all(row["queries_per_s"] > 0 and row["degraded"] == 0 for row in rows.values())
