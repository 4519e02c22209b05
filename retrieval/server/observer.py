"""Who sees how calls end: metrics, traces."""

from typing import Protocol

import grpc

from retrieval.server.caller import Caller
from retrieval.wire.status import Metadata


class CallObserver(Protocol):
    """Sees each call once. Called on any thread, several at a time; it takes microseconds and raises nothing."""

    def refuse(self, method: str, code: grpc.StatusCode, reason: str) -> None:
        """A call was refused before anything of it was read. `method` is a full name."""
        ...

    def end(self, method: str, code: grpc.StatusCode, seconds: float, caller: Caller, metadata: Metadata) -> None:
        """Any other call ended, `seconds` after it came; `metadata` is what the caller sent beside the request."""
        ...


class NoObserver:
    """Sees nothing."""

    def refuse(self, method: str, code: grpc.StatusCode, reason: str) -> None:
        """See `CallObserver.refuse`."""

    def end(self, method: str, code: grpc.StatusCode, seconds: float, caller: Caller, metadata: Metadata) -> None:
        """See `CallObserver.end`."""
