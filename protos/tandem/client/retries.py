"""Which calls are sent again, and when."""

import json
import threading
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import grpc

ATTEMPTS = 3
"""Calls that one search makes at most."""

# A service that was restarted is found again within a second; gRPC's own pause grows to two minutes.
_RECONNECTING = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 1000))
_PUSHBACK_KEY = "grpc-retry-pushback-ms"
# Of a client's retries, gRPC's own and of refused calls: a failure takes a token, an answer gives a part back, and with
# half of them gone nothing is sent again.
_TOKENS, _GIVEN_BACK = 10, 0.1


class FailedCall(Protocol):
    """What a call that failed states: `grpc.Call` and `grpc.aio.AioRpcError` have it."""

    def code(self) -> grpc.StatusCode:
        """The status code."""
        ...

    def details(self) -> str | None:
        """The message."""
        ...

    def trailing_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """The metadata beside the status."""
        ...


def service_config() -> str:
    """The gRPC service config: repeats UNAVAILABLE, for which nothing was done, and little while most calls fail.

    It does not repeat refused calls: an overloaded service refuses many, and says in each refusal when to try again.
    It has no default timeout: with one below two seconds gRPC 1.8x ends every call at once. Set a deadline for each.
    """
    retry = {
        "maxAttempts": ATTEMPTS,
        "initialBackoff": "0.02s",
        "maxBackoff": "0.5s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    search, catalog, recommend = (f"tandem.v1.{name}Service" for name in ("Search", "Catalog", "Recommend"))
    methods = [
        # A change that was sent twice is applied once: its request has a name.
        {"name": [{"service": service} for service in (search, catalog, recommend)], "retryPolicy": retry},
        # `search_many` opens streams again itself, where it knows what was answered.
        {"name": [{"service": search, "method": "BatchSearch"}, {"service": catalog, "method": "Change"}]},
    ]
    throttling = {"maxTokens": _TOKENS, "tokenRatio": _GIVEN_BACK}
    return json.dumps({"methodConfig": methods, "retryThrottling": throttling})


def channel_options(options: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """The options of a channel with this service config; `options` override it."""
    return [("grpc.service_config", service_config()), *_RECONNECTING, *options]


class RetryBudget:
    """What a client may send again of refused calls, all calls together; for any thread.

    Callers who each send three times make of a small overload three times the load. So a client stops sending again
    while it is refused more often than about once in ten calls.
    """

    def __init__(self) -> None:
        self._tokens = float(_TOKENS)
        self._lock = threading.Lock()

    def note_answer(self) -> None:
        """A call was answered."""
        with self._lock:
            self._tokens = min(self._tokens + _GIVEN_BACK, _TOKENS)

    def seconds_to_wait(self, error: FailedCall, attempt: int, seconds_left: float) -> float | None:
        """Seconds until a call that failed may be sent again; None where it must not be, or there is no time.

        `attempt` counts from 1.
        """
        if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
            return None
        with self._lock:
            self._tokens = max(self._tokens - 1, 0.0)
            exhausted = self._tokens < _TOKENS / 2
        seconds = pushback(error)
        if exhausted or attempt >= ATTEMPTS or seconds is None or seconds >= seconds_left:
            return None
        return seconds


def pushback(error: FailedCall) -> float | None:
    """The delay in seconds that the service gives for a refused call; None where it gives none or forbids a retry."""
    if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
        return None
    value = dict(error.trailing_metadata() or ()).get(_PUSHBACK_KEY, "")
    return int(value) / 1000 if isinstance(value, str) and value.isdecimal() else None
