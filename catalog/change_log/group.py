"""Group commit: callers that come while a commit runs share the next one."""

import threading
from collections.abc import Callable, Sequence


class _Ticket:
    """What one caller wants committed, and what came of it."""

    __slots__ = ("done", "error", "first", "payloads")

    def __init__(self, payloads: Sequence[bytes]) -> None:
        self.payloads = payloads
        self.done = False
        self.first = 0
        self.error: BaseException | None = None


class GroupCommit:
    """Hands the payloads of all who wait to one call of `commit`, which returns the revision of the first.

    A commit takes callers in the order they came, while they have at most `most_bytes` together. Who holds `turn` keeps
    commits away.
    """

    def __init__(self, commit: Callable[[Sequence[bytes]], int], most_bytes: int) -> None:
        self._commit = commit
        self._most_bytes = most_bytes
        self.turn = threading.Lock()
        self._queue: list[_Ticket] = []
        self._queue_lock = threading.Lock()

    def add(self, payloads: Sequence[bytes]) -> int:
        """Returns the revision of the first payload, once all are committed. Raises what `commit` raised."""
        ticket = _Ticket(payloads)
        with self._queue_lock:
            self._queue.append(ticket)
        while not ticket.done:
            with self.turn:
                if not ticket.done:
                    self._serve()
        if ticket.error is not None:
            raise ticket.error
        return ticket.first

    def _serve(self) -> None:
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

    def _take(self) -> list[_Ticket]:
        size, count = 0, 0
        with self._queue_lock:
            for ticket in self._queue:
                size += sum(map(len, ticket.payloads))
                if count and size > self._most_bytes:
                    break
                count += 1
            group, self._queue = self._queue[:count], self._queue[count:]
        return group
