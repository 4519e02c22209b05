"""Calls at the door, over real sockets: taken and refused beside the loop, held until they are sent, ended in time."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from benchmarks.load.raw import RawConnection
from retrieval.server import call_server
from retrieval.server import main as server_module
from retrieval.server.admission import Admission, Permit
from retrieval.server.call_server import CallServer
from retrieval.server.caller import ANYONE
from retrieval.server.observer import NoObserver
from retrieval.server.receiving import GaveWay, Receiving
from retrieval.server.settings import ServeSettings

METHOD = "/t.T/Ask"
OK, CANCELLED, INVALID, LATE, EXHAUSTED = 0, 1, 3, 4, 8


class Clock:
    """Stands still until told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def serving(
    ask: Callable[[bytes, Any], Awaitable[bytes]],
    admission: Admission,
    sending: float = 30,
    options: Sequence = (),
    place: bool = True,
) -> AsyncIterator[str]:
    method = grpc.unary_unary_rpc_method_handler(ask, request_deserializer=bytes, response_serializer=bytes)
    gate = CallServer({admission: {METHOD}} if place else {}, options, sending)
    gate.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", {"Ask": method}),))
    port = gate.add_insecure_port("127.0.0.1:0")
    await gate.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await gate.stop(0.2)


async def echo(request: bytes, _: Any) -> bytes:
    return request


async def until(condition: Callable[[], bool], *connections: RawConnection) -> None:
    async with asyncio.timeout(20):
        while not condition():
            for connection in connections:
                connection.write()
                connection.read()
            await asyncio.sleep(0.002)


async def codes(connection: RawConnection, *streams: int) -> list[int | None]:
    await until(lambda: not connection.open & set(streams), connection)
    return [connection.calls[stream].code for stream in streams]


def ask(address: str, message: bytes = b"x") -> bytes:
    with grpc.insecure_channel(address, options=[("grpc.enable_retries", 0)]) as channel:
        return channel.unary_unary(METHOD)(message, timeout=20)


async def test_a_call_without_a_place_is_refused_while_the_loop_is_busy() -> None:
    """The loop takes no turn from the time the first call has its place until the second was refused."""
    busy, refused = threading.Event(), threading.Event()

    async def occupy(request: bytes, _: Any) -> bytes:
        busy.set()
        assert refused.wait(20)
        return request

    def clients(address: str) -> grpc.RpcError:
        first = threading.Thread(target=ask, args=(address,))
        first.start()
        assert busy.wait(20)
        with pytest.raises(grpc.RpcError) as error:
            ask(address)
        refused.set()
        first.join()
        return error.value

    async with serving(occupy, Admission(1)) as address:
        error: Any = await asyncio.to_thread(clients, address)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    detail = error_details_pb2.RetryInfo()
    assert rpc_status.from_call(error).details[0].Unpack(detail) and detail.retry_delay.ToNanoseconds() > 0
    pushback = dict(error.trailing_metadata())["grpc-retry-pushback-ms"]
    assert int(pushback) == pytest.approx(detail.retry_delay.ToNanoseconds() / 1e6, abs=1)


async def test_a_call_that_ends_before_its_request_came_leaves_its_place() -> None:
    admission = Admission(1)
    async with serving(echo, admission) as address:
        connection = RawConnection(address, METHOD)
        stream = connection.begin()
        await until(lambda: admission.in_flight == 1, connection)
        connection.reset(stream)
        await until(lambda: admission.in_flight == 0, connection)
        assert await codes(connection, connection.call(b"x")) == [OK]
        connection.close()


async def test_calls_whose_requests_do_not_come_give_way_to_new_calls() -> None:
    clock = Clock()
    admission = Admission(3, clock=clock)
    async with serving(echo, admission) as address:
        silent, other = RawConnection(address, METHOD), RawConnection(address, METHOD)
        streams = [silent.begin() for _ in range(3)]
        await until(lambda: admission.in_flight == 3, silent)
        assert await codes(other, other.call(b"x")) == [EXHAUSTED]  # they may have only just begun
        clock.now += 0.2
        for _ in range(5):
            assert await codes(other, other.call(b"x")) == [OK]
        await until(lambda: silent.calls[streams[0]].code is not None, silent)
        assert [silent.calls[stream].code for stream in streams] == [CANCELLED, None, None]  # one was needed
        assert admission.limit == 3 and admission.refusal().retry_after < 0.2  # nobody's work took so long
        silent.close()
        other.close()


async def test_requests_that_take_too_long_to_come_are_given_up() -> None:
    admission = Admission(1)
    async with serving(echo, admission, sending=0.0) as address:
        silent = RawConnection(address, METHOD)
        assert await codes(silent, silent.begin()) == [CANCELLED]
        await until(lambda: admission.in_flight == 0, silent)
        silent.close()


