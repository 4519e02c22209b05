"""Admission: a bounded number of requests is in flight, and the rest is refused at once."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

_SMOOTHING = 0.1
_LEAST_RETRY = 0.01
_MOST_RETRY = 5.0


class Overloaded(Exception):
    """Too many requests are in flight. `retry_after` is in seconds."""

    def __init__(self, limit: int, retry_after: float) -> None:
        super().__init__(f"{limit} requests are in flight already; try again in {retry_after * 1000:.0f} ms")
        self.retry_after = retry_after


class Permit:
    """Proof of admission: what does a request's work asks for one, and only `Admission` makes it."""

    __slots__ = ()


class Admission:
    """Lets in at most `limit` requests at a time. For use from one event loop."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.in_flight = 0
        self._mean_seconds = _LEAST_RETRY

    @contextmanager
    def enter(self) -> Iterator[Permit]:
        """Raises Overloaded, with the mean time a request takes as the delay, when all places are taken."""
        if self.in_flight >= self.limit:
            raise Overloaded(self.limit, min(max(self._mean_seconds, _LEAST_RETRY), _MOST_RETRY))
        self.in_flight += 1
        start = time.monotonic()
        try:
            yield Permit()
        finally:
            self.in_flight -= 1
            self._mean_seconds += _SMOOTHING * (time.monotonic() - start - self._mean_seconds)
