"""The server of calls: one thread takes them, refuses those without a place, and hands the others to the event loop.

grpc.aio takes each call by several turns of the loop that also answers. When more comes than can be answered, those
turns are what is short: calls wait unseen until their deadlines have passed, and refusing one costs five times as much.
Here gRPC's threaded server listens. Its one thread decides before anything of a request is read: the gate says who
calls and lets it in, and the admission has a place for it or not. An admitted call has a thread for its bytes, and its
handler, written as for grpc.aio, runs on the loop. An observer sees how each call ended.
"""

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from functools import partial
from typing import Any, NoReturn

import grpc

from retrieval.server.admission import Admission, Permit
from retrieval.server.call_threads import SHORT_CALLS, CallThreads, OpenStreams
from retrieval.server.caller import ANYONE, Caller, Priority
from retrieval.server.connections import close_connections
from retrieval.server.gate import Gate, OpenGate, Refused, priority_of
from retrieval.server.observer import CallObserver, NoObserver, in_trace
from retrieval.server.receiving import GaveWay, Receiving
from retrieval.server.refusals import Refusals, refusing
from retrieval.server.request_ids import read_request_id
from retrieval.wire.status import Metadata

log = logging.getLogger("tandem.requests")

_SWEEP_SECONDS = 0.5
# A call whose request has not come after so many seconds gives way to another that finds no place. Callers send both
# at once. Of short calls without a place, so many may wait for their requests for longer, and in no case so many more.
_RECEIVING_SECONDS = 0.02
_SHORT_RECEIVING_SECONDS, _MOST_RECEIVING, _MORE_RECEIVING = 0.1, 32, SHORT_CALLS // 2
# So soon gRPC's thread gets to run while others compute; Python's own 5 ms would hold up each call a few times.
_SWITCH_SECONDS = 0.001
_NO_DEADLINE = 1e8  # seconds; gRPC's threaded server has a time without end for calls without one
# When it stops, calls that are in flight have so many seconds to end before clients are told to go elsewhere: their
# calls are refused meanwhile.
_SHORT_SECONDS, _LOOK_SECONDS = 0.5, 0.005
_LAST = object()
_FAILED = "the service failed on this request; its log has the reason"
_NO_REQUEST = "the call ended without a request: send one"
_STOPS = Refused(grpc.StatusCode.UNAVAILABLE, "the service is stopping; send the call again", "stopping")
_FULL = "too many streams are open; close some, or ask another process"


class CallAborted(grpc.aio.AbortError):
    """What `Call.abort` raises."""

    def __init__(self, code: grpc.StatusCode, details: str, metadata: Metadata) -> None:
        super().__init__(details)
        self.code, self.details, self.metadata = code, details, metadata


