"""A circuit breaker: what does not answer is left alone, and tried again now and then."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_FAILURES = 2  # in a row, with no answer between


class Breaker:
    """Whether something that calls wait for answers. For any number of threads.

    It opens after two failures in a row, or once a call has had no answer for `patience` seconds. While it is open, one
    call in `pause` seconds is let through, and the first that is answered in time closes it.
    """

    def __init__(self, patience: float, pause: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` returns seconds."""
        self.patience = patience
        self._pause = pause
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: dict[object, float] = {}  # since when, the longest first
        self._failures = 0
        self._open = False
        self._try_at = 0.0

    def admits(self) -> bool:
        """Whether a call may be made now."""
        with self._lock:
            now = self._clock()
            oldest = next(iter(self._waiting.values()), now)
            if not self._open and now - oldest > self.patience:
                self._trip(now)
            if not self._open:
                return True
            if now < self._try_at:
                return False
            self._try_at = now + self._pause
            return True

    def trip(self) -> None:
        """A call has waited in vain."""
        with self._lock:
            self._trip(self._clock())

    @contextmanager
    def watching(self) -> Iterator[None]:
        """A call is being made while the block runs, and has failed where the block raises."""
        call = object()
        with self._lock:
            self._waiting[call] = self._clock()
        try:
            yield
        except BaseException:
            self._end(call, answered=False)
            raise
        self._end(call, answered=True)

    def _end(self, call: object, answered: bool) -> None:
        with self._lock:
            now, since = self._clock(), self._waiting.pop(call, None)
            if not answered:
                self._failures += 1
                if self._failures >= _FAILURES or self._open:
                    self._trip(now)
            elif since is not None and now - since <= self.patience:
                self._failures, self._open = 0, False
                # What was asked before and still waits is a connection that broke, not the other side.
                for older in [each for each, begun in self._waiting.items() if begun < since]:
                    del self._waiting[older]

    def _trip(self, now: float) -> None:
        self._open, self._try_at = True, now + self._pause
