"""The server of calls: one thread takes them, refuses those without a place, and hands the others to the event loop.

grpc.aio takes each call by several turns of the loop that also answers. When more comes than can be answered, those
turns are what is short: calls wait unseen until their deadlines have passed, and refusing one costs five times as much.
Here gRPC's threaded server listens. Its one thread decides before anything of a request is read; an admitted call
has a thread for its bytes, and its handler, written as for grpc.aio, runs on the loop.
"""

import asyncio
import logging
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from functools import partial
from typing import Any, NoReturn

import grpc

from retrieval.server.admission import Admission, Permit
from retrieval.wire.status import Metadata, refusal

log = logging.getLogger("tandem.requests")

# Threads beside those of calls that have a place: for short calls without one, and for streams that stand open.
_SHORT_CALLS, _STREAMS = 4, 1000
_REFUSAL_SECONDS = 0.02  # all calls refused within this time get the same refusal
_SWEEP_SECONDS = 0.5
# So soon gRPC's thread gets to run while others compute; Python's own 5 ms would hold up each call a few times.
_SWITCH_SECONDS = 0.001
_NO_DEADLINE = 1e8  # seconds; gRPC's threaded server has a time without end for calls without one
_LAST = object()
_FAILED = "the service failed on this request; its log has the reason"
_FULL = "too many streams are open; close some, or ask another process"


def _nothing() -> None:
    """The end of a call without a place."""


class CallAborted(grpc.aio.AbortError):
    """What `Call.abort` raises."""

    def __init__(self, code: grpc.StatusCode, details: str, metadata: Metadata) -> None:
        super().__init__(details)
        self.code, self.details, self.metadata = code, details, metadata


