"""Two serving processes scraped while calls of all kinds are made: what is counted is what was called."""

import asyncio
import collections
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from scrapes import Samples, scrape
from shops import process

from benchmarks.common import free_address
from core.releases import ReleaseStore
from retrieval.telemetry.names import METRICS, exposed_names
from tandem.v1 import (
    catalog_pb2,
    catalog_pb2_grpc,
    recommend_pb2,
    recommend_pb2_grpc,
    search_pb2,
    search_pb2_grpc,
)

# As gateways are told to: of equal options, channels would share one connection, and with it one process.
_OPTIONS = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
_CHANNELS = 8
_SEARCH, _SUGGEST = "tandem.v1.SearchService/Search", "tandem.v1.SearchService/Suggest"


class Service:
    """The service, the page of its metrics, and what calls ended with as their callers saw it."""

    def __init__(self, supervisor: int, address: str, metrics: str) -> None:
        self.supervisor, self.address, self.metrics = supervisor, address, metrics
        self.calls: collections.Counter[tuple[str, str]] = collections.Counter()

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.supervisor).children()

    async def call(self, method: Any, request: Any, name: str = _SEARCH, **how: Any) -> Any:
        """The answer, or None; how the call ended is kept."""
        try:
            answer = await method(request, timeout=20, **how)
        except grpc.aio.AioRpcError as error:
            self.calls[error.code().name, name] += 1
            return None
        self.calls["OK", name] += 1
        return answer

    async def scraped(self, ready: Any = lambda samples: True) -> Samples:
        """A scrape, once it is as wanted."""
        async with asyncio.timeout(20):
            while not ready(samples := await asyncio.to_thread(scrape, self.metrics)):
                await asyncio.sleep(0.05)
        return samples


@contextmanager
def serving(store: ReleaseStore, *more: object) -> Iterator[Service]:
    metrics = free_address()
    arguments = ("serve", "--releases", store.root, "--address", "127.0.0.1:0", "--metrics-address", metrics, *more)
    with process(*arguments) as supervisor:
        assert supervisor.stdout is not None and supervisor.stderr is not None
        words = supervisor.stdout.readline().split()
        assert words[:3] == ["tandem:", "serving", "release"], supervisor.stderr.read()
        try:
            yield Service(supervisor.pid, words[-1], metrics)
        finally:
            supervisor.send_signal(signal.SIGTERM)
            supervisor.communicate(timeout=60)


@asynccontextmanager
async def channels(service: Service) -> AsyncIterator[list[grpc.aio.Channel]]:
    made = [grpc.aio.insecure_channel(service.address, options=_OPTIONS) for _ in range(_CHANNELS)]
    try:
        await asyncio.gather(*(channel.channel_ready() for channel in made))
        yield made
    finally:
        await asyncio.gather(*(channel.close() for channel in made))


