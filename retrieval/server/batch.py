"""BatchSearch: a stream of searches, answered in its order by what searches leave free."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import grpc

from retrieval.server.admission import Permit
from retrieval.server.bulk import BulkQueue
from retrieval.server.call_server import Call
from retrieval.server.calls import Unreadable, guarded_stream, reader, request_id
from retrieval.server.failures import failure_of
from retrieval.wire.request import InvalidRequest, Violation
from retrieval.wire.status import abort, brief
from tandem.v1 import search_pb2

log = logging.getLogger("tandem.requests")

SERVICE = "tandem.v1.SearchService"
MOST_STREAMS = 16
"""Streams at a time; each holds up to four requests and answers."""
MOST_KEY = 256
"""Characters of a request's key."""
_AT_ONCE = 4  # searches of a stream
_FULL = f"{MOST_STREAMS} batches are open already; wait until one ends, or send the searches in one of them"
_STOPPING = "the service is stopping; send the requests after sequence {} again"
_FAILED = "the service failed on this request; its log has the reason under request id {}"

Result = TypeVar("Result")
Answer = Callable[[search_pb2.SearchRequest, str, float, Permit], Awaitable[search_pb2.SearchResponse]]


class BatchSearch:
    """The method of the service."""

    def __init__(self, answer: Answer, queue: BulkQueue, seconds: float, draining: asyncio.Event) -> None:
        """`answer` answers one search by a deadline, a time of the loop's clock; each has `seconds` from its place on.

        Streams end when `draining` is set, with what they have begun.
        """
        self._answer = answer
        self._queue = queue
        self._seconds = seconds
        self._draining = draining
        self._open = 0

    def handlers(self) -> grpc.GenericRpcHandler:
        """The method."""
        method = grpc.stream_stream_rpc_method_handler(
            guarded_stream(self.search),
            request_deserializer=reader(search_pb2.BatchSearchRequest),
            response_serializer=_Outcome.serialize,
        )
        return grpc.method_handlers_generic_handler(SERVICE, {"BatchSearch": method})

    async def search(self, requests: AsyncIterator[Any], context: Call) -> AsyncIterator["_Outcome"]:
        """Answers a stream. The next request is read when fewer than four are being answered or wait to be sent."""
        if self._open >= MOST_STREAMS:
            await abort(context, grpc.StatusCode.RESOURCE_EXHAUSTED, _FULL)
        self._open += 1
        stream = OrderedStream(requests, partial(self._one, request_id(context)), self._draining, _AT_ONCE)
        try:
            async for outcome in stream.outcomes():
                yield outcome
            if not stream.ended:
                await abort(context, grpc.StatusCode.UNAVAILABLE, _STOPPING.format(stream.sequence))
        finally:
            self._open -= 1
            stream.cancel()

    async def _one(self, stream: str, request: Any, sequence: int) -> "_Outcome":
        message = search_pb2.BatchSearchResponse(sequence=sequence)
        name = f"{stream}-{sequence}"
        try:
            if isinstance(request, Unreadable):
                raise request.error
            message.key = request.key[:MOST_KEY]
            if len(request.key) > MOST_KEY:
                raise InvalidRequest([Violation("key", f"has {len(request.key)} characters; send at most {MOST_KEY}")])
            return _Outcome(message, await self._by_deadline(request.search, name))
        except Exception as error:
            message.error.CopyFrom(call_error(error, name))
        return _Outcome(message)

    async def _by_deadline(self, request: search_pb2.SearchRequest, name: str) -> search_pb2.SearchResponse:
        """Answers a search once there is a place for it."""
        permit = await self._queue.take()
        try:
            deadline = asyncio.get_running_loop().time() + self._seconds
            async with asyncio.timeout_at(deadline):
                return await self._answer(request, name, deadline, permit)
        finally:
            permit.release()


@dataclass(slots=True)
class _Outcome:
    """What is sent; the answer is put into its message by the thread that sends it, since it may be large."""

    message: search_pb2.BatchSearchResponse
    answer: search_pb2.SearchResponse | None = None

    def serialize(self) -> bytes:
        """The message's bytes."""
        if self.answer is not None:
            self.message.response.CopyFrom(self.answer)
        return self.message.SerializeToString()


class OrderedStream(Generic[Result]):
    """The requests of one stream, those begun in a queue."""

    def __init__(
        self,
        requests: AsyncIterator[Any],
        work: Callable[[Any, int], Awaitable[Result]],
        draining: asyncio.Event,
        at_once: int,
    ) -> None:
        """`work` takes a request and its number, from 1; so many are in work at once."""
        self.sequence = 0
        self.ended = False
        self._requests = requests
        self._work = work
        self._at_once = at_once
        self._begun: deque[asyncio.Future[Result]] = deque()
        self._reading: asyncio.Future[Any] | None = None
        self._draining = draining
        self._stopping: asyncio.Future[Any] = asyncio.ensure_future(draining.wait())

    async def outcomes(self) -> AsyncIterator[Result]:
        """What came of the requests, in their order. It waits for the next request and the first answer at once."""
        while True:
            stopping = self._stopping.done()
            if self._reading is None and not self.ended and not stopping and len(self._begun) < self._at_once:
                self._reading = asyncio.ensure_future(anext(self._requests, None))
            reading = None if stopping else self._reading
            if reading is None and not self._begun:
                return
            waiting = [future for future in (reading, self._begun[0] if self._begun else None) if future is not None]
            await asyncio.wait([*waiting, *([] if stopping else [self._stopping])], return_when=asyncio.FIRST_COMPLETED)
            if reading is not None and reading.done():
                self._begin(reading.result())
            if self._begun and self._begun[0].done():
                yield self._begun.popleft().result()

    def cancel(self) -> None:
        """Ends what was begun and not sent."""
        for future in (*self._begun, self._stopping, *([self._reading] if self._reading else [])):
            future.cancel()

    def _begin(self, request: Any) -> None:
        self._reading = None
        if request is None:
            self.ended = True
            return
        self.sequence += 1
        self._begun.append(asyncio.ensure_future(self._work(request, self.sequence)))


def call_error(error: Exception, name: str) -> search_pb2.CallError:
    """What the response to one request of a stream says of its failure; `name` is that of the request."""
    if isinstance(error, InvalidRequest):
        return _error(grpc.StatusCode.INVALID_ARGUMENT, str(error))
    failure = failure_of(error, name)
    if failure is not None:
        return _error(failure.code, failure.message)
    log.error("request %s failed", name, exc_info=error)
    return _error(grpc.StatusCode.INTERNAL, _FAILED.format(name))


def _error(code: grpc.StatusCode, message: str) -> search_pb2.CallError:
    return search_pb2.CallError(code=code.value[0], message=brief(message))
