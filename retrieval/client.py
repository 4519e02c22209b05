"""A small synchronous client: the command's, and an example of how to call the service."""

import json
import time
from types import TracebackType

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from core.address import target_address
from core.errors import TandemError
from retrieval.wire.status import PUSHBACK_KEY
from tandem.v1 import search_pb2, search_pb2_grpc

_REASON_SECONDS = 0.2
_ATTEMPTS = 3
_NOTHING = "nothing answers at {}: start it with `tandem serve`"


class SearchClient:
    """One channel to the service. Use it as a context manager."""

    def __init__(self, address: str, timeout: float = 5.0) -> None:
        """`timeout` is each call's deadline, and the longest wait for a connection, in seconds: a day at most.

        Raises AddressError.
        """
        self._address = address = target_address(address)
        self._timeout = timeout
        self._channel = grpc.insecure_channel(address, options=[("grpc.service_config", service_config())])
        self._stub = search_pb2_grpc.SearchServiceStub(self._channel)

    def __enter__(self) -> "SearchClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    def search(self, request: search_pb2.SearchRequest) -> search_pb2.SearchResponse:
        """The answer; a refused call is sent again when the service says, if its time allows.

        Raises TandemError with the service's reason.
        """
        until = time.monotonic() + self._timeout
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self._stub.Search(request, timeout=until - time.monotonic())
            except grpc.RpcError as error:
                wait = pushback(error)
                if wait is None or attempt == _ATTEMPTS or wait >= until - time.monotonic():
                    raise TandemError(_reason(error, self._address)) from None
                time.sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    def wait(self) -> None:
        """Waits until the service accepts connections. Raises TandemError when it does not within the timeout."""
        try:
            grpc.channel_ready_future(self._channel).result(self._timeout)
        except grpc.FutureTimeoutError:
            raise TandemError(self._unreachable()) from None

    def _unreachable(self) -> str:
        """Why there is no connection: a call that does not wait for one says so at once."""
        try:
            self._stub.Search(search_pb2.SearchRequest(), timeout=_REASON_SECONDS)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                return _reason(error, self._address)
        return _NOTHING.format(self._address)


def service_config() -> str:
    """Client guidance: retries only where nothing was done, and few of them while most calls fail.

    Refused calls are not among them: they come in numbers when a service is overloaded, and the service says in each
    refusal when to try again. No default timeout: with one below two seconds gRPC 1.8x ends every call at once. Set a
    deadline on each call.
    """
    retry = {
        "maxAttempts": 3,
        "initialBackoff": "0.02s",
        "maxBackoff": "0.5s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    name = [{"service": "tandem.v1.SearchService"}]
    # A failure takes a token and an answer gives a tenth back; with half of them gone nothing is sent again.
    throttling = {"maxTokens": 10, "tokenRatio": 0.1}
    return json.dumps({"methodConfig": [{"name": name, "retryPolicy": retry}], "retryThrottling": throttling})


def pushback(error: grpc.RpcError) -> float | None:
    """Seconds after which a refused call may be sent again; None where it must not be, or the service did not say."""
    assert isinstance(error, grpc.Call)
    if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
        return None
    told = dict(error.trailing_metadata() or ()).get(PUSHBACK_KEY, "")
    return int(told) / 1000 if isinstance(told, str) and told.isdecimal() else None


def _reason(error: grpc.RpcError, address: str) -> str:
    assert isinstance(error, grpc.Call)
    code = error.code()
    told = (error.details() or "").lower()
    if code is grpc.StatusCode.UNAVAILABLE and "resol" in told:
        return f"no host has the name in {address!r}: check the address"
    if code is grpc.StatusCode.UNAVAILABLE and "connect" in told:
        return _NOTHING.format(address)
    line = " ".join((error.details() or "no reason was given").split())
    return f"{code.name}: {line}{_retry(error)}"


def _retry(error: grpc.Call) -> str:
    try:
        status = rpc_status.from_call(error)
    except (ValueError, DecodeError):  # details of another code than the call's, or none that can be read
        return ""
    for detail in status.details if status else ():
        if detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            info = error_details_pb2.RetryInfo()
            detail.Unpack(info)
            return f" (retry after {info.retry_delay.ToMilliseconds()} ms)"
    return ""
