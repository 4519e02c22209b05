"""How soon changed products are found, and what searches notice of it.

    python -m benchmarks.live --releases releases --queries judgments.parquet [--rate 50] [--seconds 10] [--rounds 3]

Two services, each in a process of its own, serve a copy of the releases and follow one change log. Searches go to the
first at half of what it can answer, sent when they are due. Quiet rounds and rounds with upserts take turns, so that
each pair sees the same machine; upserts add products and replace the texts of others (`--texts`: of a share of them,
while the rest changes prices alone), and their segments are merged meanwhile. An upsert counts as searchable in the
same process when it is acknowledged, which is when searches see it; in the other one, when a search that asks for its
revision is answered there. Without `--rerank` nothing is rescored.
"""

import argparse
import asyncio
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from benchmarks.common import NO_CACHES, RESULTS, cpu_seconds, free_address, latencies, save, serving
from benchmarks.load.queries import read_queries
from benchmarks.load.raw import RawConnection
from benchmarks.load.schedule import Arrivals, due_times
from core.releases import ReleaseStore
from tandem.client import AsyncSearchClient, ProductUpsert, SearchRequest, UpsertRequest
from tandem.v1 import search_pb2

_METHOD = "/tandem.v1.SearchService/Search"
_PAUSE = 0.0005
_DEADLINE = 5.0
_WARM_SECONDS = 4.0
_WIDTH = 120
_PROBED = 25  # one of so many upserts is searched for in the other process: searches there take time from those here
_LEFT_OUT = ("price_micros", "currency", "attributes")  # of the rows that change prices
_AT_ONCE = 8  # calls, to find what can be answered


@dataclass(slots=True)
class Changes:
    """Products to send, endlessly, and how long each took to be searchable, in seconds."""

    products: Iterator[ProductUpsert]
    same: list[float] = field(default_factory=list)
    other: list[float] = field(default_factory=list)
    failed: int = 0


