"""What the caches bring on a Zipf-shaped log of real queries: one service with them and one without, in one run.

    python -m benchmarks.caches --releases releases --queries judgments.parquet [--exponent 1 --fill 10000 --seconds 20]

Clients ask without pause, each waiting for its answer (closed loop). The service with caches first answers `fill`
calls, as one does that has run for a while; its speed meanwhile is reported as well. The one without is measured
before and after it, and its mean rate counts, since machines have moods.
"""

import argparse
import asyncio
import itertools
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.common import NO_CACHES, RESULTS, cpu_seconds, free_address, latencies, save, serving
from benchmarks.load.queries import ALL, QueryLog, read_queries
from core.errors import TandemError
from tandem.v1 import search_pb2, search_pb2_grpc

_DEADLINE = 10.0
_WARM_CALLS = 50
_HIT_RATES = re.compile(
    r"caches: query vectors: ([\d.]+) of .*; candidates: ([\d.]+) of .*; rerank scores: ([\d.]+) of"
)


def main() -> None:
    """Runs both, prints a table and saves the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--releases", type=Path, default=Path("releases"))
    parser.add_argument("--queries", type=Path, default=Path("releases/sample/judgments.parquet"))
    parser.add_argument("--split", default=ALL, help="of the judgments")
    parser.add_argument("--exponent", type=float, default=1.0, help="of Zipf's law")
    parser.add_argument("--fill", type=int, default=10_000, help="calls before measuring, with caches")
    parser.add_argument("--seconds", type=float, default=20.0, help="of measuring, for each row")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--name", default="caches", help="of the results file")
    options = parser.parse_args()
    log = read_queries(options.queries, options.split).skewed(options.exponent)
    sequence = log.draw(options.fill + 1_000_000, 0)
    results = _compare(log, sequence, options)
    parameters = {name: value for name, value in vars(options).items() if name not in ("releases", "output", "name")}
    parameters["queries"] = options.queries.name
    _print(results)
    print(save(options.name, parameters | {"different_queries": len(log.queries)}, results, options.output))


def _compare(log: QueryLog, sequence: np.ndarray, options: argparse.Namespace) -> dict[str, Any]:
    before = _without(log, sequence, options)
    cached = _with(log, sequence, options)
    after = _without(log, sequence, options)
    ratios = {}
    for name in ("filling", "with"):
        rate, plain = (cached[name]["queries_per_s"], (before["queries_per_s"] + after["queries_per_s"]) / 2)
        ratios[name] = round(rate / plain, 2)
        # Of processor time: where others use the machine, the one may get less of it than the other.
        ratios[f"{name}, for each core"] = round(
            _per_core(cached[name]) / ((_per_core(before) + _per_core(after)) / 2), 2
        )
    return {
        "without": [before, after],
        **cached,
        "ratio": ratios,
        "seen_before_share": round(_seen_before(sequence, options.fill, cached["with"]["queries"]), 3),
    }


def _per_core(row: dict[str, float]) -> float:
    return row["queries_per_s"] / row["server_cores"]


def _without(log: QueryLog, sequence: np.ndarray, options: argparse.Namespace) -> dict[str, float]:
    address = free_address()
    with serving(options.releases, address, NO_CACHES) as pid:
        asyncio.run(_ask(address, log, itertools.islice(sequence, _WARM_CALLS), options.clients, None, pid))
        source = itertools.islice(sequence, options.fill, None)  # the calls that the other is measured on
        return asyncio.run(_ask(address, log, source, options.clients, options.seconds, pid))


def _with(log: QueryLog, sequence: np.ndarray, options: argparse.Namespace) -> dict[str, Any]:
    address = free_address()
    with tempfile.TemporaryDirectory() as folder:
        log_file = Path(folder) / "log"
        with serving(options.releases, address, {}, log_file) as pid:
            source = iter(sequence)
            fill = itertools.islice(source, options.fill)
            filling = asyncio.run(_ask(address, log, fill, options.clients, None, pid))
            measured = asyncio.run(_ask(address, log, source, options.clients, options.seconds, pid))
        match = _HIT_RATES.search(log_file.read_text())
    if match is None:
        raise TandemError("the service did not log its hit rates when it drained")
    hits = {name: float(match[i]) for i, name in enumerate(("vectors", "candidates", "scores"), 1)}
    return {"filling": filling, "with": measured, "hit_rates": hits}


async def _ask(
    address: str, log: QueryLog, source: Iterator[int], clients: int, seconds: float | None, server: int
) -> dict[str, float]:
    """Asks for so many seconds, or all there is."""
    start, theirs, ours = time.monotonic(), cpu_seconds(server), time.process_time()
    until = start + seconds if seconds is not None else float("inf")
    async with grpc.aio.insecure_channel(address) as channel:
        stub = search_pb2_grpc.SearchServiceStub(channel)
        parts = await asyncio.gather(*(_client(stub, log, source, until) for _ in range(clients)))
    took, times = time.monotonic() - start, [entry for part in parts for entry in part]
    return {
        "queries": len(times),
        "queries_per_s": round(len(times) / took, 2),
        **latencies(times),
        "server_cores": round((cpu_seconds(server) - theirs) / took, 2),
        "client_cores": round((time.process_time() - ours) / took, 2),
    }


async def _client(
    stub: search_pb2_grpc.SearchServiceStub, log: QueryLog, source: Iterator[int], until: float
) -> list[float]:
    times = []
    while (start := time.monotonic()) < until and (place := next(source, None)) is not None:
        answer = await stub.Search(search_pb2.SearchRequest(query=log.queries[place], top_k=10), timeout=_DEADLINE)
        if answer.degraded:
            raise TandemError(f"an answer was degraded: {answer.degraded[0].detail}")
        times.append(time.monotonic() - start)
    return times


def _seen_before(sequence: np.ndarray, fill: int, calls: int) -> float:
    """The share of the measured calls whose query had been sent before: the hit rate of unbounded caches."""
    first = np.zeros(fill + calls, bool)
    first[np.unique(sequence[: fill + calls], return_index=True)[1]] = True
    return float(1 - first[fill:].mean())


def _print(results: dict[str, Any]) -> None:
    table = Table("", "queries/s", "p50 ms", "p95 ms", "p99 ms", "server", "client")
    names = ["without", "with, from empty", "with", "without again"]
    rows = [results["without"][0], results["filling"], results["with"], results["without"][1]]
    keys = ("queries_per_s", "p50_ms", "p95_ms", "p99_ms", "server_cores", "client_cores")
    for name, row in zip(names, rows, strict=True):
        table.add_row(name, *(f"{row[key]:.2f}" for key in keys))
    console = Console()
    console.print(table)
    ratios = results["ratio"]
    console.print(f"{ratios['with']} times the queries/s ({ratios['filling']} while filling)")
    console.print(f"{ratios['with, for each core']} times the queries for each second of the server's processor time")
    console.print(f"hit rates since the start: {results['hit_rates']}; sent before: {results['seen_before_share']}")


if __name__ == "__main__":
    try:
        main()
    except TandemError as error:
        sys.exit(f"tandem: {error}")
