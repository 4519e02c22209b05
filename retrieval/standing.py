"""The calls that stand open as long as their clients like: health watches and reflection. Draining ends them.

`grpc_health` has a health service too, but its watches outlast a drain, and once one of several watches of a name
closes, the others are told of no change.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any, TypeVar

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

Item = TypeVar("Item")


class Health(health_pb2_grpc.HealthServicer):
    """`grpc.health.v1.Health`: the whole process and its services serve until `draining` is set."""

    def __init__(self, services: Iterable[str], draining: asyncio.Event) -> None:
        """`services` are full names; the empty name, which stands for the process, is known anyway."""
        self._services = {"", *services}
        self._draining = draining

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        """The status of one service; NOT_FOUND for a name that is not served here."""
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"service {request.service!r} is not served here")
        return self._status(request)

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """The status now, and once more when the server drains, which ends the stream."""
        yield self._status(request)
        if not self._draining.is_set():
            await self._draining.wait()
            yield self._status(request)

    def _status(self, request: health_pb2.HealthCheckRequest) -> health_pb2.HealthCheckResponse:
        kinds = health_pb2.HealthCheckResponse
        if request.service not in self._services:
            return kinds(status=kinds.SERVICE_UNKNOWN)
        return kinds(status=kinds.NOT_SERVING if self._draining.is_set() else kinds.SERVING)


class Reflection(reflection.aio.ReflectionServicer):
    """Server reflection whose streams end, as if their clients had finished asking, once `draining` is set."""

    def __init__(self, services: Iterable[str], draining: asyncio.Event) -> None:
        super().__init__(service_names=services)
        self._draining = draining

    async def ServerReflectionInfo(self, requests: AsyncIterator, context: grpc.aio.ServicerContext) -> AsyncIterator:
        """See the reflection protocol."""
        async for answer in super().ServerReflectionInfo(_until(self._draining, requests), context):
            yield answer


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
