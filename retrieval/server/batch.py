"""BatchSearch: a stream of searches, answered in its order by what searches leave free."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc

from core.logs import request_scope
from engine.expiry import expiring_at
from retrieval.server.admission import Permit
from retrieval.server.bulk import BulkQueue
from retrieval.server.call_server import Call
from retrieval.server.caller import Caller
from retrieval.server.calls import Unreadable, guarded_stream, reader
from retrieval.server.streams import MOST_KEY, OrderedStreams, call_error
from retrieval.wire.request import InvalidRequest, Violation
from tandem.v1 import search_pb2

SERVICE = "tandem.v1.SearchService"
MOST_STREAMS = 16
"""Streams at a time; each holds up to four requests and answers."""
_AT_ONCE = 4  # searches of a stream
_FULL = f"{MOST_STREAMS} batches are open already; wait until one ends, or send the searches in one of them"

Answer = Callable[[search_pb2.SearchRequest, str, float, Permit, Caller], Awaitable[search_pb2.SearchResponse]]


class BatchSearch:
    """The method of the service."""

    def __init__(self, answer: Answer, queue: BulkQueue, seconds: float, draining: asyncio.Event) -> None:
        """`answer` answers one search by a deadline, a time of the loop's clock; each has `seconds` from its place on.

        Streams end when `draining` is set, with what they have begun.
        """
        self._answer = answer
        self._queue = queue
        self._seconds = seconds
        self._streams: OrderedStreams[_Outcome] = OrderedStreams(MOST_STREAMS, _AT_ONCE, _FULL, draining)

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
        async with aclosing(self._streams.answer(requests, context, partial(self._one, context.caller))) as outcomes:
            async for outcome in outcomes:
                yield outcome

    async def _one(self, caller: Caller, stream: str, request: Any, sequence: int) -> "_Outcome":
        name = f"{stream}-{sequence}"
        with request_scope(name):
            return await self._outcome(caller, request, sequence, name)

    async def _outcome(self, caller: Caller, request: Any, sequence: int, name: str) -> "_Outcome":
        message = search_pb2.BatchSearchResponse(sequence=sequence)
        try:
            if isinstance(request, Unreadable):
                raise request.error
            message.key = request.key[:MOST_KEY]
            if len(request.key) > MOST_KEY:
                raise InvalidRequest([Violation("key", f"has {len(request.key)} characters; send at most {MOST_KEY}")])
            return _Outcome(message, await self._by_deadline(request.search, name, caller))
        except Exception as error:
            message.error.CopyFrom(call_error(error, name))
        return _Outcome(message)

    async def _by_deadline(
        self, request: search_pb2.SearchRequest, name: str, caller: Caller
    ) -> search_pb2.SearchResponse:
        """Answers a search once there is a place for it."""
        permit = await self._queue.take()
        try:
            deadline = asyncio.get_running_loop().time() + self._seconds
            async with asyncio.timeout_at(deadline):
                with expiring_at(deadline):
                    return await self._answer(request, name, deadline, permit, caller)
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
