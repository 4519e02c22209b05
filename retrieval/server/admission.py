"""Admission: a bounded number of requests is in flight, and all others are refused at once."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from core.pace import Decaying
from retrieval.server.caller import Priority
from retrieval.server.limit import ConcurrencyLimit
from retrieval.server.pressure import Pressure

_SMOOTHING = 0.1
_LEAST_RETRY, _MOST_RETRY = 0.01, 5.0
# Callers that were refused at the same moment are not to come back at the same moment.
_SPREAD = 0.25
# An answer that its caller takes no bytes of gives way to a new call after so many seconds.
_SENDING_SECONDS = 0.25
_BULK_SHARE = 2  # bulk work leaves so many times its places free
_BATCH_SHARE = 0.5  # of the places, that calls which can wait may take, at least one
_SENDING_SHARE = 2  # answers that are being sent, for each place
# Seconds over which refused calls are counted for each admitted one; with more than so many, retries are pointless.
_RECENT_SECONDS, _HOPELESS = 2.0, 1.0


class Overloaded(Exception):
    """Too many requests are in flight. `retry_after` is in seconds; `hopeless` is set where so many were refused lately
    that automatic retries would only add to it."""

    def __init__(self, limit: int, retry_after: float, hopeless: bool = False) -> None:
        super().__init__(f"{limit} requests are in flight already; try again in {retry_after * 1000:.0f} ms")
        self.retry_after = retry_after
        self.hopeless = hopeless


class Permit:
    """Proof of admission, which a request's work takes as an argument; only `Admission` makes one.

    It is held until `release`, which may be called more than once and on any thread. `pressure` is how pressed the
    service was when it was given, from 0 to 1: how much of its quality the answer should give up.
    """

    __slots__ = ("_admission", "cancel_call", "in_use", "pressure", "since")

    def __init__(self, admission: "Admission | None" = None, pressure: float = 0.0) -> None:
        """Without an admission it holds no place."""
        self._admission = admission
        self.since = admission.clock() if admission else 0.0
        self.pressure = pressure
        self.in_use = False
        self.cancel_call: Callable[[], object] = lambda: None

    def start_sending(self, cancel_call: Callable[[], object], answered: bool = True) -> None:
        """The work is done, with or without an answer, and what came of it is being sent; `cancel_call` ends the call
        if its place is needed."""
        if self._admission is not None:
            self._admission.start_sending(self, cancel_call, answered)

    def release_unused(self) -> None:
        """Gives the place back unless a handler uses it."""
        if not self.in_use:
            self.release()

    def release(self) -> None:
        """Gives the place back."""
        if self._admission is not None:
            self._admission.release(self)


class Admission:
    """Admits at most `limit` requests at a time, beside twice as many answers on their way. For any thread.

    The limit moves between a floor and the `ceiling`, with the time that answers take; see `ConcurrencyLimit`.
    """

    def __init__(
        self,
        ceiling: int,
        seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        floor: int | None = None,
        objective: float = 1.0,
    ) -> None:
        """`seconds` is what a request was measured to need before any came, `objective` the time in seconds that 99 of
        100 answers are to be made in. Without a `floor` the limit stays at the ceiling."""
        self.ceiling = ceiling
        self.clock = clock
        self._limit = ConcurrencyLimit(ceiling if floor is None else floor, ceiling, objective, clock())
        self._pressure = Pressure(clock())
        self._lock = threading.Lock()
        self._mean_seconds = seconds
        self._working: set[Permit] = set()
        self._bulk: set[Permit] = set()
        self._room: Callable[[], object] = lambda: None
        self._sending: dict[Permit, float] = {}  # since when, the oldest first
        self._admitted, self._refused = Decaying(_RECENT_SECONDS), Decaying(_RECENT_SECONDS)

    @property
    def limit(self) -> int:
        """Requests at work at a time, as it is now."""
        return self._limit.value

    @property
    def pressure(self) -> float:
        """How pressed the service is, from 0 to 1; see `Pressure`."""
        return self._pressure.value

    @property
    def in_flight(self) -> int:
        """Places taken: requests at work, and answers not sent yet."""
        return len(self._working) + len(self._sending)

    @property
    def bulk(self) -> int:
        """Bulk work that has a place."""
        return len(self._bulk)

    @property
    def sending(self) -> int:
        """Answers that are not sent yet."""
        return len(self._sending)

    def take(self, priority: Priority = Priority.INTERACTIVE) -> Permit | None:
        """A place, or None when all are taken that calls of this priority may have, or too many answers have only just
        started to be sent.

        A caller that has its answer may call again before this side notes that the answer was sent; it is not refused
        for that."""
        stuck = None
        with self._lock:
            now, working, limit = self.clock(), len(self._working), self._limit.value
            full = working >= limit
            # Calls that can wait do not show how pressed the others are: they are refused early.
            if full or priority is Priority.INTERACTIVE:
                self._pressure.observe(now, 1.0 if full else working / limit)
            if len(self._sending) >= _SENDING_SHARE * self.ceiling:
                stuck = next(iter(self._sending))
            unsent = stuck is not None and now - self._sending[stuck] < _SENDING_SECONDS
            if full or unsent or (priority is Priority.BATCH and working >= max(1, _BATCH_SHARE * limit)):
                self._limit.note(now, working)
                self._refused.add(now)
                return None
            self._limit.note(now, working + 1)
            if stuck is not None:
                del self._sending[stuck]
            self._admitted.add(now)
            permit = Permit(self, self._pressure.value)
            self._working.add(permit)
        if stuck is not None:
            stuck.cancel_call()
        return permit

    def take_bulk(self) -> Permit | None:
        """A place for bulk work, or None unless more than half are free. It takes none away from others: a request has
        its place whatever bulk work is being done."""
        with self._lock:
            if _BULK_SHARE * (len(self._working) + len(self._bulk)) >= self.limit:
                return None
            permit = Permit(self)
            self._bulk.add(permit)
            return permit

    def on_room(self, call: Callable[[], object]) -> None:
        """Has this called, on any thread, whenever there is more room for bulk work."""
        self._room = call

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
        """The refusal of a caller without a place: to come back when a request will have been answered, and later, the
        more calls were refused for each that was admitted."""
        with self._lock:
            now = self.clock()
            refused_share = self._refused.at(now) / max(self._admitted.at(now), 1.0)
            seconds = self._mean_seconds * (1 + refused_share) * random.uniform(1 - _SPREAD, 1 + _SPREAD)
        return Overloaded(self.limit, min(max(seconds, _LEAST_RETRY), _MOST_RETRY), refused_share > _HOPELESS)

    def cancel_sending(self, seconds: float) -> None:
        """Cancels the calls whose answers have been on their way for longer than this."""
        with self._lock:
            latest = self.clock() - seconds
            stuck = [permit for permit, since in self._sending.items() if since <= latest]
        for permit in stuck:
            permit.cancel_call()

    def start_sending(self, permit: Permit, cancel_call: Callable[[], object], answered: bool = True) -> None:
        """See `Permit.start_sending`."""
        with self._lock:
            if permit in self._working:
                now = self.clock()
                permit.cancel_call = cancel_call
                self._working.discard(permit)
                self._sending[permit] = now
                self._observe(now, now - permit.since, answered)
        self._room()

    def release(self, permit: Permit) -> None:
        """See `Permit.release`."""
        with self._lock:
            if permit in self._working:
                now = self.clock()
                self._working.discard(permit)
                self._observe(now, now - permit.since, answered=False)
            self._sending.pop(permit, None)
            self._bulk.discard(permit)
        self._room()

    def _observe(self, now: float, seconds: float, answered: bool) -> None:
        self._limit.observe(now, seconds, answered)
        self._mean_seconds += _SMOOTHING * (seconds - self._mean_seconds)
