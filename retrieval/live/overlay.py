"""Follows the change log over one release: a thread applies entries, swaps in views, and merges segments."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from catalog.change_log.protocol import ChangeLog
from catalog.segment import Segment
from catalog.versions import Answer
from catalog.view import CatalogView
from core.errors import ChangeLogError, ReleaseError, TandemError
from engine.vector.index import use_one_thread
from retrieval.live.segments import Merge
from retrieval.live.state import LiveState
from retrieval.live.threads import stay_behind

log = logging.getLogger("tandem.live")

_READ = 1000  # entries at once
_WAIT_SECONDS = 0.25
# Between two views lie at least so many seconds, and so many times what the last one took, up to a bound: changes leave
# most of the time to searches, and are visible soon all the same.
_LEAST_PAUSE, _MOST_PAUSE, _PAUSE_TIMES = 0.06, 0.12, 4.0
_FIRST_RETRY, _LONGEST_RETRY = 0.5, 2.0


class Overlay:
    """The changes since a release was made."""

    def __init__(
        self, make_state: Callable[[], LiveState], entries: ChangeLog, name: str, publish: Callable[[CatalogView], None]
    ) -> None:
        """`make_state` returns the release without changes; it is called again after a failure, since part of a batch
        may have been applied. `publish` is called with each new view, on the overlay's thread."""
        self._make_state = make_state
        self._state = make_state()
        self._entries = entries
        self._name = name
        self._publish = publish
        self._visible = self._state.revision
        self._lock = threading.Lock()  # of what is visible and who waits for it
        self._waiting: dict[int, list[Future[None]]] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"live {name}", daemon=True)
        self._merges = ThreadPoolExecutor(1, thread_name_prefix="merge", initializer=stay_behind)
        self._merging: tuple[Merge, Future[Segment]] | None = None

    @property
    def revision(self) -> int:
        """The last entry that searches see."""
        return self._visible

    @property
    def fresh(self) -> int:
        """Products in fresh segments."""
        return self._state.stack.fresh

    @property
    def closed(self) -> bool:
        """Whether the release is no longer in service."""
        return self._closed.is_set()

    def row(self, product_id: str) -> dict[str, Any] | None:
        """The product, about as it is now; None where there is none."""
        return self._state.peek(product_id)

    def answer(self, request_id: str) -> Answer | None:
        """What came of the entry of a request that searches see; None where it is not known."""
        return self._state.rules.repeated(request_id)

    def catch_up(self) -> None:
        """Applies all that the log has, and publishes one view. Before `start`.

        Raises ReleaseError where the log no longer has what follows the release.
        """
        try:
            self._replay()
        except ChangeLogError as error:
            raise ReleaseError(f"{self._name}: the changes since it was made cannot be read: {error}") from None
        self._show()

    def start(self) -> None:
        """Follows the log from now on."""
        self._thread.start()

    def close(self) -> None:
        """Ends following; no further view is published."""
        self._closed.set()
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for futures in waiting.values():
            for future in futures:
                future.cancel()
        self._merges.shutdown(wait=False, cancel_futures=True)

    def visible(self, revision: int) -> "Future[None]":
        """Done once searches see the revision; cancelled where the release is closed before. Cancel it to give up."""
        future: Future[None] = Future()
        with self._lock:
            if self._visible >= revision:
                future.set_result(None)
            elif self._closed.is_set():
                future.cancel()
            else:
                self._waiting.setdefault(revision, []).append(future)
        return future

    def _follow(self) -> None:
        use_one_thread()
        pause = _FIRST_RETRY
        while not self._closed.is_set():
            try:
                self._take_turn()
                pause = _FIRST_RETRY
            except Exception as error:
                if self._closed.is_set():
                    return
                self._start_anew(error, first=pause == _FIRST_RETRY)
                self._closed.wait(pause)
                pause = min(pause * 2, _LONGEST_RETRY)

    def _start_anew(self, error: Exception, first: bool) -> None:
        """Drops the state, of which nobody knows how far it came, once a turn failed."""
        trace = None if isinstance(error, TandemError) else error
        level = logging.ERROR if first else logging.DEBUG
        log.log(level, "%s: changes are not applied, until that works again: %s", self._name, error, exc_info=trace)
        self._merging = None
        self._state = self._make_state()

    def _take_turn(self) -> None:
        """Applies what has come, or takes up a merged segment, or waits for either."""
        merged = self._finish_merge()
        waited = self._entries.wait(self._state.revision, 0.0 if merged else _WAIT_SECONDS)
        if not waited and not merged:
            return
        start = time.monotonic()
        if waited:
            self._replay()
        if self._closed.is_set():
            return
        self._show()
        self._start_merge()
        spent = time.monotonic() - start
        self._closed.wait(min(max(_LEAST_PAUSE, _PAUSE_TIMES * spent), _MOST_PAUSE))

    def _replay(self) -> None:
        """Applies what the log has; several reads of it where it is far behind."""
        while not self._closed.is_set() and (entries := self._entries.read(self._state.revision, _READ)):
            self._state.apply(entries)

    def _show(self) -> None:
        """Publishes what there is, and ends the waiting for it."""
        self._publish(self._state.view())
        with self._lock:
            self._visible = self._state.revision
            due = [revision for revision in self._waiting if revision <= self._visible]
            done = [future for revision in due for future in self._waiting.pop(revision)]
        for future in done:
            if future.set_running_or_notify_cancel():
                future.set_result(None)

    def _start_merge(self) -> None:
        if self._merging is None and (merge := self._state.stack.start_merge()) is not None:
            self._merging = merge, self._merges.submit(self._state.stack.run_merge, merge)

    def _finish_merge(self) -> bool:
        """Takes up a merged segment. Returns whether there was one."""
        if self._merging is None or not self._merging[1].done():
            return False
        (merge, future), self._merging = self._merging, None
        self._state.stack.finish_merge(merge, future.result())
        return True
