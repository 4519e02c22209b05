"""Admission: a bounded number of requests is in flight, and the rest is refused at once."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from core.pace import Decaying

_SMOOTHING = 0.1
_LEAST_RETRY, _MOST_RETRY = 0.01, 5.0
# Callers that were refused at the same moment are not to come back at the same moment.
_SPREAD = 0.25
# An answer that its caller takes no bytes of gives way to a new call after so many seconds.
_SENDING_SECONDS = 0.25
_SENDING_SHARE = 2  # answers that are being sent, for each place
# Seconds over which calls let in and refused are compared; with more refused for each let in, retries are pointless.
_RECENT_SECONDS, _HOPELESS = 2.0, 1.0


class Overloaded(Exception):
    """Too many requests are in flight. `retry_after` is in seconds; `hopeless` says that so many were refused of late
    that trying again by itself would only add to it."""

    def __init__(self, limit: int, retry_after: float, hopeless: bool = False) -> None:
        super().__init__(f"{limit} requests are in flight already; try again in {retry_after * 1000:.0f} ms")
        self.retry_after = retry_after
        self.hopeless = hopeless


class Permit:
    """Proof of admission: what does a request's work asks for one, and only `Admission` makes it.

    It is held until `release`, which may be called more than once and on any thread.
    """

    __slots__ = ("_admission", "begun", "give_up", "since")

    def __init__(self, admission: "Admission | None" = None) -> None:
        """Without an admission it is nobody's place."""
        self._admission = admission
        self.since = admission.clock() if admission else 0.0
        self.begun = False
        self.give_up: Callable[[], object] = lambda: None

    def sends(self, give_up: Callable[[], object]) -> None:
        """The work is done and its answer is being sent; `give_up` ends the call if its place is needed."""
        if self._admission is not None:
            self._admission.sends(self, give_up)

    def leave(self) -> None:
        """Gives the place back where nobody has begun to use it."""
        if not self.begun:
            self.release()

    def release(self) -> None:
        """Gives the place back."""
        if self._admission is not None:
            self._admission.release(self)


class Admission:
    """Lets in at most `limit` requests at a time, beside twice as many answers on their way. For any thread."""

    def __init__(self, limit: int, seconds: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        """`seconds` is what a request was measured to need before any came."""
        self.limit = limit
        self.clock = clock
        self._lock = threading.Lock()
        self._mean_seconds = seconds
        self._working: set[Permit] = set()
        self._sending: dict[Permit, float] = {}  # since when, the oldest first
        self._let_in, self._refused = Decaying(_RECENT_SECONDS), Decaying(_RECENT_SECONDS)

    @property
    def in_flight(self) -> int:
        """Places taken: requests at work, and answers not sent yet."""
        return len(self._working) + len(self._sending)

    @property
    def sending(self) -> int:
        """Answers that are not sent yet."""
        return len(self._sending)

    def take(self) -> Permit | None:
        """A place, or None when all are taken, or too many answers have hardly begun to be sent.

        Who has an answer may ask again, and is not to be refused since nobody has noted yet that it was sent."""
        stuck = None
        with self._lock:
            now = self.clock()
            if len(self._sending) >= _SENDING_SHARE * self.limit:
                stuck = next(iter(self._sending))
            full = len(self._working) >= self.limit
            if full or (stuck is not None and now - self._sending[stuck] < _SENDING_SECONDS):
                self._refused.add(now)
                return None
            if stuck is not None:
                del self._sending[stuck]
            self._let_in.add(now)
            permit = Permit(self)
            self._working.add(permit)
        if stuck is not None:
            stuck.give_up()
        return permit

    @contextmanager
    def enter(self) -> Iterator[Permit]:
        """A place while the block runs. Raises Overloaded when all are taken."""
        permit = self.take()
        if permit is None:
            raise self.refusal()
        try:
            yield permit
        finally:
            permit.release()

    def refusal(self) -> Overloaded:
        """What a caller without a place hears: to come back when a request will have been answered, and the later the
        more were refused for each that was let in."""
        with self._lock:
            now = self.clock()
            turned_away = self._refused.at(now) / max(self._let_in.at(now), 1.0)
            seconds = self._mean_seconds * (1 + turned_away) * random.uniform(1 - _SPREAD, 1 + _SPREAD)
        return Overloaded(self.limit, min(max(seconds, _LEAST_RETRY), _MOST_RETRY), turned_away > _HOPELESS)

    def give_up(self, seconds: float) -> None:
        """Ends the calls whose answers have been on their way for longer than this."""
        with self._lock:
            latest = self.clock() - seconds
            stuck = [permit for permit, since in self._sending.items() if since <= latest]
        for permit in stuck:
            permit.give_up()

    def sends(self, permit: Permit, give_up: Callable[[], object]) -> None:
        """See `Permit.sends`."""
        with self._lock:
            if permit in self._working:
                now = self.clock()
                permit.give_up = give_up
                self._working.discard(permit)
                self._sending[permit] = now
                self._observe(now - permit.since)

    def release(self, permit: Permit) -> None:
        """See `Permit.release`."""
        with self._lock:
            if permit in self._working:
                self._working.discard(permit)
                self._observe(self.clock() - permit.since)
            self._sending.pop(permit, None)

    def _observe(self, seconds: float) -> None:
        self._mean_seconds += _SMOOTHING * (seconds - self._mean_seconds)
