"""The gRPC service that changes products: reads a request, cleans its rows, writes them, and answers once searches see
them."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import Any

import grpc

from core.logs import request_scope
from retrieval.release.manager import ReleaseManager
from retrieval.server.call_server import Call
from retrieval.server.caller import Caller
from retrieval.server.calls import Unreadable, guarded, guarded_stream, reader
from retrieval.server.catalogs import find_release
from retrieval.server.deadlines import Deadlines
from retrieval.server.failures import NotChangeable
from retrieval.server.streams import MOST_KEY, OrderedStreams, call_error
from retrieval.telemetry.telemetry import QUIET, Telemetry
from retrieval.wire.changes import Request, check_changes, read_changes, written_message
from retrieval.wire.violations import InvalidRequest, Violation
from tandem.v1 import catalog_pb2

log = logging.getLogger("tandem.requests")

CATALOG_SERVICE = "tandem.v1.CatalogService"
CHANGE_METHODS = tuple(f"/{CATALOG_SERVICE}/{name}" for name in ("Upsert", "Delete", "UpdateFields"))
"""Methods that need a place among the changes."""
MOST_CHANGE_BYTES = 1 << 20
MOST_STREAMS = 16
"""Streams at a time; each holds up to sixteen requests."""
_AT_ONCE = 16  # requests of a stream: they are appended one after the other, and become visible together
_FULL = f"{MOST_STREAMS} streams of changes are open already; wait until one ends, or send the changes in one of them"
_RESPONSES: dict[type, Any] = {
    catalog_pb2.UpsertRequest: catalog_pb2.UpsertResponse,
    catalog_pb2.DeleteRequest: catalog_pb2.DeleteResponse,
    catalog_pb2.UpdateFieldsRequest: catalog_pb2.UpdateFieldsResponse,
}


class CatalogService:
    """`tandem.v1.CatalogService` over the releases of a holder."""

    def __init__(
        self, manager: ReleaseManager, deadlines: Deadlines, draining: asyncio.Event, telemetry: Telemetry = QUIET
    ) -> None:
        """Streams end when `draining` is set, with what they have begun. `telemetry` notes what becomes of changes."""
        self._telemetry = telemetry
        self._manager = manager
        self._deadlines = deadlines
        self._streams: OrderedStreams[Any] = OrderedStreams(MOST_STREAMS, _AT_ONCE, _FULL, draining)

    def handlers(self) -> grpc.GenericRpcHandler:
        """The service's methods."""
        kinds = {"Upsert": catalog_pb2.UpsertRequest, "Delete": catalog_pb2.DeleteRequest}
        kinds["UpdateFields"] = catalog_pb2.UpdateFieldsRequest
        methods = {
            name: grpc.unary_unary_rpc_method_handler(
                guarded(self.change),
                request_deserializer=reader(kind, MOST_CHANGE_BYTES),
                response_serializer=_RESPONSES[kind].SerializeToString,
            )
            for name, kind in kinds.items()
        }
        methods["Change"] = grpc.stream_stream_rpc_method_handler(
            guarded_stream(self.change_many),
            request_deserializer=reader(catalog_pb2.ChangeRequest, MOST_CHANGE_BYTES),
            response_serializer=catalog_pb2.ChangeResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(CATALOG_SERVICE, methods)

    async def change(self, request: Request, context: Call) -> Any:
        """Answers a call that has its place. Raises InvalidRequest."""
        return await self._deadlines.run(context, lambda name, deadline: self._answer(request, context.caller))

    async def change_many(self, requests: AsyncIterator[Any], context: Call) -> AsyncIterator[Any]:
        """Answers a stream, in its order."""
        async with aclosing(self._streams.answer(requests, context, partial(self._one, context.caller))) as responses:
            async for response in responses:
                yield response

    async def _one(self, caller: Caller, stream: str, request: Any, sequence: int) -> catalog_pb2.ChangeResponse:
        name = f"{stream}-{sequence}"
        with request_scope(name):
            return await self._outcome(caller, request, sequence, name)

    async def _outcome(self, caller: Caller, request: Any, sequence: int, name: str) -> catalog_pb2.ChangeResponse:
        message = catalog_pb2.ChangeResponse(sequence=sequence)
        try:
            if isinstance(request, Unreadable):
                raise request.error
            message.key = request.key[:MOST_KEY]
            if len(request.key) > MOST_KEY:
                raise InvalidRequest([Violation("key", f"has {len(request.key)} characters; send at most {MOST_KEY}")])
            kind = request.WhichOneof("change")
            if kind is None:
                raise InvalidRequest([Violation("change", "is missing; send upsert, delete or update_fields")])
            async with asyncio.timeout(self._deadlines.longest):
                answer = await self._answer(getattr(request, kind), caller)
            getattr(message, kind).CopyFrom(answer)
        except Exception as error:
            message.error.CopyFrom(call_error(error, name))
        return message

    async def _answer(self, request: Request, caller: Caller) -> Any:
        check_changes(request)
        with find_release(self._manager, request.catalog, caller).lease() as release:
            live, catalog = release.live, release.manifest.catalog
            if live is None:
                raise NotChangeable(f"catalog {catalog!r} takes no changes in this process")
            outcome = await live.writer.write(partial(read_changes, request, live.cleaner), request.request_id)
            self._telemetry.note_changes(outcome)
            return written_message(_RESPONSES[type(request)], outcome, catalog)
