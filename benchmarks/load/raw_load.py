"""Calls offered by connections of hand-made frames, which take little of the machine that the service shares.

Times count from when a call was due, so that a client that falls behind hides nothing; its lag is reported.
"""

import heapq
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import cycle
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from benchmarks.common import latencies
from benchmarks.load.raw import Outcome, RawConnection
from tandem.client.retries import ATTEMPTS, RetryBudget
from tandem.v1 import search_pb2

METHOD = "/tandem.v1.SearchService/Search"
OK, LATE, REFUSED = 0, grpc.StatusCode.DEADLINE_EXCEEDED.value[0], grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
_PAUSE, _PAUSE_AFTER_REFUSAL = 0.0005, 0.05
_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}
_LATEST = 64  # calls of a connection among which refused ones are looked for
_SAMPLE = 200  # answers that are read for what they gave up


class Retries(StrEnum):
    """Who sends refused calls again, three times at most and when the service asks for it."""

    NEVER = "never"
    CLIENT = "client"
    """A client with one budget for all calls, as `SearchClient`."""
    ALWAYS = "always"


@dataclass(slots=True)
class Offered:
    """One call: when it was due and first sent, by when its caller wanted the answer, how its last attempt ended, and
    how often it was sent. Seconds of the run."""

    due: float
    sent: float
    deadline: float
    done: float = 0.0
    code: int | None = None
    attempts: int = 1
    details: bool = False
    body: bytes = b""

    @property
    def seconds(self) -> float:
        """From when it was due to its end."""
        return self.done - self.due