class Call:
    """What a handler gets: the part of `grpc.aio.ServicerContext` that handlers here use, the call's place, who calls,
    and the id of the request. Made on the call's own thread."""

    def __init__(self, context: grpc.ServicerContext, permit: Permit, caller: Caller = ANYONE) -> None:
        """`permit` holds no place where the method needs none."""
        self._context = context
        self.permit = permit
        self.caller = caller
        self.request_id = read_request_id(tuple(context.invocation_metadata() or ()))

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()) -> NoReturn:
        """Ends the call with this status."""
        raise CallAborted(code, details, trailing_metadata)

    def cancel(self) -> None:
        """Ends the call though what it sends is not taken."""
        self._context.cancel()

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline; None without one."""
        seconds = self._context.time_remaining()
        return None if seconds is None or seconds > _NO_DEADLINE else seconds


class CallServer(grpc.GenericRpcHandler):
    """Serves handlers that run on an event loop. Calls of `bounded` methods need a place of their admission."""

    def __init__(
        self,
        bounded: Mapping[Admission, Collection[str]],
        options: Sequence[tuple[str, int]],
        sending: float,
        gate: Gate | None = None,
        observer: CallObserver | None = None,
    ) -> None:
        """`bounded` has for each admission the full names of its methods, of one request and one answer. Answers that
        take longer than `sending` seconds to be sent are given up. Without a gate everybody comes in. For use on a
        running event loop."""
        self._gate = gate or OpenGate()
        self._observer = observer or NoObserver()
        self._places = {
            name: places for admission, names in bounded.items() for places in [_Places(admission)] for name in names
        }
        self._sending = sending
        self._loop = asyncio.get_running_loop()
        self._handlers: list[grpc.GenericRpcHandler] = []
        self._methods: dict[str, grpc.RpcMethodHandler | None] = {}
        self._threads = CallThreads()
        self._receiving = Receiving()  # of calls without a place
        self._streams = OpenStreams()
        self._full = refusing(grpc.StatusCode.RESOURCE_EXHAUSTED, _FULL)
        self._server = grpc.server(self._threads, handlers=[self], options=list(options))
        self._ports: set[int] = set()
        self._stopping = False

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """As of `grpc.aio.Server`; handlers are coroutine functions, or asynchronous generators for streams."""
        self._handlers.extend(handlers)

    def add_insecure_port(self, address: str) -> int:
        """The port that is listened on. Raises RuntimeError."""
        return self._listening(self._server.add_insecure_port(address))

    def add_secure_port(self, address: str, credentials: grpc.ServerCredentials) -> int:
        """The same with TLS."""
        return self._listening(self._server.add_secure_port(address, credentials))

    def _listening(self, port: int) -> int:
        self._ports.add(port)
        return port

    async def start(self) -> None:
        """Takes calls from now on."""
        sys.setswitchinterval(min(_SWITCH_SECONDS, sys.getswitchinterval()))
        self._server.start()
        self._sweeping = self._loop.create_task(self._sweep())

    async def stop(self, grace: float) -> None:
        """Takes no more calls, and returns when those in flight have ended, which they must within `grace` seconds."""
        self._stopping = True
        end = self._loop.time() + grace
        short = min(end, self._loop.time() + _SHORT_SECONDS)
        while self._in_flight() and self._loop.time() < short:
            await asyncio.sleep(_LOOK_SECONDS)
        if not self._in_flight():
            # gRPC would cancel what it has received and not handed over, and clients send no cancelled call again.
            # Those whose connection ended they do.
            close_connections(self._ports)
        ended = self._server.stop(max(0.0, end - self._loop.time()))
        await asyncio.to_thread(ended.wait)
        self._sweeping.cancel()
        self._threads.close()
        for places in set(self._places.values()):
            places.threads.shutdown(wait=False)

    def _in_flight(self) -> int:
        """Calls that run, or whose answers are on their way."""
        return self._threads.running + sum(places.admission.sending for places in set(self._places.values()))

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """Called by gRPC on its one thread for each call, before anything of its request is read; see `CallThreads`."""
        name = str(details.method)
        method = self._methods[name] if name in self._methods else self._find(name, details)
        if method is None:
            self._observer.refuse("", grpc.StatusCode.UNIMPLEMENTED, "unknown_method")
            return None
        if self._stopping:
            return self._refuse(name, _STOPS)
        metadata = tuple(details.invocation_metadata or ())
        try:
            caller = self._gate.enter(name, metadata)
        except Exception as error:
            return self._refuse(name, error if isinstance(error, Refused) else _unexpected(error))
        if method.request_streaming or method.response_streaming:
            return self._stream(method, name, caller, metadata)
        places = self._places.get(name)
        if places is None:
            self._make_room()
            passage = _Passage(name, caller, metadata, self._observer, self._receiving)
            self._threads.assign(self._threads.short, passage.leave)
            return self._unary(method, passage)
        permit = places.take(priority_of(caller, metadata))
        if permit is None:
            self._gate.give_back(caller)
            self._observer.refuse(name, grpc.StatusCode.RESOURCE_EXHAUSTED, "overload")
            self._threads.assign(None)
            return places.refused.handler
        passage = _Passage(name, caller, metadata, self._observer, self._receiving)
        passage.permit, passage.receiving = permit, places.receiving
        self._threads.assign(places.threads, passage.leave)
        return self._unary(method, passage)

    def _refuse(self, name: str, refused: Refused) -> grpc.RpcMethodHandler:
        self._observer.refuse(name, refused.code, refused.reason)
        self._threads.assign(None)
        return refusing(refused.code, str(refused), refused.metadata)

    def _find(self, name: str, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        methods = (handler.service(details) for handler in self._handlers)
        method = next((each for each in methods if each is not None), None)
        if method is not None:  # callers make up other names without end
            self._methods[name] = method
        return method

    def _make_room(self) -> None:
        """For one more call that waits for its request without a place."""
        if len(self._receiving) >= _MOST_RECEIVING:
            full = len(self._receiving) >= _MOST_RECEIVING + _MORE_RECEIVING
            self._receiving.give_way(0.0 if full else _SHORT_RECEIVING_SECONDS)

    def _unary(self, method: grpc.RpcMethodHandler, passage: "_Passage") -> grpc.RpcMethodHandler:
        """As if of several requests: of one, gRPC waits for it before anything here can end the call."""
        answer = partial(self._answer, method, passage)
        return grpc.stream_unary_rpc_method_handler(answer, request_deserializer=method.request_deserializer)

    def _answer(self, method: grpc.RpcMethodHandler, passage: "_Passage", requests: Any, context: Any) -> bytes:
        """Runs a handler on the loop and waits for it, on the call's own thread."""
        request = passage.receive(requests, context)
        permit = passage.permit
        permit.in_use = True
        handler: Any = method.unary_unary
        work = self._identified(passage, context, lambda caller: handler(request, Call(context, permit, caller)))
        with in_trace(passage.trace):
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        # Called when the call has ended, however that came about, and all that was to be sent has been.
        if not context.add_callback(partial(_end, future, permit)):
            _end(future, permit)
        serialize: Any = method.response_serializer
        answered = False
        try:
            answer = passage.result(future, context)
            answered = True
        finally:
            permit.start_sending(context.cancel, answered)
        return answer if serialize is None else serialize(answer)

    def _identified(
        self, passage: "_Passage", context: Any, work: Callable[[Caller], Awaitable[Any]]
    ) -> Coroutine[Any, Any, Any]:
        """The outcome of the work for the caller as the connection identifies it, or of not letting it in."""
        try:
            passage.caller = self._gate.identify(passage.caller, passage.method, context)
        except Exception as error:
            return _failing(error)
        return _outcome(work(passage.caller), context.is_active)

    def _stream(
        self, method: grpc.RpcMethodHandler, name: str, caller: Caller, metadata: Metadata
    ) -> grpc.RpcMethodHandler:
        if not self._streams.enter(name):
            self._gate.give_back(caller)
            self._observer.refuse(name, grpc.StatusCode.RESOURCE_EXHAUSTED, "streams")
            self._threads.assign(None)
            return self._full
        passage = _Passage(name, caller, metadata, self._observer, self._receiving)

        def leave() -> None:
            self._streams.leave(name)
            passage.leave()

        self._threads.assign(self._threads.streams, leave)
        kinds = {"request_deserializer": method.request_deserializer, "response_serializer": method.response_serializer}
        if method.request_streaming:
            several = partial(self._answers, passage, method.stream_stream, True)
            return grpc.stream_stream_rpc_method_handler(several, **kinds)
        self._make_room()
        one = partial(self._answers, passage, method.unary_stream, False)
        return grpc.stream_stream_rpc_method_handler(one, **kinds)

    def _answers(self, passage: "_Passage", handler: Any, several: bool, requests: Any, context: Any) -> Iterator[Any]:
        """Runs a handler of a stream on the loop, one answer after the other, on the stream's own thread."""
        request = self._requests(requests, passage) if several else passage.receive(requests, context)
        waiting: list[Future] = []
        context.add_callback(lambda: [future.cancel() for future in waiting])
        answers: Any = None

        def begin(caller: Caller) -> Awaitable[Any]:
            nonlocal answers
            answers = handler(request, Call(context, Permit(), caller))
            return anext(answers, _LAST)

        work: Callable[[], Coroutine[Any, Any, Any]] = partial(self._identified, passage, context, begin)
        try:
            while context.is_active():
                waiting[:] = [asyncio.run_coroutine_threadsafe(work(), self._loop)]
                if not context.is_active():  # its end came before this was there to be cancelled
                    waiting[0].cancel()
                if (answer := passage.result(waiting[0], context)) is _LAST:
                    return
                yield answer
                work = partial(_next_outcome, answers, context.is_active)
        finally:
            if answers is not None:
                asyncio.run_coroutine_threadsafe(answers.aclose(), self._loop)

    async def _requests(self, requests: Iterator[Any], passage: "_Passage") -> AsyncIterator[Any]:
        """Those of a stream. Each counts as a call, the first as that of the stream, and waits until it may come."""
        counted = True
        while (request := await self._loop.run_in_executor(self._threads.readers, _read, requests)) is not _LAST:
            try:
                while not counted and (seconds := self._gate.count(passage.caller)):
                    await asyncio.sleep(seconds)
            except Refused as error:
                raise CallAborted(error.code, str(error), error.metadata) from None
            counted = False
            yield request

    async def _sweep(self) -> None:
        """Cancels, for ever, calls whose answers take too long to be sent, also where nobody needs their places."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            for places in set(self._places.values()):
                places.admission.cancel_sending(self._sending)
                places.receiving.end(self._sending)
            self._receiving.end(self._sending)


class _Passage:
    """One call from the gate to its end, which the observer sees once."""

    __slots__ = ("_ended", "_observer", "_since", "caller", "method", "permit", "receiving", "trace")

    def __init__(
        self, method: str, caller: Caller, metadata: Metadata, observer: CallObserver, receiving: Receiving
    ) -> None:
        self.method, self.caller = method, caller
        self.trace = observer.begin(method, metadata)
        self.permit, self.receiving = Permit(), receiving
        self._observer, self._since, self._ended = observer, time.monotonic(), False

    def receive(self, requests: Iterator[Any], context: Any) -> Any:
        """The one request of a call. Where its caller goes, or it gives way to others, an error ends the call."""
        try:
            with self.receiving.waiting(self.permit, context.cancel):
                request = next(requests, _LAST)
        except GaveWay:
            context.abort(grpc.StatusCode.CANCELLED, _NO_REQUEST)
        if request is _LAST:
            self._end(grpc.StatusCode.INVALID_ARGUMENT)
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, _NO_REQUEST)
        return request

    def result(self, future: Future, context: Any) -> Any:
        """The handler's result, or that a stream has no more. A failure becomes the call's status."""
        try:
            outcome = future.result()
        except CancelledError:  # the caller has gone
            outcome = CallAborted(grpc.StatusCode.CANCELLED, "", ())
        if not isinstance(outcome, Exception):
            if self.permit.in_use or outcome is _LAST:
                # A stream whose caller has gone may have read that as the end of its requests.
                self._end(grpc.StatusCode.OK if context.is_active() else grpc.StatusCode.CANCELLED)
            return outcome
        if isinstance(outcome, Refused):
            outcome = CallAborted(outcome.code, str(outcome), outcome.metadata)
        elif not isinstance(outcome, CallAborted):
            log.error("a call failed", exc_info=outcome)
            outcome = CallAborted(grpc.StatusCode.INTERNAL, _FAILED, ())
        self._end(outcome.code)
        context.set_trailing_metadata(outcome.metadata)
        context.abort(outcome.code, outcome.details)

    def leave(self) -> None:
        """The call's thread is done with it; what did not end by then was given up by its caller."""
        self.permit.release_unused()
        self._end(grpc.StatusCode.CANCELLED)

    def _end(self, code: grpc.StatusCode) -> None:
        if not self._ended:
            self._ended = True
            self._observer.end(self.method, code, time.monotonic() - self._since, self.caller, self.trace)


