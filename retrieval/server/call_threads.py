"""The threads of calls, and how many streams are open."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

# Threads beside those of calls that have a place: for short calls without one, and for streams that stand open.
SHORT_CALLS, _STREAMS = 128, 1000
_SHARE = 2  # so many times the streams of one method are all that there may be


def _nothing() -> None:
    """The end of a call without a place."""


class CallThreads(ThreadPoolExecutor):
    """The threads of calls. gRPC submits each call right after `CallServer.service`, which assigns its pool here."""

    def __init__(self) -> None:
        super().__init__(1)  # never used itself
        self.short = ThreadPoolExecutor(SHORT_CALLS, thread_name_prefix="short")
        self.streams = ThreadPoolExecutor(_STREAMS, thread_name_prefix="stream")
        self.readers = ThreadPoolExecutor(_STREAMS, thread_name_prefix="reader")
        self.running = 0
        """Calls that have been given to a pool and have not ended."""
        self._counting = threading.Lock()
        self._next: tuple[ThreadPoolExecutor | None, Callable[[], None]] = (None, _nothing)

    def assign(self, pool: ThreadPoolExecutor | None, on_end: Callable[[], None] = _nothing) -> None:
        """Has the next call run in this pool; at once where it is None. `on_end` is called when it ended."""
        self._next = (pool, on_end)

    def submit(self, work: Callable, /, *arguments: Any, **named: Any) -> Any:
        """As of any executor. What runs at once has no future."""
        pool, on_end = self._next
        if pool is None:
            work(*arguments, **named)
            return None
        self._count(1)
        try:
            return pool.submit(_work, partial(self._end, on_end), work, arguments, named)
        except RuntimeError:  # it was shut down
            self._end(on_end)
            raise

    def _end(self, on_end: Callable[[], None]) -> None:
        try:
            on_end()
        finally:
            self._count(-1)

    def _count(self, more: int) -> None:
        with self._counting:
            self.running += more

    def close(self) -> None:
        """Ends all threads once what runs is done."""
        for pool in (self, self.short, self.streams, self.readers):
            pool.shutdown(wait=False)


class OpenStreams:
    """Counts open streams, of which those of one method are at most half: whoever may watch health, which is everybody,
    leaves room for streams of others. They enter on gRPC's thread and leave on any."""

    def __init__(self, limit: int = _STREAMS) -> None:
        self._limit = limit
        self._open: Counter[str] = Counter()
        self._lock = threading.Lock()

    def enter(self, method: str) -> bool:
        """Whether there was room for one more of this method."""
        with self._lock:
            entered = self._open.total() < self._limit and _SHARE * self._open[method] < self._limit
            self._open[method] += entered
            return entered

    def leave(self, method: str) -> None:
        """One has ended."""
        with self._lock:
            self._open[method] -= 1


def _work(on_end: Callable[[], None], work: Callable, arguments: tuple, named: dict) -> Any:
    try:
        return work(*arguments, **named)
    finally:
        on_end()