async def test_calls_without_a_place_wait_for_their_requests_in_a_bounded_number() -> None:
    async with serving(echo, Admission(1), place=False) as address:
        silent, other = RawConnection(address, METHOD), RawConnection(address, METHOD)
        for _ in range(300):
            silent.begin()
        silent.write()
        for _ in range(20):
            assert await codes(other, other.call(b"x")) == [OK]
        await until(lambda: len(silent.open) <= 96, silent)
        assert len(silent.open) > 24
        silent.close()
        other.close()


async def test_a_call_without_a_request_is_the_callers_fault() -> None:
    async with serving(echo, Admission(1)) as address:
        connection = RawConnection(address, METHOD)
        assert await codes(connection, connection.end(connection.begin())) == [INVALID]
        assert await codes(connection, connection.call(b"x")) == [OK]
        connection.close()


async def test_a_place_is_held_until_its_answer_is_sent() -> None:
    admission = Admission(2)
    async with serving(echo, admission) as address:
        slow = RawConnection(address, METHOD, window=0)
        held = slow.call(b"y" * 1000)
        await until(lambda: admission.sending == 1, slow)
        other = RawConnection(address, METHOD)
        assert await codes(other, other.call(b"x")) == [OK]
        assert admission.in_flight == 1 and held in slow.open
        slow.allow(held, 2000)
        assert await codes(slow, held) == [OK] and slow.calls[held].size == 1005
        await until(lambda: admission.in_flight == 0)
        slow.close()
        other.close()


async def test_answers_that_nobody_reads_give_way_to_new_calls() -> None:
    clock = Clock()
    admission = Admission(1, clock=clock)
    async with serving(echo, admission) as address:
        slow, other = RawConnection(address, METHOD, window=0), RawConnection(address, METHOD)
        for number in (1, 2):
            slow.call(b"a" * 1000)
            await until(lambda number=number: admission.sending == number, slow)
        assert await codes(other, other.call(b"x")) == [EXHAUSTED]  # they have just begun to be sent
        clock.now += 1
        assert await codes(other, other.call(b"x")) == [OK]
        await until(lambda: len(slow.open) == 1, slow)
        await until(lambda: admission.in_flight == 1)
        assert {call.code for call in slow.calls.values()} == {CANCELLED, None}
        slow.close()
        other.close()


async def test_answers_that_take_too_long_to_be_sent_are_given_up() -> None:
    admission = Admission(4)
    async with serving(echo, admission, sending=0.1) as address:
        slow = RawConnection(address, METHOD, window=0)
        streams = [slow.call(b"y" * 1000) for _ in range(3)]
        assert await codes(slow, *streams) == [CANCELLED] * 3
        await until(lambda: admission.in_flight == 0)
        slow.close()


async def test_a_socket_that_is_never_read_holds_no_more_answers_than_twice_the_places() -> None:
    """Without flow control in its way, only the connection's own pace holds answers back."""
    admission = Admission(8)

    async def large(_: bytes, __: Any) -> bytes:
        return b"z" * 1_000_000

    async with serving(large, admission) as address:
        deaf, other = RawConnection(address, METHOD, receive_bytes=4096), RawConnection(address, METHOD)

        def full() -> bool:  # once the system's own buffers are
            if admission.sending < 16:
                deaf.call(b"x")
            return deaf.write() and admission.sending == 16

        await until(full)
        assert len(deaf.calls) < 1000
        answers: list[int | None] = []
        while OK not in answers:  # refused until what has just begun to be sent has had its time
            answers += await codes(other, other.call(b"x"))
            await asyncio.sleep(0.01)
        assert admission.in_flight <= 24
        deaf.close()
        other.close()


async def test_rapid_resets_of_one_connection_cost_a_bystander_no_call() -> None:
    options = server_module._options(ServeSettings(address="127.0.0.1:0"))
    async with serving(echo, Admission(50), options=options) as address:
        bystander, asked = RawConnection(address, METHOD), []
        for _ in range(5):
            attacker = RawConnection(address, METHOD)
            for _ in range(4000):
                attacker.reset(attacker.call(b"x"))
            sent = False
            while not sent and not attacker.ended:
                sent = attacker.write()
                asked.append(bystander.call(b"x"))
                bystander.write()
                attacker.read()
                await asyncio.sleep(0.001)
            await until(lambda: not bystander.open, bystander)
            attacker.close()
        ends = [bystander.calls[stream].code for stream in asked]
        assert set(ends) <= {OK, EXHAUSTED} and OK in ends and not bystander.ended
        bystander.close()


