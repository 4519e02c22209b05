"""One serving process beside several on one port, with the embedded engine and before one Triton server, in one run.

    python -m benchmarks.processes --releases DIR --queries FILE [--processes 2] [--seconds 15] [--rounds 2]

Each kind serves in turn, since a machine's pace changes, without caches, and is called by a closed loop over several
connections, which the kernel deals out to the processes by chance. The client takes processor time of the same machine,
which is reported separately. Memory is the proportional set size, where a page that n processes share counts 1/n to
each. Triton takes part where its server is installed (`tandem triton install`).
"""

import argparse
import asyncio
import itertools
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from rich.console import Console
from rich.table import Table

from benchmarks.common import NO_CACHES, RESULTS, cpu_seconds, fixed_places, latencies, save, serving
from benchmarks.load.open_loop import OPTIONS
from benchmarks.load.queries import read_queries
from core.errors import TandemError
from lifecycle.triton_server import FOLDER, TritonServer, triton_server
from tandem.v1 import search_pb2, search_pb2_grpc

_DEADLINE = 20.0
_WARM_SECONDS = 3.0
_START_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Kind:
    """What serves: an engine, and so many processes in front of it."""

    engine: str
    processes: int

    def __str__(self) -> str:
        return f"{self.engine}, {self.processes} process{'es' if self.processes > 1 else ''}"


def main() -> None:
    """Measures each kind in turn, prints a table and saves the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--releases", type=Path, default=Path("releases"))
    parser.add_argument("--queries", type=Path, default=Path("releases/sample/judgments.parquet"))
    parser.add_argument("--server", type=Path, default=FOLDER, help="folder of the Triton server")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=15.0, help="of measuring, each time")
    parser.add_argument("--in-flight", type=int, default=32)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--port", type=int, default=50064)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    queries = read_queries(options.queries).queries
    kinds = [Kind("embedded", 1), Kind("embedded", options.processes)]
    if any(options.server.glob("*")):
        kinds += [Kind("triton", 1), Kind("triton", options.processes)]
    rounds_by_kind: dict[Kind, list[dict[str, Any]]] = defaultdict(list)
    for _, kind in itertools.product(range(options.rounds), kinds):
        rounds_by_kind[kind].append(_round(options, kind, queries))
    rows = {str(kind): _row(rounds) for kind, rounds in rounds_by_kind.items()}
    names = ("processes", "seconds", "in_flight", "connections", "rounds")
    parameters = {name: getattr(options, name) for name in names} | {"busy_before": round(os.getloadavg()[0], 2)}
    _print(rows)
    results = {"rows": rows, "to_one_embedded_process": _ratios(rows)}
    print(save("processes", parameters, results, options.output))


def _round(options: argparse.Namespace, kind: Kind, queries: list[str]) -> dict[str, Any]:
    """One kind, started, warmed and measured."""
    address = f"127.0.0.1:{options.port}"
    environment = {"TANDEM_SERVE_PROCESSES": str(kind.processes), "TANDEM_SERVE_ENGINE": kind.engine, **NO_CACHES}
    # None is refused, though all connections may meet one process, which has its share of the places.
    environment |= fixed_places(options.in_flight * kind.processes)
    with tempfile.TemporaryDirectory() as scratch, _triton(options, kind, Path(scratch)) as server:
        if server is not None:
            environment["TANDEM_SERVE_TRITON_URL"] = server.address
            environment["TANDEM_SERVE_TRITON_REPOSITORY"] = str(server.repository)
        log = Path(scratch) / "service.log"
        with serving(options.releases, address, environment, log) as pid:
            _wait(log, kind.processes)
            servers = [pid] + ([server.process.pid] if server is not None else [])
            return asyncio.run(_measure(options, address, queries, servers))


@contextmanager
def _triton(options: argparse.Namespace, kind: Kind, scratch: Path) -> Iterator[TritonServer | None]:
    if kind.engine != "triton":
        yield None
        return
    with triton_server(options.server, scratch / "models") as server:
        yield server


def _wait(log: Path, processes: int) -> None:
    """Until all processes serve: the port answers as soon as the first does."""
    until = time.monotonic() + _START_SECONDS
    while processes > 1 and f"serves; {processes} of {processes}" not in log.read_text():
        if time.monotonic() > until:
            raise TandemError("not all processes came to serve")
        time.sleep(0.05)


async def _measure(options: argparse.Namespace, address: str, queries: list[str], servers: list[int]) -> dict[str, Any]:
    """Answers in a closed loop, what they took of the processor, and memory in the end."""
    channels = [grpc.aio.insecure_channel(address, options=OPTIONS) for _ in range(options.connections)]
    stubs = itertools.cycle([search_pb2_grpc.SearchServiceStub(channel) for channel in channels])
    source = itertools.cycle(queries)
    degraded = 0

    async def client(end: float) -> list[float]:
        nonlocal degraded
        times = []
        while (start := time.monotonic()) < end:
            request = search_pb2.SearchRequest(query=next(source), top_k=10)
            answer = await next(stubs).Search(request, timeout=_DEADLINE)
            times.append(time.monotonic() - start)
            degraded += bool(answer.degraded)
        return times

    async def ask(seconds: float) -> list[float]:
        end = time.monotonic() + seconds
        return [each for times in await asyncio.gather(*map(client, [end] * options.in_flight)) for each in times]

    await ask(_WARM_SECONDS)
    degraded = 0
    before, own, start = sum(map(cpu_seconds, servers)), time.process_time(), time.monotonic()
    times = await ask(options.seconds)
    seconds = time.monotonic() - start
    spent = {"processor": sum(map(cpu_seconds, servers)) - before, "client": time.process_time() - own}
    memory = [_memory(pid) for pid in servers]
    await asyncio.gather(*(channel.close() for channel in channels))
    return {"times": times, "seconds": seconds, "degraded": degraded, **spent, "memory": memory}


def _memory(pid: int) -> dict[str, float]:
    """MiB of a process and those it started, by proportional set size: anonymous, and of mapped files."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    values = {name: int(rest.split()[0]) / 1024 for name, rest in (line.split(":", 1) for line in lines)}
    memory = {"anonymous": values["Pss_Anon"], "file": values["Pss_File"] + values["Pss_Shmem"]}
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in path.read_text().split():
            memory = {name: value + _memory(int(child))[name] for name, value in memory.items()}
    return memory


