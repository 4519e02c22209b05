"""The client's retries and errors, against a server that answers by a script."""

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeAlias

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

from tandem.client import (
    AsyncSearchClient,
    SearchClient,
    SearchError,
    SearchRequest,
    SearchResponse,
    Violation,
    asynchronous,
    service_config,
    synchronous,
)

OK, REFUSED, UNAVAILABLE = grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE
INVALID = grpc.StatusCode.INVALID_ARGUMENT
Metadata: TypeAlias = tuple[tuple[str, str | bytes], ...]
Search: TypeAlias = Callable[[str, float], SearchResponse]
REQUEST = SearchRequest(query="x")


class Script:
    """Calls that came: their metadata, and the seconds that each had left."""

    def __init__(self, ends: Sequence[tuple[grpc.StatusCode, Metadata]]) -> None:
        self.left = list(ends)
        self.metadata: list[dict[str, str | bytes]] = []
        self.seconds: list[float] = []

    def search(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self.metadata.append(dict(context.invocation_metadata()))
        self.seconds.append(context.time_remaining())
        code, metadata = self.left.pop(0)
        context.set_trailing_metadata(metadata)
        if code is not OK:
            context.abort(code, "the reason\nin two lines")
        return SearchResponse(request_id="done").SerializeToString()


@contextmanager
def serving(*ends: tuple[grpc.StatusCode, Metadata]) -> Iterator[tuple[str, Script]]:
    """Each call ends with the next code and trailing metadata."""
    script = Script(ends)
    server = grpc.server(ThreadPoolExecutor(1))
    method = grpc.unary_unary_rpc_method_handler(script.search)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("tandem.v1.SearchService", {"Search": method}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}", script
    finally:
        server.stop(None)


def pushback(milliseconds: str) -> Metadata:
    return (("grpc-retry-pushback-ms", milliseconds),)


def details(*messages: Any) -> Metadata:
    packed = []
    for message in messages:
        packed.append(any_pb2.Any())
        packed[-1].Pack(message)
    return (("grpc-status-details-bin", status_pb2.Status(details=packed).SerializeToString()),)


class Clock:
    """Stands for `time` and `asyncio` in the clients: it passes only while they wait."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return 100.0 + sum(self.waits)

    time = monotonic

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    def get_running_loop(self) -> "Clock":
        return self


class AsyncClock(Clock):
    async def sleep(self, seconds: float) -> None:  # type: ignore[override]
        self.waits.append(seconds)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that clients wait, by clocks of their own."""
    by_thread, by_task = Clock(), AsyncClock()
    by_task.waits = by_thread.waits
    monkeypatch.setattr(synchronous, "time", by_thread)
    monkeypatch.setattr(asynchronous, "asyncio", by_task)
    return by_thread.waits


@pytest.fixture(params=["threads", "asyncio"])
def search(request: pytest.FixtureRequest) -> Search:
    """One search by a client of its own."""

    def by_thread(address: str, timeout: float) -> SearchResponse:
        with SearchClient(address, timeout) as client:
            return client.search(REQUEST, request_id="r-1")

    async def by_task(address: str, timeout: float) -> SearchResponse:
        async with AsyncSearchClient(address, timeout) as client:
            return await client.search(REQUEST, request_id="r-1")

    if request.param == "threads":
        return by_thread
    return lambda address, timeout: asyncio.run(by_task(address, timeout))


def test_a_refused_call_is_sent_again_when_the_service_says(search: Search, waits: list[float]) -> None:
    with serving((REFUSED, pushback("3000")), (REFUSED, pushback("5000")), (OK, ())) as (address, script):
        assert search(address, 20).request_id == "done"
    assert waits == [3, 5]
    assert [metadata["x-request-id"] for metadata in script.metadata] == ["r-1"] * 3
    assert script.seconds == pytest.approx([20, 17, 12], abs=1)  # one deadline for all of them


@pytest.mark.parametrize("value", ["", "-1", "30000", "soon"])
def test_a_refused_call_is_not_sent_again_unasked_or_beyond_its_deadline(
    search: Search, waits: list[float], value: str
) -> None:
    with serving((REFUSED, pushback(value) if value else ())) as (address, script), pytest.raises(SearchError) as error:
        search(address, 20)
    assert error.value.code is REFUSED and str(error.value) == "RESOURCE_EXHAUSTED: the reason in two lines"
    assert not waits and len(script.metadata) == 1


def test_a_call_is_sent_three_times_at_most(search: Search, waits: list[float]) -> None:
    with (
        serving(*[(REFUSED, pushback("10"))] * 3) as (address, script),
        pytest.raises(SearchError, match="RESOURCE_EXHAUSTED"),
    ):
        search(address, 20)
    assert len(script.metadata) == 3


def test_a_client_that_is_refused_often_sends_nothing_again(waits: list[float]) -> None:
    """Of ten tokens five are for retries: two calls are sent three times, and then each once."""
    with serving(*[(REFUSED, pushback("10"))] * 12) as (address, script), SearchClient(address, 20) as client:
        counts = []
        for _ in range(5):
            before = len(script.metadata)
            with pytest.raises(SearchError):
                client.search(REQUEST)
            counts.append(len(script.metadata) - before)
    assert counts == [3, 3, 1, 1, 1]


def test_a_delay_is_told_in_seconds(search: Search) -> None:
    info = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(nanos=250_000_000))
    with serving((REFUSED, (*pushback("-1"), *details(info)))) as (address, _), pytest.raises(SearchError) as error:
        search(address, 20)
    assert error.value.retry_after == 0.25
    assert str(error.value) == "RESOURCE_EXHAUSTED: the reason in two lines (retry after 250 ms)"


