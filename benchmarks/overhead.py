"""What a request costs outside the engines: wire, protobuf, event loop, tokenising, packing.

    python -m benchmarks.overhead --releases releases --queries judgments.parquet [--calls 2000]

The service runs in a process of its own over a real release, with the fake engine in place of the models and without
words, and is called by one client, one call after another. The same client's health checks show what gRPC takes alone.
"""

import argparse
import asyncio
import multiprocessing
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from grpc_health.v1 import health_pb2
from rich.console import Console
from rich.table import Table

from benchmarks.common import RESULTS, latencies, save
from benchmarks.load.queries import read_queries
from core.errors import TandemError
from core.manifest import Manifest
from core.plan import Plan
from core.releases import ReleaseStore
from engine.fake import FakeEngine
from retrieval.release.loaded import open_release
from retrieval.release.manager import ReleaseManager
from retrieval.server.main import run_server
from retrieval.server.settings import ServeSettings
from tandem.v1 import search_pb2

_WARM_CALLS = 200
_ROUNDS = 5
_SEARCH, _HEALTH = "/tandem.v1.SearchService/Search", "/grpc.health.v1.Health/Check"


def main() -> None:
    """Measures, prints a table and saves the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--releases", type=Path, default=Path("releases"))
    parser.add_argument("--queries", type=Path, default=Path("releases/sample/judgments.parquet"))
    parser.add_argument("--calls", type=int, default=2000, help="of each sort")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    queries = read_queries(options.queries).queries
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=_serve, args=(options.releases, theirs))
    server.start()
    try:
        if not ours.poll(120):
            raise TandemError("the service did not start")
        rows = asyncio.run(_measure(ours.recv(), queries, options.calls))
    finally:
        server.terminate()
        server.join()
    _print(rows)
    print(save("overhead", {"calls": options.calls, "queries": len(queries), "rescored": 32}, rows, options.output))


def _fake(folder: Path, manifest: Manifest, *_: Any) -> FakeEngine:
    return FakeEngine(manifest.snapshot.products)


def _serve(releases: Path, pipe: Connection) -> None:
    async def run() -> None:
        settings = ServeSettings(releases=releases, address="127.0.0.1:0", plan=Plan(lexical_candidates=0))
        manager = ReleaseManager(ReleaseStore(releases), open=partial(open_release, make_engine=_fake))
        async with run_server(settings, manager) as server:
            pipe.send(server.address)
            await asyncio.Event().wait()

    asyncio.run(run())


async def _measure(address: str, queries: list[str], calls: int) -> dict[str, dict[str, float]]:
    """In rounds, one sort after the other, so that a slow moment strikes both."""
    requests = [search_pb2.SearchRequest(query=query, top_k=10).SerializeToString() for query in queries]
    health = health_pb2.HealthCheckRequest().SerializeToString()
    times: dict[str, list[float]] = {"search": [], "health check": []}
    async with grpc.aio.insecure_channel(address) as channel:
        search: Any = channel.unary_unary(_SEARCH)
        check: Any = channel.unary_unary(_HEALTH)
        await _ask(search, requests, _WARM_CALLS)
        for _ in range(_ROUNDS):
            times["search"] += await _ask(search, requests, calls // _ROUNDS)
            times["health check"] += await _ask(check, [health], calls // _ROUNDS)
    rows = {name: latencies(values) for name, values in times.items()}
    over = float(np.median(times["search"]) - np.median(times["health check"])) * 1000
    return rows | {"search less health check": {"p50_ms": round(over, 2)}}


async def _ask(method: Callable[..., Awaitable[bytes]], requests: list[bytes], calls: int) -> list[float]:
    times = []
    for i in range(calls):
        start = time.perf_counter()
        await method(requests[i % len(requests)], timeout=10)
        times.append(time.perf_counter() - start)
    return times


def _print(rows: dict[str, dict[str, float]]) -> None:
    table = Table("", "p50 ms", "p95 ms", "p99 ms")
    for name, row in rows.items():
        table.add_row(name, *(f"{row[key]:.2f}" if key in row else "" for key in ("p50_ms", "p95_ms", "p99_ms")))
    Console().print(table)


if __name__ == "__main__":
    try:
        main()
    except TandemError as error:
        sys.exit(f"tandem: {error}")