class Call:
    """What a handler gets: the part of `grpc.aio.ServicerContext` that handlers here use, and the call's place."""

    def __init__(self, context: grpc.ServicerContext, permit: Permit) -> None:
        """`permit` holds no place where the method needs none."""
        self._context = context
        self.permit = permit

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()) -> NoReturn:
        """Ends the call with this status."""
        raise CallAborted(code, details, trailing_metadata)

    def invocation_metadata(self) -> Metadata:
        """What the caller sent beside the request."""
        return tuple(self._context.invocation_metadata() or ())

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline; None without one."""
        seconds = self._context.time_remaining()
        return None if seconds is None or seconds > _NO_DEADLINE else seconds


class CallServer(grpc.GenericRpcHandler):
    """Serves handlers that run on an event loop. Calls of `bounded` methods need a place of their admission."""

    def __init__(
        self, bounded: Mapping[Admission, Collection[str]], options: Sequence[tuple[str, int]], sending: float
    ) -> None:
        """`bounded` has for each admission the full names of its methods, of one request and one answer. Answers that
        take longer than `sending` seconds to be sent are given up. For use on a running event loop."""
        self._places = {
            name: places for admission, names in bounded.items() for places in [_Places(admission)] for name in names
        }
        self._sending = sending
        self._loop = asyncio.get_running_loop()
        self._handlers: list[grpc.GenericRpcHandler] = []
        self._methods: dict[str, grpc.RpcMethodHandler | None] = {}
        self._threads = _Threads()
        self._streams = _Streams(_STREAMS)
        self._full = _refusing(_FULL)
        self._server = grpc.server(self._threads, handlers=[self], options=list(options))

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """As of `grpc.aio.Server`; handlers are coroutine functions, or asynchronous generators for streams."""
        self._handlers.extend(handlers)

    def add_insecure_port(self, address: str) -> int:
        """The port that is listened on. Raises RuntimeError."""
        return self._server.add_insecure_port(address)

    async def start(self) -> None:
        """Takes calls from now on."""
        sys.setswitchinterval(min(_SWITCH_SECONDS, sys.getswitchinterval()))
        self._server.start()
        self._sweeping = self._loop.create_task(self._sweep())

    async def stop(self, grace: float) -> None:
        """Takes no more calls, and returns when those in flight have ended, which they must within `grace` seconds."""
        ended = self._server.stop(grace)
        await asyncio.to_thread(ended.wait)
        self._sweeping.cancel()
        self._threads.close()
        for places in set(self._places.values()):
            places.threads.shutdown(wait=False)

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """Called by gRPC on its one thread for each call, before anything of its request is read; see `_Threads`."""
        name = str(details.method)
        method = self._methods[name] if name in self._methods else self._find(name, details)
        if method is None:
            return None
        if method.request_streaming or method.response_streaming:
            return self._stream(method)
        places = self._places.get(name)
        if places is None:
            self._threads.assign(self._threads.short)
            return self._unary(method, Permit())
        permit = places.admission.take()
        if permit is None:
            self._threads.assign(None)
            return places.refused.handler
        self._threads.assign(places.threads, permit.release_unused)
        return self._unary(method, permit)

    def _find(self, name: str, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        methods = (handler.service(details) for handler in self._handlers)
        method = next((each for each in methods if each is not None), None)
        if method is not None:  # callers make up other names without end
            self._methods[name] = method
        return method

    def _unary(self, method: grpc.RpcMethodHandler, permit: Permit) -> grpc.RpcMethodHandler:
        answer = partial(self._answer, method, permit)
        return grpc.unary_unary_rpc_method_handler(answer, request_deserializer=method.request_deserializer)

    def _answer(self, method: grpc.RpcMethodHandler, permit: Permit, request: Any, context: Any) -> bytes:
        """Runs a handler on the loop and waits for it, on the call's own thread."""
        permit.in_use = True
        handler: Any = method.unary_unary
        future = asyncio.run_coroutine_threadsafe(_outcome(handler(request, Call(context, permit))), self._loop)
        # Called when the call has ended, however that came about, and all that was to be sent has been.
        if not context.add_callback(partial(_end, future, permit)):
            _end(future, permit)
        serialize: Any = method.response_serializer
        try:
            answer = _result(future, context)
        finally:
            permit.start_sending(context.cancel)
        return answer if serialize is None else serialize(answer)

    def _stream(self, method: grpc.RpcMethodHandler) -> grpc.RpcMethodHandler:
        if not self._streams.enter():
            self._threads.assign(None)
            return self._full
        self._threads.assign(self._threads.streams, self._streams.leave)
        kinds = {"request_deserializer": method.request_deserializer, "response_serializer": method.response_serializer}
        if method.request_streaming:
            return grpc.stream_stream_rpc_method_handler(partial(self._answers, method.stream_stream, True), **kinds)
        return grpc.unary_stream_rpc_method_handler(partial(self._answers, method.unary_stream, False), **kinds)

    def _answers(self, handler: Any, several: bool, request: Any, context: Any) -> Iterator[Any]:
        """Runs a handler of a stream on the loop, one answer after the other, on the stream's own thread."""
        answers = handler(self._requests(request) if several else request, Call(context, Permit()))
        waiting: list[Future] = []
        context.add_callback(lambda: [future.cancel() for future in waiting])
        try:
            while context.is_active():
                waiting[:] = [asyncio.run_coroutine_threadsafe(_outcome(anext(answers, _LAST)), self._loop)]
                if (answer := _result(waiting[0], context)) is _LAST:
                    return
                yield answer
        finally:
            asyncio.run_coroutine_threadsafe(answers.aclose(), self._loop)

    async def _requests(self, requests: Iterator[Any]) -> AsyncIterator[Any]:
        while (request := await self._loop.run_in_executor(self._threads.readers, _read, requests)) is not _LAST:
            yield request

    async def _sweep(self) -> None:
        """Cancels, for ever, calls whose answers take too long to be sent, also where nobody needs their places."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            for places in set(self._places.values()):
                places.admission.cancel_sending(self._sending)


class _Threads(ThreadPoolExecutor):
    """The threads of calls. gRPC submits each call right after `CallServer.service`, which assigns its pool here."""

    def __init__(self) -> None:
        super().__init__(1)  # never used itself
        self.short = ThreadPoolExecutor(_SHORT_CALLS, thread_name_prefix="short")
        self.streams = ThreadPoolExecutor(_STREAMS, thread_name_prefix="stream")
        self.readers = ThreadPoolExecutor(_STREAMS, thread_name_prefix="reader")
        self._next: tuple[ThreadPoolExecutor | None, Callable[[], None]] = (None, _nothing)

    def assign(self, pool: ThreadPoolExecutor | None, on_end: Callable[[], None] = _nothing) -> None:
        """Has the next call run in this pool; at once where it is None. `on_end` is called when it ended."""
        self._next = (pool, on_end)

    def submit(self, work: Callable, /, *arguments: Any, **named: Any) -> Any:
        """As of any executor. What runs at once has no future."""
        pool, on_end = self._next
        if pool is None:
            work(*arguments, **named)
            return None
        try:
            return pool.submit(_work, on_end, work, arguments, named)
        except RuntimeError:  # it was shut down
            on_end()
            raise

    def close(self) -> None:
        """Ends all threads once what runs is done."""
        for pool in (self, self.short, self.streams, self.readers):
            pool.shutdown(wait=False)


class _Places:
    """The places of some methods, the threads of calls that have one, and the refusal of others."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.threads = ThreadPoolExecutor(2 * admission.limit, thread_name_prefix="call")
        self.refused = _Refusals(admission)


