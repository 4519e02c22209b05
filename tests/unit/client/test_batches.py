"""Batches over real sockets, with streams that break."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from tandem.client import AsyncSearchClient, SearchClient, SearchError
from tandem.client.batches import MOST_OPEN
from tandem.v1 import search_pb2, search_pb2_grpc


class Breaking(search_pb2_grpc.SearchServiceServicer):
    """Answers so many requests of a stream, and then breaks it."""

    def __init__(self, after: list[int], code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE) -> None:
        self.after = after  # of each stream; later ones do not break
        self.code = code
        self.streams = 0
        self.read: list[str] = []

    def BatchSearch(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        limit = self.after[self.streams] if self.streams < len(self.after) else None
        self.streams += 1
        for sequence, request in enumerate(requests, 1):
            if limit is not None and sequence > limit:
                context.abort(self.code, "broken")
            self.read.append(request.search.query)
            response = search_pb2.SearchResponse(searched_query=request.search.query)
            yield search_pb2.BatchSearchResponse(key=request.key, sequence=sequence, response=response)


@contextmanager
def serving(servicer: Breaking) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(4))
    search_pb2_grpc.add_SearchServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


def requests(count: int) -> Iterator[search_pb2.SearchRequest]:
    for number in range(count):
        yield search_pb2.SearchRequest(query=str(number))


def collect(address: str, asynchronous: bool, given: Any) -> list[tuple[int, str]]:
    async def gather() -> list[Any]:
        async with AsyncSearchClient(address) as client:
            return [response async for response in client.search_many(given)]

    if asynchronous:
        responses = asyncio.run(gather())
    else:
        with SearchClient(address) as client:
            responses = list(client.search_many(given))
    return [(response.sequence, response.response.searched_query) for response in responses]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_stream_that_breaks_goes_on_after_the_last_answer(asynchronous: bool) -> None:
    servicer = Breaking([3, 0, 70])
    with serving(servicer) as address:
        answers = collect(address, asynchronous, requests(200))
    assert answers == [(number + 1, str(number)) for number in range(200)]
    assert servicer.streams == 4


@pytest.mark.parametrize("asynchronous", [False, True])
def test_requests_are_read_as_answers_come(asynchronous: bool) -> None:
    given: list[int] = []
    most: list[int] = []

    def counted() -> Iterator[search_pb2.SearchRequest]:
        for number in range(500):
            given.append(number)
            yield search_pb2.SearchRequest(query=str(number))

    def note(response: search_pb2.BatchSearchResponse) -> None:
        most.append(len(given) - response.sequence)

    async def by_loop(address: str) -> None:
        async with AsyncSearchClient(address) as client:
            async for response in client.search_many(counted()):
                note(response)

    with serving(Breaking([])) as address:
        if asynchronous:
            asyncio.run(by_loop(address))
        else:
            with SearchClient(address) as client:
                for response in client.search_many(counted()):
                    note(response)
    assert len(most) == 500 and max(most) <= MOST_OPEN


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_stream_that_is_refused_for_good_is_an_error(asynchronous: bool) -> None:
    servicer = Breaking([2] + [0] * 9, grpc.StatusCode.PERMISSION_DENIED)
    with serving(servicer) as address, pytest.raises(SearchError, match="PERMISSION_DENIED: broken"):
        collect(address, asynchronous, requests(9))
    # gRPC for asyncio may hide what ended a stream on which it is just sending; the next refusal counts then.
    assert servicer.streams == 1 or (asynchronous and servicer.streams <= 3)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_service_that_stays_broken_is_given_up(asynchronous: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tandem.client.batches._FIRST_PAUSE", 0.001)
    servicer = Breaking([2] + [0] * 20)
    with serving(servicer) as address, pytest.raises(SearchError, match=r"UNAVAILABLE|INTERNAL"):
        collect(address, asynchronous, requests(9))


@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_the_requests_raise_is_raised_after_the_answers(asynchronous: bool) -> None:
    def failing() -> Iterator[search_pb2.SearchRequest]:
        yield from requests(3)
        raise ValueError("line 4 is wrong")

    servicer = Breaking([])
    with serving(servicer) as address, pytest.raises(ValueError, match="line 4 is wrong"):
        collect(address, asynchronous, failing())
    assert servicer.read == ["0", "1", "2"]


def test_a_batch_that_is_left_ends_its_stream_and_its_thread() -> None:
    ended = threading.Event()

    class Noting(Breaking):
        def BatchSearch(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
            context.add_callback(ended.set)
            yield from super().BatchSearch(requests, context)

    with serving(Noting([])) as address, SearchClient(address) as client:
        answers = client.search_many(requests(100_000))
        assert next(answers).sequence == 1
        answers.close()  # type: ignore[attr-defined]
        assert ended.wait(10)


def test_asynchronous_requests_with_keys() -> None:
    async def given() -> AsyncIterator[search_pb2.BatchSearchRequest]:
        for number in range(3):
            await asyncio.sleep(0)
            yield search_pb2.BatchSearchRequest(key=f"k{number}", search=search_pb2.SearchRequest(query="x"))

    async def keys(address: str) -> list[str]:
        async with AsyncSearchClient(address) as client:
            return [response.key async for response in client.search_many(given())]

    with serving(Breaking([])) as address:
        assert asyncio.run(keys(address)) == ["k0", "k1", "k2"]
