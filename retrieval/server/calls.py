"""What every method of the server has in common: requests it can read, a request id, and no exception that leaks."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import wraps
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message

from core.logs import request_id_now, request_scope
from retrieval.wire.status import Context, abort, bad_request
from retrieval.wire.violations import InvalidRequest, Violation

log = logging.getLogger("tandem.requests")

MOST_REQUEST_BYTES = 64 << 10
_FAILED = "the service failed on this request; its log has the reason under request id {}"
# What a call ends by that is over already, or is ended by the service itself.
_ENDINGS = (grpc.aio.AbortError, grpc.aio.InternalError)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Bytes that are no request; `reason` is why."""

    reason: str

    @property
    def error(self) -> InvalidRequest:
        """The error that the caller gets."""
        return InvalidRequest([Violation("request", self.reason)])


def reader(kind: type[Message], most_bytes: int = MOST_REQUEST_BYTES) -> Callable[[bytes], Any]:
    """A deserializer that returns `Unreadable` where gRPC would answer UNKNOWN, and for more than `most_bytes`."""

    def read(data: bytes) -> Message | Unreadable:
        if len(data) > most_bytes:
            return Unreadable(f"has {len(data):,} bytes; send at most {most_bytes:,}")
        try:
            return kind.FromString(data)
        except DecodeError:
            return Unreadable(f"is not a {kind.DESCRIPTOR.name}: strings must be UTF-8")

    return read


def guarded(method: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
    """The method of one answer; unexpected exceptions are logged and end the call as INTERNAL, without their text."""

    @wraps(method)
    async def call(request: Any, context: Context) -> Any:
        with request_scope(request_id(context)):
            try:
                if isinstance(request, Unreadable):
                    raise request.error
                return await method(request, context)
            except Exception as error:
                await _fail(error, context)

    return call


def guarded_stream(method: Callable[[Any, Any], AsyncIterator[Any]]) -> Callable[[Any, Any], AsyncIterator]:
    """The same for a method that answers with a stream."""

    @wraps(method)
    async def call(request: Any, context: Context) -> AsyncIterator[Any]:
        try:
            if isinstance(request, Unreadable):
                raise request.error
            async with aclosing(method(request, context)) as answers:  # type: ignore[type-var]
                async for answer in answers:
                    yield answer
        except Exception as error:
            await _fail(error, context)

    return call


def request_id(context: Context) -> str:
    """The id of the request; in a stream, while one of its requests is worked on, that one's."""
    return request_id_now.get() or context.request_id


async def _fail(error: Exception, context: Context) -> None:
    if isinstance(error, _ENDINGS):
        raise error
    if isinstance(error, InvalidRequest):
        await abort(context, grpc.StatusCode.INVALID_ARGUMENT, str(error), [bad_request(error.violations)])
    name = request_id(context)
    log.error("request %s failed", name, exc_info=error)
    await abort(context, grpc.StatusCode.INTERNAL, _FAILED.format(name))
