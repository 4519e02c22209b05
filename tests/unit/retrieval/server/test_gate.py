"""What the gate and the observer see of calls, over real sockets."""

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import grpc
import pytest

from retrieval.server.admission import Admission
from retrieval.server.call_server import Call, CallServer
from retrieval.server.call_threads import OpenStreams
from retrieval.server.caller import Caller, Priority
from retrieval.server.gate import OpenGate, Refused, priority_of
from retrieval.server.observer import Trace
from retrieval.wire.status import Metadata

_CODES = grpc.StatusCode


class Seen:
    """Keeps what it sees."""

    def __init__(self) -> None:
        self.refused: list[tuple[str, grpc.StatusCode, str]] = []
        self.ended: list[tuple[str, grpc.StatusCode, str]] = []
        self.trace: Any = None

    def refuse(self, method: str, code: grpc.StatusCode, reason: str) -> None:
        self.refused.append((method, code, reason))

    def begin(self, method: str, metadata: Metadata) -> Trace | None:
        assert ("key", "ann") in metadata
        return self.trace

    def end(self, method: str, code: grpc.StatusCode, seconds: float, caller: Caller, trace: Trace | None) -> None:
        assert 0 <= seconds < 60 and trace is self.trace
        self.ended.append((method, code, caller.name))


class KeyGate(OpenGate):
    """Knows the callers ann and eve, and what eve's connection states."""

    def __init__(self) -> None:
        self.given_back: list[Caller] = []

    def give_back(self, caller: Caller) -> None:
        self.given_back.append(caller)

    def enter(self, method: str, metadata: Metadata) -> Caller:
        name = dict(metadata).get("key")
        if name is None:
            raise Refused(_CODES.UNAUTHENTICATED, "send a key", "no_key", (("hint", "key"),))
        if name == "broken":
            raise ValueError("secret text")
        return Caller(str(name), "shop")

    def identify(self, caller: Caller, method: str, context: Any) -> Caller:
        if caller.name == "eve":
            raise Refused(_CODES.PERMISSION_DENIED, "another certificate is needed", "certificate")
        return dataclasses.replace(caller, name=f"{caller.name}@{context.peer().split(':')[0]}")


