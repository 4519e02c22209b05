"""Server reflection, of both versions. Its streams stand open as long as their clients like; draining ends them."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any, TypeVar

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, text_format
from google.protobuf.descriptor import FileDescriptor
from grpc_reflection.v1alpha import reflection, reflection_pb2

from retrieval.server.calls import Unreadable, guarded_stream, reader

Item = TypeVar("Item")

_ALPHA, _V1 = "grpc.reflection.v1alpha", "grpc.reflection.v1"
REFLECTIONS = tuple(f"{package}.ServerReflection" for package in (_ALPHA, _V1))
"""The same messages under two names: old clients call the first, new ones the second."""


class Reflection(reflection.aio.ReflectionServicer):
    """Server reflection whose streams end, as if their clients had finished asking, once `draining` is set."""

    def __init__(self, services: Iterable[str], draining: asyncio.Event) -> None:
        super().__init__(service_names=services, pool=_DescriptorPool())
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


class _DescriptorPool:
    """The process's message descriptions, and those of reflection v1, which its library lacks."""

    def __init__(self) -> None:
        self._others = descriptor_pool.Default()
        self._own = descriptor_pool.DescriptorPool()
        self._own.Add(_reflection_v1())

    def FindFileByName(self, name: str) -> FileDescriptor:
        """Raises KeyError."""
        return self._find("FindFileByName", name)

    def FindFileContainingSymbol(self, name: str) -> FileDescriptor:
        """Raises KeyError."""
        return self._find("FindFileContainingSymbol", name)

    def __getattr__(self, name: str) -> Any:
        """Extensions are the process's alone."""
        return getattr(self._others, name)

    def _find(self, method: str, name: str) -> FileDescriptor:
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
