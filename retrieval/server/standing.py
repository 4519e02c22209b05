"""The calls that stand open as long as their clients like: health watches and reflection. Draining ends them.

`grpc_health` has a health service too, but its watches outlast a drain, and once one of several watches of a name
closes, the others are told of no change.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any, TypeVar

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, text_format
from google.protobuf.descriptor import FileDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from core.strings import quoted
from retrieval.server.calls import Unreadable, guarded, guarded_stream, reader
from retrieval.wire.status import brief

Item = TypeVar("Item")

HEALTH = health.SERVICE_NAME
_ALPHA, _V1 = "grpc.reflection.v1alpha", "grpc.reflection.v1"
REFLECTIONS = tuple(f"{package}.ServerReflection" for package in (_ALPHA, _V1))
"""The same messages under two names: old clients ask the first, new ones the second."""


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
        told = self._status(request)
        yield told
        await self._draining.wait()  # which may have come before the first was sent
        if (now := self._status(request)) != told:
            yield now

    def _status(self, request: health_pb2.HealthCheckRequest) -> health_pb2.HealthCheckResponse:
        kinds = health_pb2.HealthCheckResponse
        if request.service not in self._services:
            return kinds(status=kinds.SERVICE_UNKNOWN)
        return kinds(status=kinds.NOT_SERVING if self._draining.is_set() else kinds.SERVING)


class Reflection(reflection.aio.ReflectionServicer):
    """Server reflection whose streams end, as if their clients had finished asking, once `draining` is set."""

    def __init__(self, services: Iterable[str], draining: asyncio.Event) -> None:
        super().__init__(service_names=services, pool=_Files())
        self._draining = draining

    def handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        """The methods of both versions."""
        method = grpc.stream_stream_rpc_method_handler(
            guarded_stream(self.ServerReflectionInfo),
            request_deserializer=reader(reflection_pb2.ServerReflectionRequest),
            response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
        return tuple(
            grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": method}) for name in REFLECTIONS
        )

    async def ServerReflectionInfo(self, requests: AsyncIterator, context: grpc.aio.ServicerContext) -> AsyncIterator:
        """See the reflection protocol."""
        async for answer in super().ServerReflectionInfo(_readable(_until(self._draining, requests)), context):
            yield answer


class _Files:
    """The process's message descriptions, and those of reflection v1, which its library lacks."""

    def __init__(self) -> None:
        self._others = descriptor_pool.Default()
        self._own = descriptor_pool.DescriptorPool()
        self._own.Add(_reflection_v1())

    def FindFileByName(self, name: str) -> FileDescriptor:
        """Raises KeyError."""
        return self._found("FindFileByName", name)

    def FindFileContainingSymbol(self, name: str) -> FileDescriptor:
        """Raises KeyError."""
        return self._found("FindFileContainingSymbol", name)

    def __getattr__(self, name: str) -> Any:
        """Extensions are the process's alone."""
        return getattr(self._others, name)

    def _found(self, method: str, name: str) -> FileDescriptor:
        try:
            return getattr(self._own, method)(name)
        except KeyError:
            return getattr(self._others, method)(name)


def _reflection_v1() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    # Names of the package stand in every reference to a message.
    written = text_format.MessageToString(file).replace(_ALPHA, _V1)
    renamed = text_format.Parse(written, descriptor_pb2.FileDescriptorProto())
    renamed.name = "grpc/reflection/v1/reflection.proto"
    return renamed


async def _readable(requests: AsyncIterator) -> AsyncIterator:
    """Raises InvalidRequest at the first that is none."""
    async for request in requests:
        if isinstance(request, Unreadable):
            raise request.error
        yield request


async def _until(stop: asyncio.Event, items: AsyncIterator[Item]) -> AsyncIterator[Item]:
    """The items up to when `stop` is set, even while the next is awaited."""
    waiting: list[asyncio.Future[Any]] = [asyncio.ensure_future(stop.wait())]
    try:
        while not stop.is_set():
            waiting[1:] = [asyncio.ensure_future(anext(items))]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if not waiting[1].done():
                return
            try:
                yield waiting[1].result()
            except StopAsyncIteration:
                return
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
