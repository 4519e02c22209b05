"""Streams whose requests are answered in their order, a few of them at a time."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, Generic, TypeVar

import grpc

from retrieval.server.call_server import Call
from retrieval.server.calls import request_id
from retrieval.server.failures import failure_of
from retrieval.wire.status import abort, brief
from retrieval.wire.violations import InvalidRequest
from tandem.v1 import search_pb2

log = logging.getLogger("tandem.requests")

MOST_KEY = 256
"""Characters of a request's key."""
_STOPPING = "the service is stopping; send the requests after sequence {} again"
_FAILED = "the service failed on this request; its log has the reason under request id {}"

Result = TypeVar("Result")


class OrderedStreams(Generic[Result]):
    """The open streams of a method."""

    def __init__(self, most: int, at_once: int, full: str, draining: asyncio.Event) -> None:
        """`most` streams are open at a time, one more is refused with the text `full`, and each has so many requests in
        work at once. Streams end when `draining` is set, with what they have begun."""
        self._most = most
        self._at_once = at_once
        self._full = full
        self._draining = draining
        self._open = 0

    async def answer(
        self,
        requests: AsyncIterator[Any],
        context: Call,
        work: Callable[[str, Any, int], Awaitable[Result]],
    ) -> AsyncGenerator[Result]:
        """What `work` returns for each request, given the stream's request id and the request's number, from 1."""
        if self._open >= self._most:
            await abort(context, grpc.StatusCode.RESOURCE_EXHAUSTED, self._full)
        self._open += 1
        stream = OrderedStream(requests, partial(work, request_id(context)), self._draining, self._at_once)
        try:
            async for outcome in stream.outcomes():
                yield outcome
            if not stream.ended:
                await abort(context, grpc.StatusCode.UNAVAILABLE, _STOPPING.format(stream.sequence))
        finally:
            self._open -= 1
            stream.cancel()


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
