"""Group commit: callers that come while a commit runs share the next one."""

import threading
from collections.abc import Callable, Sequence


class _Ticket:
    """What one caller wants committed, and what came of it. `woken` is set once it is done, or is to lead."""

    __slots__ = ("done", "error", "first", "payloads", "woken")

    def __init__(self, payloads: Sequence[bytes]) -> None:
        self.payloads = payloads
        self.woken = threading.Event()
        self.done = False
        self.first = 0
        self.error: BaseException | None = None


class GroupCommit:
    """Hands the payloads of all who wait to one call of `commit`, which returns the revision of the first.

    A commit takes callers in the order they came, while they have at most `most_bytes` together. One caller commits for
    them all and then wakes them, and the first of those who came meanwhile to commit next. Who holds `turn` keeps
    commits away.
    """

    def __init__(self, commit: Callable[[Sequence[bytes]], int], most_bytes: int) -> None:
        self.turn = threading.Lock()
        self._commit = commit
        self._most_bytes = most_bytes
        self._queue: list[_Ticket] = []
        self._led = False  # whether a caller commits, or was woken to
        self._lock = threading.Lock()  # of both

    def add(self, payloads: Sequence[bytes]) -> int:
        """Returns the revision of the first payload, once all are committed. Raises what `commit` raised."""
        ticket = _Ticket(payloads)
        with self._lock:
            self._queue.append(ticket)
            leads, self._led = not self._led, True
        if not leads:
            ticket.woken.wait()
        if not ticket.done:
            self._serve()
        if ticket.error is not None:
            raise ticket.error
        return ticket.first

    def _serve(self) -> None:
        """Commits for the first in the queue, who calls it, and those behind that fit."""
        with self.turn:
            group = self._take()
            payloads = [payload for ticket in group for payload in ticket.payloads]
            error: BaseException | None = None
            first = 0
            try:
                first = self._commit(payloads)
            except BaseException as raised:
                error = raised
        for ticket in group:
            ticket.first, ticket.error, ticket.done = first, error, True
            first += len(ticket.payloads)
        with self._lock:
            self._led = bool(self._queue)
            following = self._queue[:1]
        for ticket in (*following, *group):
            ticket.woken.set()

    def _take(self) -> list[_Ticket]:
        size, count = 0, 0
        with self._lock:
            for ticket in self._queue:
                size += sum(map(len, ticket.payloads))
                if count and size > self._most_bytes:
                    break
                count += 1
            group, self._queue = self._queue[:count], self._queue[count:]
        return group