class CountingGate(KeyGate):
    """Lets a second request of a stream in at the third try, and none after it."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = iter((0.001, 0.001, 0.0))

    def count(self, caller: Caller) -> float:
        assert caller.name == "ann@ipv4"
        if (seconds := next(self.counts, None)) is None:
            raise Refused(_CODES.RESOURCE_EXHAUSTED, "enough", "quota", (("hint", "tomorrow"),))
        return seconds


async def ask(request: bytes, call: Call) -> bytes:
    if request == b"abort":
        await call.abort(_CODES.NOT_FOUND, "no such thing")
    if request == b"break":
        raise ValueError("secret text")
    if request == b"wait":
        await asyncio.Event().wait()
    return call.caller.name.encode()


async def ask_many(requests: AsyncIterator[bytes], call: Call) -> AsyncIterator[bytes]:
    async for request in requests:
        yield await ask(request, call)


@asynccontextmanager
async def serving(seen: Seen, admission: Admission, gate: KeyGate | None = None) -> AsyncIterator[grpc.aio.Channel]:
    server = CallServer({admission: {"/t.T/Ask"}}, (), 5, gate or KeyGate(), seen)
    kinds = {"request_deserializer": bytes, "response_serializer": bytes}
    methods = {
        "Ask": grpc.unary_unary_rpc_method_handler(ask, **kinds),
        "Short": grpc.unary_unary_rpc_method_handler(ask, **kinds),
        "Many": grpc.stream_stream_rpc_method_handler(ask_many, **kinds),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
    finally:
        await server.stop(0.2)


async def code_of(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value.code(), error.value.details() or ""


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.002)


async def test_the_gate_refuses_before_a_place_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    seen, admission = Seen(), Admission(2)
    async with serving(seen, admission) as channel:
        method = channel.unary_unary("/t.T/Ask")
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await method(b"x")
        assert (error.value.code(), error.value.details()) == (_CODES.UNAUTHENTICATED, "send a key")
        assert ("hint", "key") in tuple(error.value.trailing_metadata())
        with caplog.at_level(logging.ERROR):
            code, details = await code_of(method(b"x", metadata=(("key", "broken"),)))
        assert code is _CODES.INTERNAL and "secret" not in details and "secret text" in caplog.text
        assert admission.in_flight == 0
        code, _ = await code_of(channel.unary_unary("/t.T/Other")(b"x"))
        assert code is _CODES.UNIMPLEMENTED
        with pytest.raises(grpc.aio.AioRpcError):
            await anext(aiter(channel.stream_stream("/t.T/Many")(iter([b"x"]))))
    assert seen.refused == [
        ("/t.T/Ask", _CODES.UNAUTHENTICATED, "no_key"),
        ("/t.T/Ask", _CODES.INTERNAL, "failed"),
        ("", _CODES.UNIMPLEMENTED, "unknown_method"),
        ("/t.T/Many", _CODES.UNAUTHENTICATED, "no_key"),
    ]
    assert not seen.ended


@pytest.mark.parametrize("name", ["Ask", "Short"])
async def test_each_call_is_seen_once_as_it_ended(name: str) -> None:
    seen, admission, metadata = Seen(), Admission(2), (("key", "ann"),)
    path = f"/t.T/{name}"
    async with serving(seen, admission) as channel:
        method = channel.unary_unary(path)
        assert await method(b"x", metadata=metadata) == b"ann@ipv4"
        assert (await code_of(method(b"abort", metadata=metadata)))[0] is _CODES.NOT_FOUND
        assert (await code_of(method(b"break", metadata=metadata)))[0] is _CODES.INTERNAL
        assert (await code_of(method(b"wait", metadata=metadata, timeout=0.2)))[0] is _CODES.DEADLINE_EXCEEDED
        await until(lambda: len(seen.ended) == 4 and admission.in_flight == 0)
    codes = [_CODES.OK, _CODES.NOT_FOUND, _CODES.INTERNAL, _CODES.CANCELLED]  # the last one's caller has gone
    assert seen.ended == [(path, code, "ann@ipv4") for code in codes]
    assert not seen.refused


async def test_what_finds_no_place_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.server.call_server.OpenStreams", partial(OpenStreams, 2))
    seen, admission, gate, metadata = Seen(), Admission(1), KeyGate(), (("key", "ann"),)
    async with serving(seen, admission, gate) as channel:
        method = channel.unary_unary("/t.T/Ask")
        waiting = method(b"wait", metadata=metadata)
        await until(lambda: admission.in_flight == 1)
        assert (await code_of(method(b"x", metadata=metadata)))[0] is _CODES.RESOURCE_EXHAUSTED
        assert [caller.name for caller in gate.given_back] == ["ann"]
        waiting.cancel()
        await until(lambda: admission.in_flight == 0)
        streams = [channel.stream_stream("/t.T/Many")(metadata=metadata) for _ in range(2)]
        await until(lambda: len(gate.given_back) == 2)
        for stream in streams:
            stream.cancel()
        assert await method(b"x", metadata=metadata) == b"ann@ipv4"
    assert len(gate.given_back) == 2


async def test_what_the_connection_states_is_read_once_there_is_a_place() -> None:
    seen, admission = Seen(), Admission(1)
    metadata = (("key", "eve"), ("key", "ann"))  # of a key sent twice, the dictionary keeps the last
    async with serving(seen, admission) as channel:
        assert await channel.unary_unary("/t.T/Ask")(b"x", metadata=metadata) == b"ann@ipv4"
        code, details = await code_of(channel.unary_unary("/t.T/Ask")(b"x", metadata=metadata[::-1]))
        assert (code, details) == (_CODES.PERMISSION_DENIED, "another certificate is needed")
        stream = channel.stream_stream("/t.T/Many")(iter([b"x"]), metadata=metadata[::-1])
        assert (await code_of(anext(aiter(stream))))[0] is _CODES.PERMISSION_DENIED
        await until(lambda: len(seen.ended) == 3 and admission.in_flight == 0)
    assert [code for _, code, _ in seen.ended] == [_CODES.OK, _CODES.PERMISSION_DENIED, _CODES.PERMISSION_DENIED]


async def test_a_stream_is_seen_once_when_it_ends() -> None:
    seen, metadata = Seen(), (("key", "ann"),)
    async with serving(seen, Admission(1)) as channel:
        method = channel.stream_stream("/t.T/Many")
        assert [answer async for answer in method(iter([b"x", b"y"]), metadata=metadata)] == [b"ann@ipv4"] * 2
        await until(lambda: len(seen.ended) == 1)
        stream = method(iter([b"x", b"wait"]), metadata=metadata)
        assert await stream.read() == b"ann@ipv4"
        stream.cancel()
        await until(lambda: len(seen.ended) == 2)
    assert [code for _, code, _ in seen.ended] == [_CODES.OK, _CODES.CANCELLED]


async def test_each_request_of_a_stream_counts_and_waits_its_turn() -> None:
    seen, gate, metadata = Seen(), CountingGate(), (("key", "ann"),)
    async with serving(seen, Admission(1), gate) as channel:
        stream = channel.stream_stream("/t.T/Many")(iter([b"x", b"y", b"z"]), metadata=metadata)
        assert [await stream.read() for _ in range(2)] == [b"ann@ipv4"] * 2
        assert next(gate.counts, None) is None
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stream.read()
        assert (error.value.code(), error.value.details()) == (_CODES.RESOURCE_EXHAUSTED, "enough")
        assert ("hint", "tomorrow") in tuple(error.value.trailing_metadata())
        await until(lambda: len(seen.ended) == 1)
    assert seen.ended[0][1] is _CODES.RESOURCE_EXHAUSTED


def test_batch_calls_leave_half_of_the_places_free() -> None:
    admission = Admission(4)
    assert [admission.take(Priority.BATCH) is not None for _ in range(3)] == [True, True, False]
    assert [admission.take() is not None for _ in range(3)] == [True, True, False]


def test_a_call_may_lower_its_priority_and_not_raise_it() -> None:
    batch = (("x-priority", "batch"),)
    assert priority_of(Caller(), ()) is Priority.INTERACTIVE
    assert priority_of(Caller(), batch) is priority_of(Caller(priority=Priority.BATCH), ()) is Priority.BATCH
    other = (("x-priority", "interactive"),)
    assert priority_of(Caller(priority=Priority.BATCH), other) is Priority.BATCH


def test_a_caller_uses_its_catalogs_alone() -> None:
    assert Caller().may_use("shop")
    assert Caller(catalogs=frozenset({"shop"})).may_use("shop")
    assert not Caller(catalogs=frozenset({"shop"})).may_use("other")
