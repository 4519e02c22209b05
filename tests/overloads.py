"""A service under load in virtual time: arrivals, an `Admission`, servers with one queue. Nothing sleeps, and a seed
gives the same run again."""

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from torture import SEED

from retrieval.server.admission import Admission, Permit
from retrieval.server.caller import Priority

ARRIVAL, END = 0, 1


@dataclass(slots=True)
class Done:
    """One call: when it came, how long its answer took (None if it was refused), and the pressure it had."""

    at: float
    seconds: float | None
    pressure: float = 0.0
    priority: Priority = Priority.INTERACTIVE


@dataclass
class Load:
    """Servers behind an admission. `rate` and `servers` are of the time; `cost` draws a call's seconds of work."""

    admission: Callable[[Callable[[], float]], Admission]
    rate: Callable[[float], float]
    cost: Callable[[np.random.Generator, float], float]
    servers: Callable[[float], int] = lambda _: 4
    priority: Callable[[np.random.Generator], Priority] = lambda _: Priority.INTERACTIVE
    seed: int = SEED
    now: float = 0.0
    done: list[Done] = field(default_factory=list)
    limits: list[tuple[float, int]] = field(default_factory=list)
    pressures: list[tuple[float, float]] = field(default_factory=list)

    def run(self, seconds: float) -> "Load":
        """Runs for so long."""
        random = np.random.default_rng(self.seed)
        admission = self.admission(lambda: self.now)
        queue: deque[tuple[Permit, Priority]] = deque()
        events: list[tuple[float, int, int, tuple[Permit, Priority] | None]] = [(0.0, 0, ARRIVAL, None)]
        number = busy = 0
        while events and events[0][0] < seconds:
            self.now, _, kind, work = heapq.heappop(events)
            if kind == ARRIVAL:
                number += 1
                heapq.heappush(events, (self.now + random.exponential(1 / self.rate(self.now)), number, ARRIVAL, None))
                priority = self.priority(random)
                permit = admission.take(priority)
                if permit is None:
                    self.done.append(Done(self.now, None, priority=priority))
                else:
                    queue.append((permit, priority))
            else:
                assert work is not None
                busy -= 1
                permit, priority = work
                permit.start_sending(lambda: None)
                permit.release()
                self.done.append(Done(permit.since, self.now - permit.since, permit.pressure, priority))
            while queue and busy < self.servers(self.now):
                busy, number, work = busy + 1, number + 1, queue.popleft()
                cost = self.cost(random, work[0].pressure)
                heapq.heappush(events, (self.now + cost, number, END, work))
            self.limits.append((self.now, admission.limit))
            self.pressures.append((self.now, admission.pressure))
        return self

    def answered(self, start: float, end: float, within: float) -> float:
        """Answers a second to calls that came in this time and had them in so many seconds."""
        kept = [d for d in self.done if start <= d.at < end and d.seconds is not None and d.seconds <= within]
        return len(kept) / (end - start)

    def latency(self, start: float, end: float, share: float = 0.99) -> float:
        """This quantile of the answers' seconds."""
        times = [d.seconds for d in self.done if start <= d.at < end and d.seconds is not None]
        return float(np.quantile(times, share)) if times else 0.0

    def mean_limit(self, start: float, end: float) -> float:
        """The limit's mean over time."""
        return sum(v * w for v, w in self._weighted(start, end)) / (end - start)

    def limit_range(self, start: float, end: float) -> tuple[float, float]:
        """Between these the limit is for nine tenths of the time."""
        values, weights = map(np.array, zip(*self._weighted(start, end), strict=True))
        order = np.argsort(values)
        passed = np.cumsum(weights[order]) / weights.sum()
        low, high = (values[order][np.searchsorted(passed, share)] for share in (0.05, 0.95))
        return float(low), float(high)

    def _weighted(self, start: float, end: float) -> Iterator[tuple[int, float]]:
        for (at, value), (until, _) in pairwise(self.limits):
            width = min(until, end) - max(at, start)
            if width > 0:
                yield value, width


def lognormal(median: float, sigma: float) -> Callable[[np.random.Generator, float], float]:
    """Work that takes as long whatever the pressure."""
    return lambda random, _: median * random.lognormal(0.0, sigma)
