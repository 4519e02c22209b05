"""The trace of the request that is being worked on, as far as engines add to it.

An engine that calls a server passes on the trace, and records what each call took.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Protocol

Metadata = Sequence[tuple[str, str]]


class CallSpans(Protocol):
    """The trace of one request."""

    def remote_call(self, service: str, method: str, target: str) -> AbstractContextManager[Metadata]:
        """Records a call to a server while the block runs; yields what is to be sent beside it."""
        ...


spans_now: ContextVar[CallSpans | None] = ContextVar("spans_now", default=None)
"""None where the running task's request is not traced."""


def remote_call(service: str, method: str, target: str) -> AbstractContextManager[Metadata]:
    """See `CallSpans.remote_call`; without a trace there is nothing to record or send."""
    spans = spans_now.get()
    return nullcontext(()) if spans is None else spans.remote_call(service, method, target)
