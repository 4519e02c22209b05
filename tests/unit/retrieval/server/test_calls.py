"""What callers hear of requests that cannot be read and of faults of the service itself, over real sockets."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from retrieval.server.admission import Admission
from retrieval.server.call_server import CallServer
from retrieval.server.calls import guarded, guarded_stream, reader
from tandem.v1 import search_pb2

Request, Response = search_pb2.SearchRequest, search_pb2.SearchResponse
SECRET = "/srv/tandem/releases/secret.onnx"


async def fails(request: Request, context: Any) -> Response:
    raise OSError(2, "No such file or directory", SECRET)


async def fails_late(request: Request, context: Any) -> AsyncIterator[Response]:
    yield Response(catalog="first")
    raise KeyError(SECRET)


@asynccontextmanager
async def serving(
    one: Callable[..., Awaitable[Response]] = fails, many: Callable[..., AsyncIterator[Response]] = fails_late
) -> AsyncIterator[grpc.aio.Channel]:
    kinds = {"request_deserializer": reader(Request), "response_serializer": Response.SerializeToString}
    methods = {
        "One": grpc.unary_unary_rpc_method_handler(guarded(one), **kinds),
        "Many": grpc.unary_stream_rpc_method_handler(guarded_stream(many), **kinds),
    }
    server = CallServer({Admission(2): ()}, (), 5)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
    finally:
        await server.stop(1)


def ask_one(channel: grpc.aio.Channel, data: bytes = b"", **options: Any) -> Any:
    return channel.unary_unary("/t.T/One", request_serializer=bytes)(data, **{"timeout": 5, **options})


@pytest.mark.parametrize("name", [None, "mine-7"])
async def test_an_unexpected_exception_is_internal_without_its_text(
    caplog: pytest.LogCaptureFixture, name: str | None
) -> None:
    async with serving() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await ask_one(channel, metadata=(("x-request-id", name),) if name else None)
    message = error.value.details() or ""
    assert error.value.code() is grpc.StatusCode.INTERNAL
    assert "Errno" not in message and "srv" not in message and "OSError" not in message
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.name == "tandem.requests" and record.exc_info and SECRET in str(record.exc_info[1])
    identity = record.getMessage().split()[1]
    assert message.endswith(f"under request id {identity}") and identity == (name or identity)


async def test_a_stream_that_fails_midway_is_internal_too(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as channel:
        call = channel.unary_stream("/t.T/Many", request_serializer=bytes)(b"", timeout=5)
        assert b"first" in await call.read()
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await call.read()
    assert error.value.code() is grpc.StatusCode.INTERNAL and "srv" not in (error.value.details() or "")
    assert [record.name for record in caplog.records if record.levelno >= logging.ERROR] == ["tandem.requests"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x0a\x02\xff\xfe", "request: is not a SearchRequest: strings must be UTF-8"),
        (b"\xff\xff\xff\xff", "request: is not a SearchRequest: strings must be UTF-8"),
        (b"\x0a\x80\x80\x04" + b"x" * 65536, "request: has 65,540 bytes; send at most 65,536"),
    ],
)
async def test_bytes_that_are_no_request_are_bad_input(data: bytes, message: str, caplog: Any) -> None:
    async with serving() as channel:
        for call in (ask_one(channel, data), channel.unary_stream("/t.T/Many", request_serializer=bytes)(data).read()):
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await call
            assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT and error.value.details() == message
            status = rpc_status.from_call(error.value)  # type: ignore[arg-type]
            assert status.details[0].Is(error_details_pb2.BadRequest.DESCRIPTOR)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("end", ["answer", "abort"])
async def test_a_caller_that_is_gone_leaves_no_trace_in_the_log(caplog: pytest.LogCaptureFixture, end: str) -> None:
    going = asyncio.Event()

    async def late(request: Request, context: Any) -> Response:
        going.set()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            if end == "abort":
                await context.abort(grpc.StatusCode.UNAVAILABLE, "late")
        return Response()

    async with serving(one=late) as channel:
        call = ask_one(channel)
        await going.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
