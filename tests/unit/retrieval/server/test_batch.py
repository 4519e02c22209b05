"""BatchSearch through a real gRPC server and channel; only the models are doubles."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from services import Service, until

from retrieval.server import streams
from retrieval.server.admission import Permit
from retrieval.server.batch import MOST_STREAMS
from retrieval.server.bulk import BulkQueue
from retrieval.server.failures import LATE
from tandem.v1 import search_pb2, search_pb2_grpc

INVALID, UNAVAILABLE = 3, 14


def searches(queries: Iterable[str], **fields: Any) -> Iterator[search_pb2.BatchSearchRequest]:
    for number, query in enumerate(queries):
        search = search_pb2.SearchRequest(query=query, **{"top_k": 1, **fields})
        yield search_pb2.BatchSearchRequest(key=f"k{number}", search=search)


def send(channel: grpc.aio.Channel, requests: Any = None) -> Any:
    return search_pb2_grpc.SearchServiceStub(channel).BatchSearch(requests)


def search(channel: grpc.aio.Channel) -> Any:
    return search_pb2_grpc.SearchServiceStub(channel).Search(search_pb2.SearchRequest(query="3 shoes"), timeout=20)


async def received(call: Any) -> list[search_pb2.BatchSearchResponse]:
    return [response async for response in call]


async def test_a_thousand_searches_are_answered_in_their_order(tmp_path: Path) -> None:
    service = Service(tmp_path)
    queries = [f"{number % 20} shoes" for number in range(1000)]
    async with service.serve(query_cache_bytes=0) as (channel, _):
        responses = await received(send(channel, searches(queries)))
        alone = await search(channel)
    assert [response.sequence for response in responses] == list(range(1, 1001))
    assert [response.key for response in responses] == [f"k{number}" for number in range(1000)]
    third = responses[3].response
    assert [hit.product_id for hit in third.hits] == [hit.product_id for hit in alone.hits][:1]
    assert len({response.response.request_id for response in responses}) == 1000


async def test_the_order_is_that_of_the_requests_whatever_takes_longer(tmp_path: Path) -> None:
    service = Service(tmp_path)
    async with service.serve() as (channel, _):
        first = service.engine.encode
        blocked = asyncio.Event()

        async def encode(tokens: Any, deadline: float | None) -> Any:
            if int(tokens[0][0]) == 7:
                await blocked.wait()
            else:
                blocked.set()
            return await first(tokens, deadline)

        service.engine.encode = encode  # type: ignore[method-assign]
        responses = await received(send(channel, searches(["7 first", "2 second", "3 third"])))
    assert [response.key for response in responses] == ["k0", "k1", "k2"]  # the first ends after the second


async def test_an_invalid_request_has_its_error_and_the_stream_goes_on(tmp_path: Path) -> None:
    requests = [
        *searches(["3 shoes", "", "4 hats"]),
        search_pb2.BatchSearchRequest(key="k" * 257, search=search_pb2.SearchRequest(query="5 bags")),
        *searches(["5 bags"], catalog="none"),
        *searches(["6 mugs"], top_k=-1),
        search_pb2.BatchSearchRequest(search=search_pb2.SearchRequest(query="x" * (70 << 10))),
        search_pb2.BatchSearchRequest(),
        *searches(["7 cups"]),
    ]
    async with Service(tmp_path).serve() as (channel, _):
        responses = await received(send(channel, requests))
    codes = [response.error.code if response.HasField("error") else 0 for response in responses]
    assert codes == [0, INVALID, 0, INVALID, 5, INVALID, INVALID, INVALID, 0]
    assert responses[1].error.message.startswith("query: is empty") and responses[1].key == "k1"
    assert "send at most 256" in responses[3].error.message and len(responses[3].key) == 256
    assert "send at most 65,536" in responses[6].error.message
    assert all("\n" not in response.error.message for response in responses)
    assert [response.sequence for response in responses] == list(range(1, 10))


async def test_bytes_that_are_no_request_are_one_error(tmp_path: Path) -> None:
    async with Service(tmp_path).serve() as (channel, _):
        method = channel.stream_stream("/tandem.v1.SearchService/BatchSearch")
        good = next(searches(["3 shoes"])).SerializeToString()
        raw = await received(method([good, b"\xff\xff\xff", good]))
    responses = [search_pb2.BatchSearchResponse.FromString(data) for data in raw]  # type: ignore[arg-type]
    assert [response.error.code for response in responses] == [0, INVALID, 0]


async def test_a_failing_engine_is_an_error_of_each_search(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with Service(tmp_path, broken=("encode",)).serve() as (channel, _):
        with caplog.at_level(logging.CRITICAL, "tandem.requests"):
            responses = await received(send(channel, searches(["3 shoes", "4 hats"])))
    assert [response.error.code for response in responses] == [UNAVAILABLE, UNAVAILABLE]


async def test_a_search_goes_before_batches_and_takes_all_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two places: one search leaves too few free for the batch, which waits; searches never wait for the batch."""
    waiting: list[BulkQueue] = []
    take = BulkQueue.take

    async def note(self: BulkQueue) -> Permit:
        waiting.append(self)
        return await take(self)

    monkeypatch.setattr(BulkQueue, "take", note)
    service = Service(tmp_path, delays={"encode": 30})
    async with service.serve(max_in_flight=2, query_cache_bytes=0) as (channel, _):
        first = search(channel)
        await until(lambda: len(service.engine.calls) == 1)
        service.engine.delays = {}
        responses = asyncio.create_task(received(send(channel, searches(f"{n} hats" for n in range(8)))))
        await until(lambda: len(waiting) == 4)
        before = len(service.engine.calls)
        for _ in range(5):
            assert (await search(channel)).hits
        assert waiting[0].waiting == 4 and not responses.done()
        searched = service.engine.calls[before:]
        first.cancel()
        assert [response.error.code for response in await responses] == [0] * 8
    assert len(service.engine.calls) - before - len(searched) == 8 * (len(searched) // 5)


async def test_searches_are_admitted_while_a_batch_works(tmp_path: Path) -> None:
    service = Service(tmp_path, delays={"encode": 30})
    async with service.serve(max_in_flight=1, query_cache_bytes=0) as (channel, _):
        call = send(channel, searches(["2 hats"] * 9))
        await call.wait_for_connection()
        await until(lambda: len(service.engine.calls) == 1)
        service.engine.delays = {}
        assert (await search(channel)).hits  # the only place is the search's, whatever the batch does
        call.cancel()


class _Endless:
    """Requests without end, and how many were sent."""

    def __init__(self) -> None:
        self.sent = 0

    async def requests(self) -> AsyncIterator[search_pb2.BatchSearchRequest]:
        pad = "x" * 400
        while True:
            self.sent += 1
            search = search_pb2.SearchRequest(query=f"{self.sent % 20} {pad}", top_k=20)
            yield search_pb2.BatchSearchRequest(key="k", search=search)

    async def until_nothing_more_is_read(self, channel: grpc.aio.Channel) -> None:
        """Buffers fill up first."""
        before = -1
        while before != self.sent:
            before = self.sent
            for _ in range(20):
                assert (await search(channel)).hits


async def test_a_slow_reader_stops_the_reading_of_requests(tmp_path: Path) -> None:
    endless = _Endless()
    async with Service(tmp_path).serve() as (channel, _):
        call = send(channel, endless.requests())
        assert (await call.read()).sequence == 1
        await endless.until_nothing_more_is_read(channel)
        assert endless.sent < 20_000
        assert (await call.read()).sequence == 2
        call.cancel()


async def test_cancellation_stops_the_work(tmp_path: Path) -> None:
    service = Service(tmp_path, delays={"encode": 30})
    async with service.serve() as (channel, _):
        call = send(channel, searches(f"{number} hats" for number in range(20)))
        await call.wait_for_connection()
        await until(lambda: len(service.engine.calls) == 4)  # four at once
        call.cancel()
        await until(lambda: service.release._leases == 0)
        assert len(service.engine.calls) == 4
        service.engine.delays = {}
        assert len(await received(send(channel, searches(["3 shoes"])))) == 1


async def test_a_stopping_service_ends_what_it_began_and_states_where_to_go_on(tmp_path: Path) -> None:
    service = Service(tmp_path)
    requests: asyncio.Queue[search_pb2.BatchSearchRequest] = asyncio.Queue()

    async def open_end() -> AsyncIterator[search_pb2.BatchSearchRequest]:
        while True:
            yield await requests.get()

    async with AsyncExitStack() as outlasting:
        async with service.serve() as (_, server):
            channel = await outlasting.enter_async_context(grpc.aio.insecure_channel(server.address))
            call = send(channel, open_end())
            for request in searches(["3 shoes", "4 hats"]):
                requests.put_nowait(request)
            assert [(await call.read()).sequence for _ in range(2)] == [1, 2]
            ending = asyncio.create_task(_rest(call))
        error = await ending
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert error.details() == "the service is stopping; send the requests after sequence 2 again"


async def _rest(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        while await call.read() is not grpc.aio.EOF:
            pass
    return error.value


async def test_too_many_streams_are_refused_and_room_comes_back(tmp_path: Path) -> None:
    service = Service(tmp_path)
    hold = asyncio.Event()

    async def waiting() -> AsyncIterator[search_pb2.BatchSearchRequest]:
        for request in searches(["3 shoes"]):
            yield request
        await hold.wait()

    async with service.serve() as (channel, _):
        calls = [send(channel, waiting()) for _ in range(MOST_STREAMS)]
        for call in calls:
            assert (await call.read()).sequence == 1
        error = await _rest(send(channel, searches(["3 shoes"])))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and "batches are open" in (error.details() or "")
        hold.set()
        for call in calls:
            assert await call.read() is grpc.aio.EOF
        assert len(await received(send(channel, searches(["3 shoes"])))) == 1


async def test_an_idle_batch_gives_its_place_to_one_that_finds_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "PATIENCE", 0.0)
    hold = asyncio.Event()

    async def waiting() -> AsyncIterator[search_pb2.BatchSearchRequest]:
        for request in searches(["3 shoes"]):
            yield request
        await hold.wait()

    async with Service(tmp_path).serve() as (channel, _):
        calls = [send(channel, waiting()) for _ in range(MOST_STREAMS)]
        for call in calls:
            assert (await call.read()).sequence == 1
        assert len(await received(send(channel, searches(["3 shoes"])))) == 1
        hold.set()
        assert sorted([(await call.code()).name for call in calls]) == ["OK"] * (MOST_STREAMS - 1) + ["UNAVAILABLE"]
        (ended,) = [call for call in calls if await call.code() is grpc.StatusCode.UNAVAILABLE]
        assert "send the requests after sequence 1" in await ended.details()


async def test_each_search_has_its_own_deadline(tmp_path: Path) -> None:
    service = Service(tmp_path, delays={"encode": 30})
    async with service.serve(longest_deadline=0.2, default_deadline=0.1) as (channel, _):
        responses = await received(send(channel, searches(["3 shoes"] * 6)))
    assert [response.error.code for response in responses] == [4] * 6
    assert responses[0].error.message == LATE


async def test_an_empty_stream_ends_well(tmp_path: Path) -> None:
    async with Service(tmp_path).serve() as (channel, _):
        assert await received(send(channel, iter(()))) == []