def test_invalid_fields_are_named(search: Search) -> None:
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="top_k", description="is over 200")
    bad.field_violations.add(field="query", description="is empty")
    with (
        serving((INVALID, details(error_details_pb2.DebugInfo(detail="?"), bad))) as (address, _),
        pytest.raises(SearchError) as error,
    ):
        search(address, 20)
    assert error.value.code is INVALID and error.value.retry_after is None
    assert error.value.violations == (Violation("top_k", "is over 200"), Violation("query", "is empty"))


@pytest.mark.parametrize("data", [b"", b"\xff\xff", b"\x1a\x02\x0a"])
def test_details_that_cannot_be_read_hide_no_error(search: Search, data: bytes) -> None:
    with (
        serving((INVALID, (("grpc-status-details-bin", data),))) as (address, _),
        pytest.raises(SearchError, match=r"^INVALID_ARGUMENT: the reason in two lines$"),
    ):
        search(address, 20)


def test_nobody_listening_is_one_line(search: Search, unused_tcp_port: int) -> None:
    address = f"127.0.0.1:{unused_tcp_port}"
    with pytest.raises(SearchError, match=f"^nothing answers at {address}: start it with `tandem serve`$") as error:
        search(address, 20)
    assert error.value.code is UNAVAILABLE
    with SearchClient(address, 0.3) as client, pytest.raises(SearchError, match=f"^nothing answers at {address}: "):
        client.wait()


def test_the_policy_for_other_clients_repeats_no_refused_call_and_is_throttled() -> None:
    policy: dict[str, Any] = json.loads(service_config())
    method, batch = policy["methodConfig"]
    assert method["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]
    # gRPC repeats a stream from its buffer, of which it was seen to lose messages; `search_many` opens it again itself.
    streams = {"tandem.v1.SearchService": "BatchSearch", "tandem.v1.CatalogService": "Change"}
    assert batch == {"name": [{"service": service, "method": method} for service, method in streams.items()]}
    throttling = policy["retryThrottling"]
    with serving(*[(UNAVAILABLE, ())] * 60) as (address, script), SearchClient(address, 20) as client:
        for _ in range(20):
            with pytest.raises(SearchError):
                client.search(REQUEST)
    # Each failure takes a token of those there are; nothing is sent again once half of them are gone.
    assert 20 < len(script.metadata) <= 20 + throttling["maxTokens"] // 2


def test_a_call_has_the_clients_deadline_unless_it_has_its_own() -> None:
    with serving((OK, ()), (OK, ())) as (address, script), SearchClient(address, 40) as client:
        client.wait()
        client.search(REQUEST)
        client.search(REQUEST, timeout=10)
    assert 20 < script.seconds[0] < 41 and 0 < script.seconds[1] < 11


async def test_a_cancelled_task_cancels_its_call() -> None:
    came, cancelled = asyncio.Event(), asyncio.Event()

    async def hold(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        came.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return b""

    server = grpc.aio.server()
    methods = {"Search": grpc.unary_unary_rpc_method_handler(hold)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("tandem.v1.SearchService", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with AsyncSearchClient(f"127.0.0.1:{port}", 30) as client:
        task = asyncio.create_task(client.search(REQUEST))
        await came.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(cancelled.wait(), 30)
    await server.stop(None)


def test_a_call_belongs_to_the_running_span_of_the_program() -> None:
    from opentelemetry import propagate  # noqa: F401
    from opentelemetry.sdk.trace import TracerProvider

    tracer = TracerProvider().get_tracer("shop")
    with serving((OK, ()), (OK, ())) as (address, script), SearchClient(address) as client:
        with tracer.start_as_current_span("page") as span:
            client.search(REQUEST, request_id="r-1")
        client.search(REQUEST)
    trace = f"{span.get_span_context().trace_id:032x}"
    first, second = script.metadata
    assert str(first["traceparent"]).startswith(f"00-{trace}-") and first["x-request-id"] == "r-1"
    assert "traceparent" not in second


@contextmanager
def serving_noise() -> Iterator[str]:
    """Answers every search and batch with bytes that are no message."""
    server = grpc.server(ThreadPoolExecutor(4))
    handlers = {
        "Search": grpc.unary_unary_rpc_method_handler(lambda request, context: b"\xff\xff"),
        "BatchSearch": grpc.stream_stream_rpc_method_handler(lambda requests, context: iter([b"\xff\xff"])),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("tandem.v1.SearchService", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None)


def test_answers_that_are_no_messages_are_errors_with_either_client() -> None:
    message = "answered with what is no message of this service: check the address"
    with serving_noise() as address, SearchClient(address, 10) as client:
        with pytest.raises(SearchError, match=message) as refused:
            client.search(REQUEST)
        assert refused.value.code is grpc.StatusCode.INTERNAL
        with pytest.raises(SearchError, match=message):
            list(client.search_many([REQUEST]))

        async def ask() -> None:
            async with AsyncSearchClient(address, 10) as other:
                with pytest.raises(SearchError, match=message):
                    await other.search(REQUEST)
                with pytest.raises(SearchError, match=message):
                    _ = [answer async for answer in other.search_many([REQUEST])]

        asyncio.run(ask())
