"""The health service. Its watches stand open as long as their clients like; draining ends them.

`grpc_health` has one too, but its watches outlast a drain, and once one of several watches of a name closes, the others
receive no change.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from core.strings import quoted
from retrieval.server.calls import guarded, guarded_stream, reader
from retrieval.wire.status import brief

HEALTH = health.SERVICE_NAME


class Health(health_pb2_grpc.HealthServicer):
    """`grpc.health.v1.Health`: the whole process and its services serve until `draining` is set."""

    def __init__(self, services: Iterable[str], draining: asyncio.Event) -> None:
        """`services` are full names; the empty name, which stands for the process, is known anyway."""
        self._services = {"", *services}
        self._draining = draining

    def handlers(self) -> grpc.GenericRpcHandler:
        """The service's methods."""
        kinds = {
            "request_deserializer": reader(health_pb2.HealthCheckRequest),
            "response_serializer": health_pb2.HealthCheckResponse.SerializeToString,
        }
        check = grpc.unary_unary_rpc_method_handler(guarded(self.Check), **kinds)
        watch = grpc.unary_stream_rpc_method_handler(guarded_stream(self.Watch), **kinds)
        return grpc.method_handlers_generic_handler(HEALTH, {"Check": check, "Watch": watch})

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        """The status of one service; NOT_FOUND for a name that is not served here."""
        if request.service not in self._services:
            message = f"service {quoted(request.service)} is not served here"
            await context.abort(grpc.StatusCode.NOT_FOUND, brief(message))
        return self._status(request)

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """The status now, and once more when the server drains, which ends the stream."""
        first = self._status(request)
        yield first
        await self._draining.wait()  # which may have come before the first was sent
        if (now := self._status(request)) != first:
            yield now

    def _status(self, request: health_pb2.HealthCheckRequest) -> health_pb2.HealthCheckResponse:
        kinds = health_pb2.HealthCheckResponse
        if request.service not in self._services:
            return kinds(status=kinds.SERVICE_UNKNOWN)
        return kinds(status=kinds.NOT_SERVING if self._draining.is_set() else kinds.SERVING)