class _Streams:
    """Counts open streams. They enter on gRPC's thread and leave on any."""

    def __init__(self, limit: int) -> None:
        self._limit, self._open = limit, 0
        self._lock = threading.Lock()

    def enter(self) -> bool:
        """Whether there was room for one more."""
        with self._lock:
            entered = self._open < self._limit
            self._open += entered
            return entered

    def leave(self) -> None:
        """One has ended."""
        with self._lock:
            self._open -= 1


class _Refusals:
    """Refuses calls by one handler, which is made anew every few milliseconds and not for each call."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._until = 0.0
        self._handler: grpc.RpcMethodHandler | None = None

    @property
    def handler(self) -> grpc.RpcMethodHandler:
        """States when to try again, as measured now."""
        now = self._admission.clock()
        if self._handler is None or now >= self._until:
            message, metadata = refusal(self._admission.refusal())
            self._handler = _refusing(message, metadata)
            self._until = now + _REFUSAL_SECONDS
        return self._handler


def _refusing(message: str, metadata: Metadata = ()) -> grpc.RpcMethodHandler:
    """A handler that ends calls before their requests are read. It is a stream's, since for others gRPC reads first."""

    def refuse(_: Any, context: grpc.ServicerContext) -> Iterator[bytes]:
        context.set_code(grpc.StatusCode.RESOURCE_EXHAUSTED)
        context.set_details(message)
        context.set_trailing_metadata(metadata)
        return iter(())

    return grpc.stream_stream_rpc_method_handler(refuse)


def _work(on_end: Callable[[], None], work: Callable, arguments: tuple, named: dict) -> Any:
    try:
        return work(*arguments, **named)
    finally:
        on_end()


def _end(future: Future, permit: Permit) -> None:
    future.cancel()
    permit.release()


def _result(future: Future, context: Any) -> Any:
    """The handler's result. A failure becomes the call's status."""
    try:
        outcome = future.result()
    except CancelledError:  # the caller has gone
        outcome = CallAborted(grpc.StatusCode.CANCELLED, "", ())
    if not isinstance(outcome, Exception):
        return outcome
    if not isinstance(outcome, CallAborted):
        log.error("a call failed", exc_info=outcome)
        outcome = CallAborted(grpc.StatusCode.INTERNAL, _FAILED, ())
    context.set_trailing_metadata(outcome.metadata)
    context.abort(outcome.code, outcome.details)


async def _outcome(work: Awaitable[Any]) -> Any:
    """The result or the error: of a call that has ended meanwhile nobody reads either."""
    try:
        return await work
    except Exception as error:
        return error


def _read(requests: Iterator[Any]) -> Any:
    try:
        return next(requests, _LAST)
    except grpc.RpcError:  # the caller has gone
        return _LAST