class _Places:
    """The places of some methods, the threads of calls that have one, and the refusal of others."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.threads = ThreadPoolExecutor(2 * admission.ceiling, thread_name_prefix="call")
        self.refused = Refusals(admission)
        self.receiving = Receiving(admission.clock)

    def take(self, priority: Priority) -> Permit | None:
        """A place of the admission, in the last resort that of a call whose request does not come."""
        permit = self.admission.take(priority)
        if permit is None and self.receiving.give_way(_RECEIVING_SECONDS):
            permit = self.admission.take(priority)
        return permit


def _unexpected(error: Exception) -> Refused:
    log.error("the gate failed", exc_info=error)
    return Refused(grpc.StatusCode.INTERNAL, _FAILED, "failed")


def _end(future: Future, permit: Permit) -> None:
    future.cancel()
    permit.release()


async def _outcome(work: Any, is_active: Callable[[], bool]) -> Any:
    """The result or the error: of a call that has ended meanwhile nobody reads either. Of one that ended while it
    waited for the loop nothing is begun."""
    if not is_active():
        work.close()
        return CallAborted(grpc.StatusCode.CANCELLED, "", ())
    try:
        return await work
    except Exception as error:
        return error


def _next_outcome(answers: Any, is_active: Callable[[], bool]) -> Coroutine[Any, Any, Any]:
    return _outcome(anext(answers, _LAST), is_active)


async def _failing(error: Exception) -> Exception:
    return error


def _read(requests: Iterator[Any]) -> Any:
    try:
        return next(requests, _LAST)
    except grpc.RpcError:  # the caller has gone
        return _LAST