def _row(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    times = list(itertools.chain.from_iterable(each["times"] for each in rounds))
    seconds = sum(each["seconds"] for each in rounds)
    memory = [{name: round(value) for name, value in part.items()} for part in rounds[-1]["memory"]]
    return {
        "queries_per_s": round(len(times) / seconds, 1),
        **latencies(times),
        "processor_ms_each": round(1000 * sum(each["processor"] for each in rounds) / len(times), 2),
        "client_cpu_cores": round(sum(each["client"] for each in rounds) / seconds, 2),
        "degraded": sum(each["degraded"] for each in rounds),
        "queries_per_s_each_round": [round(len(each["times"]) / each["seconds"], 1) for each in rounds],
        "service_pss_mib": memory[0],
        **({"triton_pss_mib": memory[1]} if len(memory) > 1 else {}),
    }


def _ratios(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """To the first kind, one process with the embedded engine."""
    first = next(iter(rows.values()))

    def whole(row: dict[str, Any]) -> float:
        return float(sum(sum(row.get(part, {}).values()) for part in ("service_pss_mib", "triton_pss_mib")))

    return {
        name: {
            "queries_per_s": round(row["queries_per_s"] / first["queries_per_s"], 3),
            "queries_per_processor_s": round(first["processor_ms_each"] / row["processor_ms_each"], 3),
            "p99": round(row["p99_ms"] / first["p99_ms"], 3),
            "pss": round(whole(row) / whole(first), 3),
        }
        for name, row in rows.items()
    }


def _print(rows: dict[str, dict[str, Any]]) -> None:
    table = Table("", "queries/s", "p50 ms", "p99 ms", "processor ms", "PSS MiB: anonymous + file", "of Triton")
    for name, row in rows.items():
        memory = [row.get(part) for part in ("service_pss_mib", "triton_pss_mib")]
        memory_cells = [f"{part['anonymous']} + {part['file']}" if part else "" for part in memory]
        figures = (f"{row[key]:.1f}" for key in ("queries_per_s", "p50_ms", "p99_ms", "processor_ms_each"))
        table.add_row(name, *figures, *memory_cells)
    Console().print(table)


if __name__ == "__main__":
    try:
        main()
    except TandemError as error:
        sys.exit(f"tandem: {error}")
