"""Whether a service that does everything at once for half an hour keeps its memory, its open files and its threads.

    python -m benchmarks.soak --releases releases --queries judgments.parquet [--minutes 30]

The service runs in a process of its own over a copy of the releases. Callers use every method: searches, suggestions,
batches, lists for people, profiles, upserts, updates, deletes, streams of changes, health and reflection. Meanwhile two
releases of the same content take turns. Once a second the service's memory, descriptors and threads are read; while a
release replaces another, both are there, so the least of each minute counts. What these grow by in an hour is fitted to
what was read after the first half, when caches and allocators hold what they will hold. Nothing folds the changes into
a release, so the requests that are remembered, up to 100,000, grow with them. Answers are counted by method and status.
"""

import argparse
import asyncio
import itertools
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
from google.protobuf.struct_pb2 import Struct
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from rich.console import Console
from rich.table import Table

from benchmarks.common import RESULTS, free_address, latencies, save, serving
from benchmarks.load.queries import read_queries
from core.errors import TandemError
from core.releases import ReleaseStore
from retrieval.server.settings import PROFILES_FOLDER, TRITON_FOLDER
from tandem.client import AsyncSearchClient, SearchError
from tandem.v1 import catalog_pb2, catalog_pb2_grpc, recommend_pb2, search_pb2

_PRODUCTS, _SHOPPERS = 200, 100  # that change, and that have profiles: the same again and again
_BATCH = 8
_CHANGES = {"upsert": 1, "update": 1, "delete": 1, "change": _BATCH}  # that a call of each kind is
_DEADLINE = 10.0
_SETTLED = 1 / 2  # of the time, after which growth counts
_REST = 60.0  # seconds, of which the least counts: longer than a swap takes
# Tasks of each kind and the pause between two of its calls, in seconds: searches fill what the others leave.
_CALLERS = {
    "search": (3, 0.0),
    "suggest": (1, 0.05),
    "batch": (1, 0.2),
    "recommend": (1, 0.1),
    "forget": (1, 2.0),
    "upsert": (1, 0.3),
    "update": (1, 0.1),
    "delete": (1, 0.5),
    "change": (1, 1.0),
    "health": (1, 0.2),
    "reflection": (1, 1.0),
    "wrong": (1, 0.2),
}


