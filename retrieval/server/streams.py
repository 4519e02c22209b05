"""Streams whose requests are answered in their order, a few of them at a time."""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection
from functools import partial
from operator import itemgetter
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
PATIENCE = 60.0
"""Seconds for which a stream may keep its place while it waits for its caller and others want the place."""
_STOPPING = "the service is stopping; send the requests after sequence {} again"
_GAVE_WAY = (
    "the stream was idle while others waited for its place; open it again and send the requests after sequence {}"
)
_FULL_OF_TENANT = "{} streams of the tenant are open already; wait until one ends, or send the requests in one of them"
_KEPT_SHARE = 4  # a tenant leaves one place in so many to others
_FAILED = "the service failed on this request; its log has the reason under request id {}"

Result = TypeVar("Result")


class OrderedStreams(Generic[Result]):
    """The open streams of a method.

    A stream whose caller neither sends a request nor takes an answer gives way to another that finds no place. A tenant
    leaves a quarter of the places to others.
    """

    def __init__(
        self, most: int, at_once: int, full: str, draining: asyncio.Event, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`most` streams are open at a time, one more is refused with the text `full`, and each has so many requests in
        work at once. Streams end when `draining` is set, with what they have begun. `clock` returns seconds."""
        self._most = most
        self._most_of_tenant = most - most // _KEPT_SHARE
        self._at_once = at_once
        self._full = full
        self._draining = draining
        self._clock = clock
        self._open: dict[OrderedStream[Result], Call] = {}

    async def answer(
        self,
        requests: AsyncIterator[Any],
        context: Call,
        work: Callable[[str, Any, int], Awaitable[Result]],
    ) -> AsyncGenerator[Result]:
        """What `work` returns for each request, given the stream's request id and the request's number, from 1."""
        await self._make_room(context)
        stream = OrderedStream(requests, partial(work, request_id(context)), self._draining, self._at_once, self._clock)
        self._open[stream] = context
        try:
            async for outcome in stream.outcomes():
                yield outcome
            if not stream.ended:
                text = _GAVE_WAY if stream.gave_way else _STOPPING
                await abort(context, grpc.StatusCode.UNAVAILABLE, text.format(stream.sequence))
        finally:
            self._open.pop(stream, None)
            stream.cancel()

    async def _make_room(self, context: Call) -> None:
        """Finds a place for one more stream, or refuses it."""
        tenant = context.caller.tenant
        own = [stream for stream, call in self._open.items() if call.caller.tenant == tenant]
        if tenant and len(own) >= self._most_of_tenant and not self._give_way(own):
            await abort(context, grpc.StatusCode.RESOURCE_EXHAUSTED, _FULL_OF_TENANT.format(len(own)))
        if len(self._open) >= self._most and not self._give_way(self._open):
            await abort(context, grpc.StatusCode.RESOURCE_EXHAUSTED, self._full)

    def _give_way(self, streams: Collection["OrderedStream[Result]"]) -> bool:
        """Ends the one of these that has waited longest for its caller, if for long enough."""
        waiting = [(stream.waits_since, stream) for stream in streams if stream.waits_since is not None]
        since, stream = min(waiting, key=itemgetter(0), default=(math.inf, None))
        if stream is None or self._clock() - since < PATIENCE:
            return False
        call = self._open.pop(stream)
        if not stream.give_way():
            call.cancel()
        return True


class OrderedStream(Generic[Result]):
    """The requests of one stream, those begun in a queue."""

    def __init__(
        self,
        requests: AsyncIterator[Any],
        work: Callable[[Any, int], Awaitable[Result]],
        draining: asyncio.Event,
        at_once: int,
        clock: Callable[[], float],
    ) -> None:
        """`work` takes a request and its number, from 1; so many are in work at once."""
        self.sequence = 0
        self.ended = False
        self.gave_way = False
        self.waits_since: float | None = None
        """Since when it waits for its caller, who sends no request or takes no answer; None while it works."""
        self._clock = clock
        self._sending = False
        self._requests = requests
        self._work = work
        self._at_once = at_once
        self._begun: deque[asyncio.Future[Result]] = deque()
        self._reading: asyncio.Future[Any] | None = None
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
            self.waits_since = None if self._begun else self._clock()
            await asyncio.wait([*waiting, *([] if stopping else [self._stopping])], return_when=asyncio.FIRST_COMPLETED)
            self.waits_since = None
            if reading is not None and reading.done():
                self._begin(reading.result())
            if self._begun and self._begun[0].done():
                outcome = self._begun.popleft().result()
                self.waits_since, self._sending = self._clock(), True
                yield outcome
                self.waits_since, self._sending = None, False

    def give_way(self) -> bool:
        """Ends it, as if the service stopped. Returns False where it cannot see that, since it waits to send."""
        self.gave_way = True
        self._stopping.cancel()
        return not self._sending

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