@dataclass
class Run:
    """The calls of a run that lasted so many seconds."""

    seconds: float
    calls: list[Offered] = field(default_factory=list)

    def since(self, start: float, end: float = np.inf) -> "Run":
        """Those that were due in this time."""
        calls = [call for call in self.calls if start <= call.due < end]
        return Run(min(end, self.seconds) - start, calls)

    def goodput(self, objective: float) -> float:
        """Answers a second that came within so many seconds."""
        return sum(call.code == OK and call.seconds <= objective for call in self.calls) / self.seconds

    def summary(self, objective: float) -> dict[str, Any]:
        """The figures of a run."""
        answered = [call for call in self.calls if call.code == OK]
        refused = [call for call in self.calls if call.code == REFUSED]
        codes = Counter("open" if c.code is None else _NAMES.get(c.code, "RESET") for c in self.calls)
        lags = [call.sent - call.due for call in self.calls]
        return {
            "offered_per_s": round(len(self.calls) / self.seconds, 1),
            "sent_per_call": round(float(np.mean([call.attempts for call in self.calls])), 3),
            "answered_per_s": round(self.goodput(objective), 1),
            **({} if not answered else latencies([call.seconds for call in answered])),
            "refused_p99_ms": _p99([call.seconds for call in refused]),
            "refused_p99_ms_as_sent": _p99([call.done - call.sent for call in refused if call.attempts == 1]),
            "retry_info_share": round(float(np.mean([call.details for call in refused])), 4) if refused else None,
            "lag_p99_ms": _p99(lags),
            "gave_up": self._gave_up(answered),
            "codes": dict(codes),
        }

    @staticmethod
    def _gave_up(answered: Sequence[Offered]) -> dict[str, float]:
        """The share of answers that gave up something, by reason, of a sample."""
        step = max(1, len(answered) // _SAMPLE)
        sample = [search_pb2.SearchResponse.FromString(call.body[5:]) for call in answered[::step]]
        reasons = Counter(
            search_pb2.DegradationReason.Name(entry.reason)[19:] for one in sample for entry in one.degraded
        )
        return {reason: round(count / len(sample), 2) for reason, count in sorted(reasons.items())}


@dataclass(frozen=True, slots=True)
class _Failed:
    """A refused call, as the client's budget reads it."""

    pushback: int | None

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.RESOURCE_EXHAUSTED

    def details(self) -> str:
        return ""

    def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
        return () if self.pushback is None else (("grpc-retry-pushback-ms", str(self.pushback)),)


class RawLoad:
    """Connections to one service."""

    def __init__(self, address: str, messages: Sequence[bytes], connections: int, deadline: float) -> None:
        """`deadline` is each call's in seconds, where no others are given."""
        self._address, self._count, self._deadline = address, connections, deadline
        self._messages = cycle(messages)
        self._connections: list[RawConnection] = []

    def closed(self, in_flight: int, seconds: float) -> Run:
        """So many calls at any time; in the place of one that was refused the next comes after a pause."""
        self._open()
        start = time.monotonic()
        while (now := time.monotonic()) < start + seconds:
            for place, connection in enumerate(self._connections):
                refused = sum(1 for one in connection.latest(_LATEST) if _was_refused(one, now))
                while len(connection.open) + refused < (in_flight + place) // self._count:
                    connection.call(next(self._messages), self._deadline, now)
            self._turn()
        ended = [call for each in self._connections for call in each.calls.values() if call.code is not None]
        calls = [_ended(Offered(one.sent - start, one.sent - start, self._deadline), one, start) for one in ended]
        self._close()
        return Run(seconds, calls)

    def open(
        self,
        due: NDArray[np.float64],
        retries: Retries = Retries.NEVER,
        deadlines: NDArray[np.float64] | None = None,
        events: Sequence[tuple[float, Callable[[], object]]] = (),
    ) -> Run:
        """Calls at these rising times, shape (n,), whether or not others were answered; `deadlines`, in seconds from
        when a call is due, are of the same shape. `events` are called at their times."""
        self._open()
        budget, turns = RetryBudget(), cycle(range(self._count))
        limits = np.full(len(due), self._deadline) if deadlines is None else deadlines
        calls = [Offered(when, when, limit) for when, limit in zip(due.tolist(), limits.tolist(), strict=True)]
        waiting = [(call.due, number) for number, call in enumerate(calls)]  # sorted, and so a heap
        happening = sorted(events, key=lambda event: event[0], reverse=True)
        in_flight: dict[tuple[int, int], int] = {}
        start, last = time.monotonic(), float(due[-1] + limits.max()) + 1.0
        while (waiting or in_flight) and (now := time.monotonic() - start) < last:
            while happening and happening[-1][0] <= now:
                happening.pop()[1]()
            while waiting and waiting[0][0] <= now:
                _, number = heapq.heappop(waiting)
                call, place = calls[number], next(turns)
                left = max(0.0005, call.due + call.deadline - now)
                if call.attempts == 1:
                    call.sent = now
                in_flight[place, self._connections[place].call(next(self._messages), left)] = number
            self._turn()
            for place, stream in [key for key in in_flight if key[1] not in self._connections[key[0]].open]:
                number, outcome = in_flight.pop((place, stream)), self._connections[place].calls.pop(stream)
                call = _ended(calls[number], outcome, start)
                if call.code == OK:
                    budget.note_answer()
                elif call.code == REFUSED:
                    pause = self._pause(retries, budget, outcome, call)
                    if pause is not None:
                        call.attempts += 1
                        heapq.heappush(waiting, (call.done + pause, number))
        self._close()
        return Run(float(due[-1]), calls)

    @staticmethod
    def _pause(retries: Retries, budget: RetryBudget, outcome: Outcome, call: Offered) -> float | None:
        """Seconds after which a refused call is sent again."""
        if retries is Retries.NEVER:
            return None
        left = call.due + call.deadline - call.done
        chosen = budget if retries is Retries.CLIENT else RetryBudget()
        return chosen.seconds_to_wait(_Failed(outcome.pushback), min(call.attempts, ATTEMPTS), left)

    def _open(self) -> None:
        self._connections = [RawConnection(self._address, METHOD, keep=True) for _ in range(self._count)]

    def _close(self) -> None:
        for connection in self._connections:
            connection.close()

    def _turn(self) -> None:
        """Sends and reads what there is."""
        for connection in self._connections:
            connection.write()
            connection.read()
        time.sleep(_PAUSE)


def _was_refused(outcome: Outcome, now: float) -> bool:
    """Whether it was refused just now."""
    return outcome.code == REFUSED and outcome.done > now - _PAUSE_AFTER_REFUSAL


def _p99(seconds: Sequence[float]) -> float | None:
    return latencies(seconds)["p99_ms"] if seconds else None


def _ended(call: Offered, outcome: Outcome, start: float) -> Offered:
    call.code, call.done = outcome.code, outcome.done - start
    call.details, call.body = outcome.details, outcome.body
    return call
