"""Who sees how calls end: metrics, traces."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import grpc

from core.logs import trace_id_now
from engine.spans import CallSpans, spans_now
from retrieval.pipeline.result import SearchResult
from retrieval.server.caller import Caller
from retrieval.wire.status import Metadata


class Trace(CallSpans, Protocol):
    """The trace of one call."""

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits."""
        ...

    def note_answer(self, catalog: str, release: str, request_id: str, answer: SearchResult) -> None:
        """Adds what the answer was made from, stage by stage."""
        ...

    def end(self, code: grpc.StatusCode) -> None:
        """The call has ended."""
        ...


class CallObserver(Protocol):
    """Sees each call once. Called on any thread, several at a time; it takes microseconds and raises nothing."""

    def refuse(self, method: str, code: grpc.StatusCode, reason: str) -> None:
        """A call was refused before anything of it was read. `method` is a full name, empty for one that is not
        served."""
        ...

    def begin(self, method: str, metadata: Metadata) -> Trace | None:
        """A call came and was not refused; `metadata` is what the caller sent beside the request. Returns the call's
        trace if it is to be traced."""
        ...

    def end(self, method: str, code: grpc.StatusCode, seconds: float, caller: Caller, trace: Trace | None) -> None:
        """A call that was not refused ended, `seconds` after it came."""
        ...


class NoObserver:
    """Sees nothing."""

    def refuse(self, method: str, code: grpc.StatusCode, reason: str) -> None:
        """See `CallObserver.refuse`."""

    def begin(self, method: str, metadata: Metadata) -> None:
        """See `CallObserver.begin`."""

    def end(self, method: str, code: grpc.StatusCode, seconds: float, caller: Caller, trace: Trace | None) -> None:
        """See `CallObserver.end`."""


@contextmanager
def in_trace(trace: Trace | None) -> Iterator[None]:
    """What is begun while the block runs belongs to the trace, if there is one."""
    if trace is None:
        yield
        return
    spans, name = spans_now.set(trace), trace_id_now.set(trace.trace_id)
    try:
        yield
    finally:
        spans_now.reset(spans)
        trace_id_now.reset(name)