async def test_counters_over_all_processes_are_the_calls_that_were_made(
    store: ReleaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TANDEM_SERVE_PROFILES", f"redis://{free_address()}/0")
    monkeypatch.setenv("TANDEM_SERVE_PROFILE_KEY", "a key of the test")
    degraded: collections.Counter[int] = collections.Counter()
    with serving(store, "--processes", 2, "--max-in-flight", 4) as service:
        async with channels(service) as open_channels:
            stubs = [search_pb2_grpc.SearchServiceStub(channel) for channel in open_channels]
            queries = [search_pb2.SearchRequest(query=f"red kettle {i % 7}", top_k=5) for i in range(40)]
            for query in queries[::4]:
                query.user.user_id, query.user.remember = "ann", True  # whose profile cannot be read
            for i, query in enumerate(queries):  # one after the other: there is room for each
                answer = await service.call(stubs[i % _CHANNELS].Search, query)
                degraded.update({entry.reason for entry in answer.degraded})
            for stub in stubs:
                await service.call(stub.Search, search_pb2.SearchRequest(query="kettle", top_k=-1))
                await service.call(stub.Search, search_pb2.SearchRequest(query="kettle", catalog="none"))
                await service.call(stub.Suggest, search_pb2.SuggestRequest(prefix="gar"), _SUGGEST)
            flood = [service.call(stubs[i % _CHANNELS].Search, queries[i % 40]) for i in range(80)]
            for answer in await asyncio.gather(*flood):
                degraded.update({entry.reason for entry in answer.degraded} if answer is not None else ())
            unknown = open_channels[0].unary_unary("/tandem.v1.SearchService/Nothing")
            await service.call(unknown, b"", "unknown")
            recommend = recommend_pb2_grpc.RecommendServiceStub(open_channels[1]).Recommend
            popular = recommend_pb2.RecommendRequest(popular=recommend_pb2.PopularSubject())
            await service.call(recommend, popular, "tandem.v1.RecommendService/Recommend")
            await _change(service, open_channels[2])
        samples = await service.scraped()
        assert samples["tandem_calls_total"] == service.calls
        assert service.calls["RESOURCE_EXHAUSTED", _SEARCH] > 0
        assert samples["tandem_refused_total"] == {
            (_SEARCH, "overload"): service.calls["RESOURCE_EXHAUSTED", _SEARCH],
            ("unknown", "unknown_method"): 1,
        }
        [name] = samples["tandem_degraded_total"]
        assert name == ("PROFILE_FAILED",) and samples["tandem_degraded_total"][name] == degraded.total() >= 10
        answered = service.calls["OK", _SEARCH]
        assert samples["tandem_call_duration_seconds_count"][_SEARCH,] == sum(
            count for (code, name), count in service.calls.items() if name == _SEARCH and code != "RESOURCE_EXHAUSTED"
        )
        assert samples["tandem_stage_duration_seconds_count"]["encode",] == answered
        assert samples["tandem_changes_total"] == {("applied",): 2, ("missing",): 1, ("rejected",): 1}
        samples = await service.scraped(lambda now: now["tandem_revision"] == {("default",): 2})
        assert samples["tandem_in_flight"] == {("interactive",): 0, ("batch",): 0}
        assert samples["tandem_in_flight_limit"] == {(): 4} and samples["tandem_processes"] == {(): 2}
        assert samples["tandem_release_info"] == {("default", store.current("default")): 1}
        assert samples["tandem_fresh_products"] == {("default",): 1}
        cache = samples["tandem_cache_requests_total"]
        assert sum(count for (name, _), count in cache.items() if name == "vectors") == answered
        assert {name for name in samples if not name.endswith("_created")} <= exposed_names()


async def _change(service: Service, channel: grpc.aio.Channel) -> None:
    """Two products added, of which one is rejected, one deleted, and one that is not there."""
    stub = catalog_pb2_grpc.CatalogServiceStub(channel)
    upsert = catalog_pb2.UpsertRequest()
    upsert.products.add(product_id="n-1").row.update({"title": "green teapot", "price": "3.50 EUR"})
    upsert.products.add(product_id="n-2").row.update({"title": ""})
    await service.call(stub.Upsert, upsert, "tandem.v1.CatalogService/Upsert")
    delete = catalog_pb2.DeleteRequest()
    for name in ("a-1", "no-such"):
        delete.products.add(product_id=name)
    await service.call(stub.Delete, delete, "tandem.v1.CatalogService/Delete")


async def test_a_killed_process_takes_none_of_its_counts_along(store: ReleaseStore) -> None:
    with serving(store, "--processes", 2) as service:
        for round in range(2):
            async with channels(service) as open_channels:
                for i in range(2 * _CHANNELS):
                    stub = search_pb2_grpc.SearchServiceStub(open_channels[i % _CHANNELS])
                    await service.call(stub.Search, search_pb2.SearchRequest(query="lamp"))
            assert (await service.scraped())["tandem_calls_total"] == service.calls
            os.kill(service.workers()[0].pid, signal.SIGKILL)
            samples = await service.scraped(
                lambda now, round=round: (
                    (now["tandem_processes"] == {(): 2}) and now["tandem_process_restarts_total"] == {(): round + 1}
                )
            )
            assert samples["tandem_calls_total"] == service.calls
        mapped = [Path(mapped.path) for mapped in service.workers()[0].memory_maps()]
        [folder] = {path.parent for path in mapped if "tandem-metrics" in str(path)}
        owners = {path.name.partition("_")[2] for path in folder.iterdir()}
        assert len(owners) == 3, "two processes, and all that ended"
    assert not folder.exists()


def test_every_metric_says_what_it_is() -> None:
    for metric in METRICS:
        assert metric.help.endswith(".") and metric.name.startswith("tandem_")
        assert metric.name.endswith("_total") == (metric.kind == "counter")
