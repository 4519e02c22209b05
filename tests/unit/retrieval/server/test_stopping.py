"""A server that stops: what runs ends, and what it had not taken yet is sent again by clients, over real sockets."""

import asyncio
import socket
import threading
from collections import Counter
from typing import Any

import grpc
import pytest

from retrieval.server.admission import Admission
from retrieval.server.call_server import CallServer
from retrieval.server.caller import ANYONE, Caller
from retrieval.server.connections import close_connections
from retrieval.server.gate import OpenGate
from retrieval.wire.status import Metadata

_CODES = grpc.StatusCode
CALLS = 50


class StuckGate(OpenGate):
    """Holds up gRPC's one thread at the first call, as a busy machine does."""

    def __init__(self) -> None:
        self.entered, self.released = threading.Event(), threading.Event()

    def enter(self, method: str, metadata: Metadata) -> Caller:
        self.entered.set()
        self.released.wait(20)
        return ANYONE


class Asked:
    """A handler whose calls end when they may."""

    def __init__(self) -> None:
        self.begun, self.end = 0, asyncio.Event()

    async def __call__(self, request: bytes, _: Any) -> bytes:
        self.begun += 1
        await self.end.wait()
        return request


async def started(handler: Asked, gate: OpenGate) -> tuple[CallServer, str]:
    method = grpc.unary_unary_rpc_method_handler(handler, request_deserializer=bytes, response_serializer=bytes)
    server = CallServer({Admission(100, floor=100): {"/t.T/Ask"}}, (), 30, gate)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", {"Ask": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, f"127.0.0.1:{port}"


async def code_of(call: Any) -> grpc.StatusCode:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return _CODES.OK


@pytest.mark.parametrize("again", range(5))  # gRPC's thread may be quick enough without what this tests
async def test_calls_that_were_not_taken_are_sent_again_and_not_cancelled(again: int) -> None:
    gate, handler = StuckGate(), Asked()
    handler.end.set()
    server, address = await started(handler, gate)
    async with grpc.aio.insecure_channel(address, [("grpc.enable_retries", 0)]) as channel:
        calls = [asyncio.create_task(code_of(channel.unary_unary("/t.T/Ask")(b"x"))) for _ in range(CALLS)]
        await asyncio.to_thread(gate.entered.wait)
        threading.Timer(0.2, gate.released.set).start()  # the loop waits meanwhile for what gRPC's thread holds
        await server.stop(5)
        ends = Counter(await asyncio.gather(*calls))
    assert set(ends) <= {_CODES.OK, _CODES.UNAVAILABLE} and ends[_CODES.UNAVAILABLE] > 1, ends


@pytest.mark.parametrize("seconds", [0.1, 1.0])
async def test_what_runs_is_answered_and_new_calls_are_refused_meanwhile(seconds: float) -> None:
    handler = Asked()
    server, address = await started(handler, OpenGate())
    async with grpc.aio.insecure_channel(address) as channel:
        method = channel.unary_unary("/t.T/Ask")
        running = [asyncio.create_task(code_of(method(b"x"))) for _ in range(5)]
        async with asyncio.timeout(20):
            while handler.begun < 5:
                await asyncio.sleep(0.002)
        stopping = asyncio.create_task(server.stop(20))
        await asyncio.sleep(0)  # it has begun
        assert await code_of(method(b"x")) is _CODES.UNAVAILABLE
        asyncio.get_running_loop().call_later(seconds, handler.end.set)
        assert [await call for call in running] == [_CODES.OK] * 5
        await stopping
    assert handler.begun == 5


def test_connections_to_a_port_are_ended_and_no_others() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        clients = [socket.create_connection(each.getsockname()) for each in (one, other)]
        accepted = [each.accept()[0] for each in (one, other)]
        accepted[0].sendall(b"last words")
        close_connections({one.getsockname()[1]})
        assert clients[0].recv(100) == b"last words" and clients[0].recv(100) == b""
        accepted[1].sendall(b"more")
        assert clients[1].recv(100) == b"more"
        with pytest.raises(OSError), socket.create_connection(one.getsockname(), 5):
            pass
        socket.create_connection(other.getsockname(), 5).close()
        for each in (*clients, *accepted):
            each.close()
