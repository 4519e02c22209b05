"""Who calls, and whether the call may come in: what is decided before anything of a request is read."""

from typing import Any, Protocol

import grpc

from retrieval.server.caller import ANYONE, Caller, Priority
from retrieval.wire.status import Metadata

_PRIORITY_KEY = "x-priority"


class Refused(Exception):
    """A call that does not come in: its status, and `reason`, a short word for counters."""

    def __init__(self, code: grpc.StatusCode, message: str, reason: str, metadata: Metadata = ()) -> None:
        """`message` is for people, as `brief` returns it."""
        super().__init__(message)
        self.code, self.reason, self.metadata = code, reason, metadata


class Gate(Protocol):
    """Lets calls in."""

    def enter(self, method: str, metadata: Metadata) -> Caller:
        """Who calls, by what stands beside the request. `method` is a full name.

        Called on gRPC's one thread for every call, so it takes microseconds. Raises Refused.
        """
        ...

    def identify(self, caller: Caller, method: str, context: grpc.ServicerContext) -> Caller:
        """The same with what the connection states, such as the peer's certificate. Called on the call's own thread,
        once it has its place. Raises Refused."""
        ...

    def count(self, caller: Caller) -> float:
        """Counts one more request of a stream, which was counted as one call; returns 0.0, or the seconds after which
        to try again. Called on the event loop. Raises Refused where no wait helps, or the caller's rights ended."""
        ...

    def give_back(self, caller: Caller) -> None:
        """Of a call that came in and found no place: it takes nothing of the caller's quota. Called as `enter` is."""
        ...


class OpenGate:
    """Lets everybody in."""

    def enter(self, method: str, metadata: Metadata) -> Caller:
        """See `Gate.enter`."""
        return ANYONE

    def identify(self, caller: Caller, method: str, context: Any) -> Caller:
        """See `Gate.identify`."""
        return caller

    def count(self, caller: Caller) -> float:
        """See `Gate.count`."""
        return 0.0

    def give_back(self, caller: Caller) -> None:
        """See `Gate.give_back`."""


def priority_of(caller: Caller, metadata: Metadata) -> Priority:
    """The caller's priority, or batch where the call asks for that by `x-priority: batch`."""
    if any(key == _PRIORITY_KEY and value == "batch" for key, value in metadata):
        return Priority.BATCH
    return caller.priority
