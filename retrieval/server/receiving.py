"""The calls whose requests have not come yet. Their callers may never send them: they are bounded, and give way."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from retrieval.server.admission import Permit


class GaveWay(Exception):
    """The call was ended since its request did not come."""


class Receiving:
    """Calls of some methods that wait for their requests, the oldest first. For any number of threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` returns seconds."""
        self._clock = clock
        self._lock = threading.Lock()
        self._calls: dict[Permit, tuple[float, Callable[[], object]]] = {}  # since when, and what cancels it

    def __len__(self) -> int:
        return len(self._calls)

    @contextmanager
    def waiting(self, permit: Permit, cancel: Callable[[], object]) -> Iterator[None]:
        """The call of this permit waits for its request while the block runs; `cancel` ends it. Raises GaveWay where
        that happened."""
        with self._lock:
            self._calls[permit] = self._clock(), cancel
        try:
            yield
        finally:
            with self._lock:
                waited = self._calls.pop(permit, None) is not None
        if not waited:
            raise GaveWay
        permit.since = self._clock()  # what the caller takes to send is not the work's

    def give_way(self, seconds: float = 0.0) -> bool:
        """Ends the call that has waited longest, if for at least so many seconds. Returns whether there was one."""
        with self._lock:
            permit, (since, _) = next(iter(self._calls.items()), (None, (0.0, None)))
            if permit is None or self._clock() - since < seconds:
                return False
            _, cancel = self._calls.pop(permit)
        self._end(permit, cancel)
        return True

    def end(self, seconds: float) -> None:
        """Ends all calls that have waited for longer than this."""
        while self.give_way(seconds):
            pass

    def _end(self, permit: Permit, cancel: Callable[[], object]) -> None:
        permit.since = self._clock()
        permit.release()
        cancel()
