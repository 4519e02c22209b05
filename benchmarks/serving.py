"""Queries/s and latency through the real service, beside the straightforward program, in one run.

    python -m benchmarks.serving [--catalog … --judgments … --encoder … --ranker …] [--seconds 15]

The service runs in a process of its own and is asked over gRPC; the program is called in this process. Both retrieve
the same k and rescore the same depth. Clients ask without pause, each waiting for its answer (closed loop).
"""

import argparse
import asyncio
import itertools
import resource
import sys
import threading
import time
from collections.abc import Iterator

import faiss
import grpc
from rich.console import Console
from rich.table import Table

from benchmarks.common import NO_CACHES, cpu_seconds, latencies, save, serving
from benchmarks.plain import PlainSearch
from benchmarks.shop import BenchShop, add_options, shop_of
from core.errors import TandemError
from core.manifest import Manifest
from indexer.build import EXACT
from indexer.job import INDEX_FILE
from tandem.v1 import search_pb2, search_pb2_grpc

_DEADLINE = 10.0
_CLIENTS = (1, 8)


def main() -> None:
    """Runs both at each number of clients, prints a table and saves the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--seconds", type=float, default=15.0, help="of measuring, for each row")
    parser.add_argument("--depth", type=int, default=32, help="candidates rescored")
    parser.add_argument("--port", type=int, default=50061)
    parser.add_argument("--name", default="serving", help="of the results file")
    options = parser.parse_args()
    shop = shop_of(options)
    manifest = shop.index()
    if manifest.snapshot.index["kind"] != EXACT:
        raise TandemError("the program searches exactly; index with a larger --exact-budget-ms to compare")
    tandem, plain = _tandem(shop, options), _plain(shop, manifest, options)
    rows = {
        f"{name}, {n} clients": found[n] for name, found in (("tandem", tandem), ("plain", plain)) for n in _CLIENTS
    }
    ratios = {
        f"{n} clients": {
            "queries_per_s": round(tandem[n]["queries_per_s"] / plain[n]["queries_per_s"], 2),
            "p50": round(tandem[n]["p50_ms"] / plain[n]["p50_ms"], 3),
        }
        for n in _CLIENTS
    }
    parameters = {"products": manifest.snapshot.products, "index": manifest.snapshot.index["kind"], "top_k": 10}
    parameters |= {
        "candidates": 100,
        "rescored": options.depth,
        "seconds": options.seconds,
        "queries": len(shop.queries),
    }
    _print(rows, ratios)
    print(save(options.name, parameters, {"rows": rows, "tandem_to_plain": ratios}))


def _tandem(shop: BenchShop, options: argparse.Namespace) -> dict[int, dict[str, float]]:
    address = f"127.0.0.1:{options.port}"
    plan = {"TANDEM_SERVE_PLAN__RERANK_DEPTH": str(options.depth), **NO_CACHES}
    with serving(shop.store.root, address, plan) as pid:
        return {n: asyncio.run(_ask(address, shop.queries, n, options.seconds, pid)) for n in _CLIENTS}


async def _ask(address: str, queries: list[str], clients: int, seconds: float, server: int) -> dict[str, float]:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = search_pb2_grpc.SearchServiceStub(channel)
        source = itertools.cycle(queries)
        await asyncio.gather(*(_client(stub, source, time.monotonic() + 2) for _ in range(clients)))
        server_before, client_before = cpu_seconds(server), resource.getrusage(resource.RUSAGE_SELF)
        start = time.monotonic()
        answers = await asyncio.gather(*(_client(stub, source, start + seconds) for _ in range(clients)))
        took = time.monotonic() - start
    times = [entry for part in answers for entry in part]
    used = resource.getrusage(resource.RUSAGE_SELF)
    client_cpu = used.ru_utime + used.ru_stime - client_before.ru_utime - client_before.ru_stime
    return {
        **_row(times, took),
        "server_cpu_cores": round((cpu_seconds(server) - server_before) / took, 2),
        "client_cpu_cores": round(client_cpu / took, 2),
    }


async def _client(stub: search_pb2_grpc.SearchServiceStub, source: Iterator[str], until: float) -> list[float]:
    times = []
    while (start := time.monotonic()) < until:
        answer = await stub.Search(search_pb2.SearchRequest(query=next(source), top_k=10), timeout=_DEADLINE)
        if answer.degraded:
            raise TandemError(f"an answer was degraded: {answer.degraded[0].detail}")
        times.append(time.monotonic() - start)
    return times


def _plain(shop: BenchShop, manifest: Manifest, options: argparse.Namespace) -> dict[int, dict[str, float]]:
    folder = shop.store.path(manifest.catalog, manifest.release_id)
    index = faiss.read_index(str(folder / INDEX_FILE))
    vectors = index.reconstruct_n(0, index.ntotal)  # the same vectors, so that both search the same
    program = PlainSearch(shop.encoder_checkpoint, shop.ranker_checkpoint, shop.texts(manifest), vectors)
    return {n: _call(program, shop.queries, n, options) for n in _CLIENTS}


def _call(program: PlainSearch, queries: list[str], clients: int, options: argparse.Namespace) -> dict[str, float]:
    source, lock = itertools.cycle(queries), threading.Lock()
    times: list[float] = []

    def client(until: float, keep: list[float]) -> None:
        while (start := time.monotonic()) < until:
            with lock:
                query = next(source)
            program.search(query, 100, options.depth)
            keep.append(time.monotonic() - start)

    for keep, seconds in (([], 2.0), (times, options.seconds)):
        start = time.monotonic()
        threads = [threading.Thread(target=client, args=(start + seconds, keep)) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.monotonic() - start
    return _row(times, took)


def _row(times: list[float], took: float) -> dict[str, float]:
    return {"queries_per_s": round(len(times) / took, 2), **latencies(times)}


def _print(rows: dict[str, dict[str, float]], ratios: dict[str, dict[str, float]]) -> None:
    table = Table("", "queries/s", "p50 ms", "p95 ms", "p99 ms")
    for name, row in rows.items():
        table.add_row(name, *(f"{row[key]:.1f}" for key in ("queries_per_s", "p50_ms", "p95_ms", "p99_ms")))
    console = Console()
    console.print(table)
    for name, ratio in ratios.items():
        console.print(
            f"tandem to plain at {name}: {ratio['queries_per_s']} times the queries/s, {ratio['p50']} of the p50"
        )


if __name__ == "__main__":
    try:
        main()
    except TandemError as error:
        sys.exit(f"tandem: {error}")
