"""The status of a call that failed, as clients of every language unpack it. It always fits into 4 KiB on the wire.

Clients refuse larger metadata, and then see RESOURCE_EXHAUSTED in place of what was wrong.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import NoReturn, Protocol, TypeAlias

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from retrieval.wire.violations import Violation

STATUS_KEY = "grpc-status-details-bin"
# gRPC's own clients wait so long before they try again; of -1 they do not, whatever their policy.
PUSHBACK_KEY, _NEVER = "grpc-retry-pushback-ms", "-1"
# The message is sent twice, percent-encoded and within the details, which are sent in base64.
_MESSAGE_BYTES, _DETAIL_BYTES = 800, 1400
_CUT = "…"

Metadata: TypeAlias = tuple[tuple[str, str | bytes], ...]
Detail: TypeAlias = error_details_pb2.BadRequest | error_details_pb2.RetryInfo


class Context(Protocol):
    """What methods need of a call: `retrieval.server.call_server.Call` has it."""

    request_id: str

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()) -> NoReturn:
        """Ends the call with this status."""
        ...

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline; None without one."""
        ...


class ComeLater(Protocol):
    """Why a call is refused that may come again: an exception whose text is for people."""

    retry_after: float
    """Seconds."""
    hopeless: bool
    """Whether automatic retries would only add to it."""


def bad_request(violations: Sequence[Violation]) -> error_details_pb2.BadRequest:
    """The detail that names the fields at fault, as many as there is room for."""
    detail = error_details_pb2.BadRequest()
    for violation in violations:
        added = detail.field_violations.add(field=violation.field, description=violation.description)
        if detail.ByteSize() > _DETAIL_BYTES:
            detail.field_violations.remove(added)
            break
    return detail


def retry_info(seconds: float) -> error_details_pb2.RetryInfo:
    """The detail that states when to try again."""
    return error_details_pb2.RetryInfo(retry_delay=duration(seconds))


def refusal(error: ComeLater) -> tuple[str, Metadata]:
    """The message and the trailing metadata of RESOURCE_EXHAUSTED, for people and for gRPC's clients."""
    message = brief(str(error))
    wait = _NEVER if error.hopeless else str(round(error.retry_after * 1000))
    details = status_metadata(grpc.StatusCode.RESOURCE_EXHAUSTED, message, [retry_info(error.retry_after)])
    return message, (*details, (PUSHBACK_KEY, wait))


def status_metadata(code: grpc.StatusCode, message: str, details: Sequence[Detail]) -> tuple[tuple[str, bytes], ...]:
    """A google.rpc.Status as trailing metadata; `message` must be the call's own, as `brief` returns it."""
    packed = []
    for detail in details:
        packed.append(any_pb2.Any())
        packed[-1].Pack(detail)
    status = status_pb2.Status(code=code_pb2.Code.Value(code.name), message=message, details=packed)
    return ((STATUS_KEY, status.SerializeToString()),)


def brief(message: str) -> str:
    """The message, cut where it would take more than 800 bytes percent-encoded."""
    message = message[: _MESSAGE_BYTES + 1].encode(errors="replace").decode()
    ends = list(accumulate(map(_cost, message), initial=0))
    if ends[-1] <= _MESSAGE_BYTES:
        return message
    return message[: bisect_right(ends, _MESSAGE_BYTES - _cost(_CUT)) - 1] + _CUT


async def abort(context: Context, code: grpc.StatusCode, message: str, details: Sequence[Detail] = ()) -> NoReturn:
    """Ends the call with this status."""
    message = brief(message)
    await context.abort(code, message, status_metadata(code, message, details))
    raise AssertionError("abort does not return")


def duration(seconds: float) -> duration_pb2.Duration:
    """The seconds as a message, to the nearest billionth."""
    nanos = round(seconds * 1e9)
    return duration_pb2.Duration(seconds=nanos // 10**9, nanos=nanos % 10**9)


def _cost(character: str) -> int:
    """The bytes it takes percent-encoded, as gRPC sends messages."""
    return sum(1 if 32 <= byte < 127 and byte != ord("%") else 3 for byte in character.encode())
