"""What being watched costs: a service with metrics, traces, request log and probes beside one without.

    python -m benchmarks.monitoring --releases releases --queries judgments.parquet [--rounds 12 --seconds 4]

Both services run over the same release, each alone in turn under the same load, in pairs of rounds whose order
alternates; a ratio is of the two rounds of a pair. With caches, after the first round nothing is computed any more, so
that what is noted of a request counts most. `watched` is scraped once a second, which is fifteen times as often as
usual, and logs, traces and probes one request in a hundred each. Queries/s and processor time are compared.
"""

import argparse
import asyncio
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path
from threading import Event, Thread
from typing import Any

import grpc
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.common import NO_CACHES, RESULTS, cpu_seconds, free_address, save, serving
from benchmarks.load.queries import read_queries
from core.errors import TandemError
from tandem.v1 import search_pb2, search_pb2_grpc

_CLIENTS = 6
_SCRAPE_SECONDS = 1.0
_SHARE = "0.01"
_NOWHERE = "http://127.0.0.1:9"  # a receiver that is gone: spans are made and dropped


def main() -> None:
    """Measures, prints a table and saves the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--releases", type=Path, default=Path("releases"))
    parser.add_argument("--queries", type=Path, default=Path("releases/sample/judgments.parquet"))
    parser.add_argument("--rounds", type=int, default=12, help="pairs of rounds")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each round")
    parser.add_argument("--different", type=int, default=200, help="different queries")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    queries = read_queries(options.queries).queries[: options.different]
    rows = {
        name: _compare(options.releases, queries, environment, options.rounds, options.seconds)
        for name, environment in (("with caches", {}), ("without caches", NO_CACHES))
    }
    _show(rows)
    parameters = {
        "queries": len(queries),
        "rounds": options.rounds,
        "seconds": options.seconds,
        "clients": _CLIENTS,
        "share": float(_SHARE),
    }
    save("monitoring", parameters, rows, options.output)


def _compare(
    releases: Path, queries: list[str], environment: dict[str, str], rounds: int, seconds: float
) -> dict[str, Any]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        plain, watched, metrics = free_address(), free_address(), free_address()
        watching = {
            "TANDEM_SERVE_METRICS_ADDRESS": metrics,
            "TANDEM_SERVE_LOG_FORMAT": "json",
            "TANDEM_SERVE_REQUEST_LOG": _SHARE,
            "TANDEM_SERVE_TRACE_ENDPOINT": _NOWHERE,
            "TANDEM_SERVE_TRACE_SHARE": _SHARE,
            "TANDEM_SERVE_PROBE_SHARE": _SHARE,
        }
        services = {
            "plain": (plain, stack.enter_context(serving(releases, plain, environment))),
            "watched": (
                watched,
                stack.enter_context(serving(releases, watched, environment | watching, folder / "log")),
            ),
        }
        stack.enter_context(_scraping(metrics))
        measured: dict[str, list[tuple[float, float]]] = {name: [] for name in services}
        for number in range(-1, rounds):
            for name in sorted(services, reverse=bool(number % 2)):
                address, pid = services[name]
                figures = asyncio.run(_ask(address, pid, queries, seconds))
                if number >= 0:  # the first fills caches
                    measured[name].append(figures)
        return _figures(measured)


@contextmanager
def _scraping(address: str) -> Iterator[None]:
    """Scrapes every second while the block runs, from a thread."""
    ended = Event()

    def scrape() -> None:
        while not ended.wait(_SCRAPE_SECONDS):
            urllib.request.urlopen(f"http://{address}/metrics", timeout=10).read()

    thread = Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


async def _ask(address: str, pid: int, queries: list[str], seconds: float) -> tuple[float, float]:
    """Answers a second, and processor seconds of each, of a closed loop of clients. Raises TandemError for failures."""
    texts = cycle(queries)
    answered, failed = 0, 0
    async with grpc.aio.insecure_channel(address) as channel:
        stub = search_pb2_grpc.SearchServiceStub(channel)
        until = time.monotonic() + seconds

        async def client() -> None:
            nonlocal answered, failed
            while time.monotonic() < until:
                try:
                    await stub.Search(search_pb2.SearchRequest(query=next(texts), top_k=10), timeout=10)
                    answered += 1
                except grpc.aio.AioRpcError:
                    failed += 1

        before, began = cpu_seconds(pid), time.monotonic()
        await asyncio.gather(*(client() for _ in range(_CLIENTS)))
        took, used = time.monotonic() - began, cpu_seconds(pid) - before
    if failed > answered / 100 or not answered:
        raise TandemError(f"{failed} of {failed + answered} calls failed; the figures would mean nothing")
    return answered / took, used / answered


def _figures(measured: dict[str, list[tuple[float, float]]]) -> dict[str, Any]:
    plain, watched = (np.array(measured[name]) for name in ("plain", "watched"))
    rates, processor = (watched / plain).T
    low, high = np.percentile(rates, [25, 75])
    return {
        "plain_per_s": round(float(np.median(plain[:, 0])), 1),
        "watched_per_s": round(float(np.median(watched[:, 0])), 1),
        "rate_ratio": round(float(np.median(rates)), 4),
        "rate_ratio_quartiles": [round(float(low), 4), round(float(high), 4)],
        "processor_ratio": round(float(np.median(processor)), 4),
        "plain_processor_ms": round(float(np.median(plain[:, 1])) * 1000, 3),
        "watched_processor_ms": round(float(np.median(watched[:, 1])) * 1000, 3),
    }


def _show(rows: dict[str, dict[str, Any]]) -> None:
    table = Table("load", "plain/s", "watched/s", "ratio", "quartiles", "processor ratio", "processor ms")
    for name, row in rows.items():
        quartiles = " to ".join(f"{value:.3f}" for value in row["rate_ratio_quartiles"])
        processor = f"{row['plain_processor_ms']:.2f} to {row['watched_processor_ms']:.2f}"
        figures = (f"{row['plain_per_s']:.1f}", f"{row['watched_per_s']:.1f}", f"{row['rate_ratio']:.3f}", quartiles)
        table.add_row(name, *figures, f"{row['processor_ratio']:.3f}", processor)
    Console().print(table)


if __name__ == "__main__":
    main()