async def test_a_call_that_ended_while_it_waited_for_the_loop_is_not_begun() -> None:
    """The loop is held up until the caller's deadline has passed."""
    held, release, begun = threading.Event(), threading.Event(), []

    async def ask(request: bytes, _: Any) -> bytes:
        begun.append(request)
        if request == b"first":
            held.set()
            assert release.wait(20)
        return request

    def clients(address: str) -> grpc.StatusCode:
        with grpc.insecure_channel(address, options=[("grpc.enable_retries", 0)]) as channel:
            call = channel.unary_unary(METHOD)
            first = call.future(b"first", timeout=20)
            assert held.wait(20)
            with pytest.raises(grpc.RpcError) as error:
                call(b"second", timeout=0.1)
            while admission.in_flight > 1:  # its end is known here before the loop goes on
                pass
            release.set()
            assert first.result() == b"first"
            return error.value.code()

    admission = Admission(4)
    async with serving(ask, admission) as address:
        code = await asyncio.to_thread(clients, address)
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED and begun == [b"first"]


async def test_a_call_ends_by_its_deadline_though_the_loop_is_busy() -> None:
    """Its caller keeps no time itself."""
    held, release = threading.Event(), threading.Event()

    async def ask(request: bytes, _: Any) -> bytes:
        held.set()
        assert release.wait(20)
        return request

    def clients(address: str) -> list[int | None]:
        connection = RawConnection(address, METHOD)
        first, second = connection.call(b"first", 20), None
        try:
            while second is None or second in connection.open:
                if second is None and held.is_set():
                    second = connection.call(b"second", 0.1)
                connection.write()
                connection.read()
        finally:
            release.set()
        while first in connection.open:
            connection.read()
        connection.close()
        return [connection.calls[stream].code for stream in (first, second)]

    async with serving(ask, Admission(4)) as address:
        async with asyncio.timeout(30):
            assert await asyncio.to_thread(clients, address) == [OK, LATE]


async def test_a_stream_that_ends_while_its_next_answer_is_begun_leaves_nothing_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its end comes between the start of the work and the moment from which that can be cancelled."""
    begun, watching, begin = threading.Event(), asyncio.Event(), asyncio.run_coroutine_threadsafe

    async def watch(request: bytes, _: Any) -> AsyncIterator[bytes]:
        begun.set()
        await watching.wait()
        yield request

    class Context:
        def __init__(self) -> None:
            self.active = True
            self.ended: Callable[[], object] = lambda: None

        def invocation_metadata(self) -> tuple[()]:
            return ()

        def is_active(self) -> bool:
            return self.active

        def add_callback(self, call: Callable[[], object]) -> bool:
            self.ended = call
            return True

        def abort(self, code: grpc.StatusCode, details: str) -> None:
            raise grpc.RpcError(code, details)

        def set_trailing_metadata(self, metadata: Any) -> None: ...

        def cancel(self) -> None: ...

    context = Context()

    def begin_slowly(work: Any, loop: Any) -> Any:
        future = begin(work, loop)
        if context.active:
            assert begun.wait(20)
            context.active = False
            context.ended()
        return future

    monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", begin_slowly)
    server = CallServer({}, (), 30)
    passage = call_server._Passage("watch", ANYONE, (), NoObserver(), Receiving())
    answers = server._answers(passage, watch, False, iter([b"x"]), context)
    with pytest.raises(grpc.RpcError):
        await asyncio.wait_for(asyncio.to_thread(next, answers), 10)


async def test_a_stream_whose_answers_nobody_reads_ends_when_its_handler_cancels_it() -> None:
    ended = asyncio.Event()
    calls: list[Any] = []

    async def answers(request: bytes, call: Any) -> AsyncIterator[bytes]:
        calls.append(call)
        try:
            while True:
                yield bytes(1000)
        finally:
            ended.set()

    method = grpc.unary_stream_rpc_method_handler(answers, request_deserializer=bytes, response_serializer=bytes)
    server = CallServer({}, (), 30)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", {"Ask": method}),))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    slow = RawConnection(address, METHOD, window=0)
    held = slow.call(b"x")
    await until(lambda: bool(calls), slow)
    calls[0].cancel()
    assert await codes(slow, held) == [CANCELLED]
    await asyncio.wait_for(ended.wait(), 20)
    slow.close()
    await server.stop(0.2)


async def test_many_calls_that_come_at_once_do_not_end_each_other() -> None:
    """Short calls without a place, whose requests are still on their way: the oldest gives way once it is late, or at
    once where all threads would soon wait."""
    clock, cancelled = Clock(), []
    server = CallServer({}, (), 30)
    server._receiving = Receiving(clock)
    with ExitStack() as stack:

        def come(number: int) -> None:
            stack.enter_context(suppress(GaveWay))
            server._make_room()
            stack.enter_context(server._receiving.waiting(Permit(), lambda: cancelled.append(number)))

        for number in range(60):
            come(number)
        assert not cancelled
        clock.now += 0.11
        come(60)
        assert cancelled == [0]
        for number in range(61, 260):
            come(number)
        assert cancelled == list(range(164)) and len(server._receiving) == 96