def main() -> None:
    """Measures, prints a table and saves the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--releases", type=Path, default=Path("releases"))
    parser.add_argument("--queries", type=Path, default=Path("releases/sample/judgments.parquet"))
    parser.add_argument("--rate", type=float, default=50.0, help="upserts a second")
    parser.add_argument(
        "--texts", type=float, default=1.0, help="share of upserts with a new text; others change prices"
    )
    parser.add_argument("--load", type=float, default=0.5, help="searches, as a share of what can be answered")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each round")
    parser.add_argument("--rounds", type=int, default=3, help="pairs of a quiet round and one with upserts")
    parser.add_argument("--rerank", type=int, default=0, help="candidates to rescore")
    parser.add_argument("--name", default="live", help="of the file of results")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    queries = read_queries(options.queries).queries
    environment = {**NO_CACHES, "TANDEM_SERVE_PLAN__RERANK_DEPTH": str(options.rerank)}
    addresses = free_address(), free_address()
    with tempfile.TemporaryDirectory() as folder:
        releases = Path(folder) / "releases"
        shutil.copytree(options.releases, releases, symlinks=True)
        with serving(releases, addresses[0], environment) as server, serving(releases, addresses[1], environment):
            changes = Changes(_products(ReleaseStore(releases), options.texts))
            rows = _measure(options, addresses, queries, server, changes)
    _print(rows)
    names = ("rate", "texts", "load", "seconds", "rounds", "rerank")
    parameters = {name: getattr(options, name) for name in names} | {"queries": len(queries)}
    print(save(options.name, parameters, rows, options.output))


def _measure(
    options: argparse.Namespace, addresses: tuple[str, str], queries: list[str], server: int, changes: Changes
) -> dict[str, Any]:
    messages = cycle(search_pb2.SearchRequest(query=query, top_k=10).SerializeToString() for query in queries)
    capacity = _capacity(addresses[0], messages)
    quiet: list[float] = []
    changing: list[float] = []
    cores = []
    for number in range(options.rounds):
        quiet += _search(addresses[0], messages, options.load * capacity, options.seconds, 2 * number)
        stop = threading.Event()
        sender = threading.Thread(target=_send, args=(addresses, changes, options.rate, options.seconds, stop))
        before = cpu_seconds(server)
        sender.start()
        changing += _search(addresses[0], messages, options.load * capacity, options.seconds, 2 * number + 1)
        cores.append((cpu_seconds(server) - before) / options.seconds)
        stop.set()
        sender.join()
    rows = {
        "searches, quiet": {"searches_per_s": round(options.load * capacity, 1)} | latencies(quiet),
        "searches, upserting": {"searches_per_s": round(options.load * capacity, 1)} | latencies(changing),
        "upsert to searchable, same process": {"upserts": len(changes.same), **latencies(changes.same)},
        "upsert to searchable, another process": {"upserts": len(changes.other), **latencies(changes.other)},
        "paired": {
            "p95_ratio": round(float(np.percentile(changing, 95) / np.percentile(quiet, 95)), 3),
            "p50_ratio": round(float(np.percentile(changing, 50) / np.percentile(quiet, 50)), 3),
            "p99_ratio": round(float(np.percentile(changing, 99) / np.percentile(quiet, 99)), 3),
            "failed_upserts": changes.failed,
            "capacity_per_s": round(capacity, 1),
            "server_cores": round(float(np.mean(cores)), 2),
        },
    }
    return rows


def _capacity(address: str, messages: Iterator[bytes]) -> float:
    """Answers a second at best, with as many calls at once as have places."""
    answered = 0
    for seconds in (_WARM_SECONDS / 2, _WARM_SECONDS):  # the first warms the service
        connection = RawConnection(address, _METHOD)
        start = time.monotonic()
        while time.monotonic() < start + seconds:
            while len(connection.open) < _AT_ONCE:
                connection.call(next(messages), _DEADLINE)
            _turn(connection)
        answered = sum(call.code == 0 for call in connection.calls.values())
        connection.close()
    return answered / _WARM_SECONDS


def _search(address: str, messages: Iterator[bytes], rate: float, seconds: float, seed: int) -> list[float]:
    """Searches when they are due; the seconds from then until each was answered."""
    connection = RawConnection(address, _METHOD)
    due = due_times(rate, seconds, Arrivals.POISSON, seed).tolist()[::-1]
    start = time.monotonic()
    while due or connection.open:
        now = time.monotonic() - start
        while due and due[-1] <= now:
            connection.call(next(messages), _DEADLINE, start + due.pop())
        _turn(connection)
        if now > seconds + _DEADLINE:
            break
    connection.close()
    return [call.done - call.sent if call.code == 0 else _DEADLINE for call in connection.calls.values()]


def _turn(connection: RawConnection) -> None:
    connection.write()
    connection.read()
    time.sleep(_PAUSE)


def _send(addresses: tuple[str, str], changes: Changes, rate: float, seconds: float, stop: threading.Event) -> None:
    asyncio.run(_send_all(addresses, changes, rate, seconds, stop))


async def _send_all(
    addresses: tuple[str, str], changes: Changes, rate: float, seconds: float, stop: threading.Event
) -> None:
    """Upserts at even times, whether or not others were acknowledged."""
    async with AsyncSearchClient(addresses[0], 30) as client, AsyncSearchClient(addresses[1], 30) as other:
        start = time.monotonic()
        tasks: list[asyncio.Task[None]] = []
        for due in due_times(rate, seconds, Arrivals.CONSTANT, 0).tolist():
            await asyncio.sleep(max(0.0, start + due - time.monotonic()))
            if stop.is_set():
                break
            tasks.append(
                asyncio.create_task(_change(client, other, changes, start + due, probe=len(tasks) % _PROBED == 0))
            )
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            changes.failed += isinstance(outcome, BaseException)


async def _change(
    client: AsyncSearchClient, other: AsyncSearchClient, changes: Changes, due: float, probe: bool
) -> None:
    answer = await client.upsert(UpsertRequest(products=[next(changes.products)]))
    changes.same.append(time.monotonic() - due)
    if probe:
        await other.search(SearchRequest(query="lamp", top_k=1, least_revision=answer.revision))
        changes.other.append(time.monotonic() - due)


def _products(store: ReleaseStore, texts: float) -> Iterator[ProductUpsert]:
    """By turns a new product and another text for one that is there, of the catalog's own titles; where the share of
    texts leaves room, another price for one that is there."""
    [catalog] = store.catalogs()
    served = store.in_service(catalog)
    assert served is not None, "the releases have one in service"
    with pa.memory_map(str(store.path(catalog, served.release_id) / "products.arrow")) as file:
        table = pa.ipc.open_file(file).read_all()
        columns = {name: table.column(name).to_pylist() for name in table.column_names if name not in _LEFT_OUT}
    random = np.random.default_rng(7)
    number = 0
    while True:
        place, target = (int(random.integers(len(table))) for _ in range(2))
        price = f"{random.integers(1, 500)}.00"
        if random.random() < texts:
            number += 1
            name = f"new-{number}" if number % 2 else columns["id"][target]
            row = {"title": f"{columns['title'][place]} series {number}"}
        else:
            name = columns["id"][target]
            row = {column: values[target] for column, values in columns.items() if values[target] is not None}
        upsert = ProductUpsert(product_id=name)
        upsert.row.update({**row, "price": price})
        yield upsert


def _print(rows: dict[str, Any]) -> None:
    table = Table("", "calls", "p50 ms", "p95 ms", "p99 ms")
    for name, row in rows.items():
        if name != "paired":
            calls = row.get("upserts", row.get("searches_per_s"))
            table.add_row(name, str(calls), *(f"{row[key]:.1f}" for key in ("p50_ms", "p95_ms", "p99_ms")))
    console = Console(width=_WIDTH)
    console.print(table)
    console.print(", ".join(f"{name} {value}" for name, value in rows["paired"].items()))


if __name__ == "__main__":
    main()