def main() -> None:
    """Measures, prints a table and saves the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--releases", type=Path, default=Path("releases"))
    parser.add_argument("--queries", type=Path, default=Path("releases/sample/judgments.parquet"))
    parser.add_argument("--catalog", default="default")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--swap-seconds", type=float, default=20.0, help="between two swaps")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    queries = read_queries(options.queries).queries
    with tempfile.TemporaryDirectory() as folder:
        store = ReleaseStore(Path(folder) / "releases")
        shutil.copytree(options.releases, store.root, ignore=shutil.ignore_patterns(TRITON_FOLDER, PROFILES_FOLDER))
        address = free_address()
        with serving(store.root, address, {"TANDEM_SERVE_DEFAULT_DEADLINE": str(_DEADLINE)}) as server:
            results = asyncio.run(_Soak(store, options.catalog, address, server, queries).run(options))
    _print(results)
    parameters = {"minutes": options.minutes, "swap_seconds": options.swap_seconds, "queries": len(queries)}
    print(save("soak", parameters, results, options.output))


class _Soak:
    """The callers of one service, what came of their calls, and what the service took meanwhile."""

    def __init__(self, store: ReleaseStore, catalog: str, address: str, server: int, queries: list[str]) -> None:
        self._store, self._catalog, self._address, self._queries = store, catalog, address, queries
        self._process = psutil.Process(server)
        self._chance = random.Random(0)
        self._statuses: dict[str, Counter[str]] = {name: Counter() for name in _CALLERS}
        self._seconds: list[float] = []
        self._releases: Counter[str] = Counter()
        self._samples: list[tuple[float, float, int, int]] = []
        self._swaps = 0
        self._calls: dict[str, Callable[[AsyncSearchClient], Awaitable[str]]] = {
            name: getattr(self, f"_{name}") for name in _CALLERS
        }

    async def run(self, options: argparse.Namespace) -> dict[str, Any]:
        """What was measured."""
        tasks = [
            asyncio.create_task(self._caller(name, pause))
            for name, (count, pause) in _CALLERS.items()
            for _ in range(count)
        ]
        tasks += [asyncio.create_task(self._swap(options.swap_seconds)), asyncio.create_task(self._sample())]
        done, _ = await asyncio.wait(tasks, timeout=60 * options.minutes, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            task.cancel()
        for task in done:
            task.result()  # what failed raises
        await asyncio.gather(*tasks, return_exceptions=True)
        return self._results()

    async def _caller(self, name: str, pause: float) -> None:
        loop = asyncio.get_running_loop()
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with AsyncSearchClient(self._address, _DEADLINE, options=options) as client:
            while True:
                began = loop.time()
                try:
                    status = await self._calls[name](client)
                except SearchError as error:
                    status = error.code.name
                except grpc.aio.AioRpcError as error:
                    status = error.code().name
                self._statuses[name][status] += 1
                if name == "search":
                    self._seconds.append(loop.time() - began)
                await asyncio.sleep(pause)

    async def _search(self, client: AsyncSearchClient) -> str:
        answer = await client.search(self._request(top_k=10))
        self._releases[answer.release_id] += 1
        return "OK" if not answer.degraded else "degraded"

    async def _suggest(self, client: AsyncSearchClient) -> str:
        await client.suggest(search_pb2.SuggestRequest(prefix=self._query()[:4], catalog=self._catalog))
        return "OK"

    async def _batch(self, client: AsyncSearchClient) -> str:
        answers = [answer async for answer in client.search_many([self._request() for _ in range(_BATCH)])]
        return "OK" if all(answer.WhichOneof("result") == "response" for answer in answers) else "error in a batch"

    async def _recommend(self, client: AsyncSearchClient) -> str:
        user = search_pb2.UserContext(user_id=self._shopper(), remember=True)
        user.products.add(product_id=self._product())
        await client.recommend(recommend_pb2.RecommendRequest(user=user, catalog=self._catalog))
        return "OK"

    async def _forget(self, client: AsyncSearchClient) -> str:
        await client.forget_user(self._shopper())
        return "OK"

    async def _upsert(self, client: AsyncSearchClient) -> str:
        await client.upsert(self._upserted())
        return "OK"

    async def _update(self, client: AsyncSearchClient) -> str:
        update = catalog_pb2.FieldsUpdate(product_id=self._product())
        update.fields.update({"price": f"{self._chance.randrange(1, 99)}.50"})
        await client.update_fields(catalog_pb2.UpdateFieldsRequest(products=[update], catalog=self._catalog))
        return "OK"

    async def _delete(self, client: AsyncSearchClient) -> str:
        gone = catalog_pb2.ProductDelete(product_id=self._product())
        await client.delete(catalog_pb2.DeleteRequest(products=[gone], catalog=self._catalog))
        return "OK"

    async def _change(self, _: AsyncSearchClient) -> str:
        async def requests() -> AsyncIterator[catalog_pb2.ChangeRequest]:
            for _ in range(_BATCH):
                yield catalog_pb2.ChangeRequest(upsert=self._upserted())

        async with grpc.aio.insecure_channel(self._address) as channel:
            answers = catalog_pb2_grpc.CatalogServiceStub(channel).Change(requests(), timeout=_DEADLINE)
            failed = [answer async for answer in answers if answer.HasField("error")]
        return "error in a stream" if failed else "OK"

    async def _health(self, _: AsyncSearchClient) -> str:
        async with grpc.aio.insecure_channel(self._address) as channel:
            await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=_DEADLINE)
        return "OK"

    async def _reflection(self, _: AsyncSearchClient) -> str:
        request = reflection_pb2.ServerReflectionRequest(file_containing_symbol="tandem.v1.SearchService")
        async with grpc.aio.insecure_channel(self._address) as channel:
            stub = reflection_pb2_grpc.ServerReflectionStub(channel)
            [answer] = [each async for each in stub.ServerReflectionInfo(iter([request]), timeout=_DEADLINE)]
        return "OK" if answer.HasField("file_descriptor_response") else "no descriptors"

    async def _wrong(self, client: AsyncSearchClient) -> str:
        try:
            await client.search(search_pb2.SearchRequest(query="x" * 600, top_k=-1, catalog=self._catalog))
        except SearchError as error:
            return "OK" if error.code is grpc.StatusCode.INVALID_ARGUMENT else error.code.name
        return "not refused"

    def _request(self, **fields: Any) -> search_pb2.SearchRequest:
        return search_pb2.SearchRequest(query=self._query(), catalog=self._catalog, **fields)

    def _query(self) -> str:
        return self._chance.choice(self._queries)

    def _shopper(self) -> str:
        return f"shopper {self._chance.randrange(_SHOPPERS)}"

    def _product(self) -> str:
        return f"soak-{self._chance.randrange(_PRODUCTS)}"

    def _upserted(self) -> catalog_pb2.UpsertRequest:
        name = self._product()
        row = Struct()
        row.update({"id": name, "title": f"{self._query()} {name}", "price": "9.99"})
        return catalog_pb2.UpsertRequest(products=[catalog_pb2.ProductUpsert(row=row)], catalog=self._catalog)

    async def _swap(self, pause: float) -> None:
        first = self._store.in_service(self._catalog)
        if first is None:
            raise TandemError(f"catalog {self._catalog!r} has no release")
        twin = f"{first.release_id[:-8]}{(int(first.release_id[-8:], 16) + 1) % (1 << 32):08x}"
        await asyncio.to_thread(self._store.publish, first.model_copy(update={"release_id": twin}))
        for release in itertools.cycle((first.release_id, twin)):
            await asyncio.sleep(pause)
            await asyncio.to_thread(self._store.point, self._catalog, release)
            self._swaps += 1

    async def _sample(self) -> None:
        began = time.monotonic()
        while True:
            with suppress(psutil.ZombieProcess):
                with self._process.oneshot():
                    taken = (self._process.memory_info().rss, self._process.num_fds(), self._process.num_threads())
                self._samples.append((time.monotonic() - began, *taken))
            await asyncio.sleep(1)

    def _results(self) -> dict[str, Any]:
        times, memory, descriptors, threads = np.array(self._samples, float).T
        taken = {"mib": memory / 2**20, "descriptors": descriptors, "threads": threads}
        settled = times >= _SETTLED * times[-1]
        rests = {name: _rests(times[settled], values[settled]) for name, values in taken.items()}
        growth = {name: _slope(*np.array(values).T) * 3600 for name, values in rests.items()}
        middle = len(self._seconds) // 2
        return {
            "growth_an_hour": {name: round(value, 2) for name, value in growth.items()},
            "memory_mib": _ends(rests["mib"]),
            "descriptors": _ends(rests["descriptors"]),
            "threads": _ends(rests["threads"]),
            "most_memory_mib": round(float(taken["mib"].max()), 1),
            "changes": sum(self._statuses[name]["OK"] * each for name, each in _CHANGES.items()),
            "swaps": self._swaps,
            "releases_that_answered": len(self._releases),
            "first_half": latencies(self._seconds[:middle]),
            "second_half": latencies(self._seconds[middle:]),
            "calls": {name: dict(counts) for name, counts in self._statuses.items()},
        }


def _rests(times: np.ndarray, values: np.ndarray) -> list[tuple[float, float]]:
    """The least value of each minute, and when that began."""
    minutes = (times - times[0]) // _REST
    return [(float(times[minutes == each][0]), float(values[minutes == each].min())) for each in np.unique(minutes)]


def _slope(times: np.ndarray, values: np.ndarray) -> float:
    """By how much values grow in a second: the median of what each pair of moments says, which outliers do not move."""
    first, second = np.triu_indices(len(times), 1)
    return float(np.median((values[second] - values[first]) / (times[second] - times[first]))) if len(first) else 0.0


def _ends(rests: list[tuple[float, float]]) -> dict[str, float]:
    return {"first": round(rests[0][1], 1), "last": round(rests[-1][1], 1)}


def _print(results: dict[str, Any]) -> None:
    table = Table("", "after half the time", "at the end", "growth an hour")
    growth = results["growth_an_hour"]
    for name, key in (("memory, MiB", "mib"), ("descriptors", "descriptors"), ("threads", "threads")):
        ends = results["memory_mib" if key == "mib" else key]
        table.add_row(name, str(ends["first"]), str(ends["last"]), str(growth[key]))
    console = Console(width=120)
    console.print(table)
    console.print({name: results[name] for name in ("swaps", "first_half", "second_half", "calls")})


if __name__ == "__main__":
    try:
        main()
    except TandemError as error:
        sys.exit(f"tandem: {error}")
