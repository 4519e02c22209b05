"""How many requests may be in flight: as many as are answered in good time, whatever each of them costs.

By Little's law, requests in flight are requests answered each second times the seconds that they take on average. With
a mean to aim at, the limit follows from what the service does just now: no time of an idle service has to be known or
probed for, and a mixture of cheap and dear requests misleads nothing.
"""

import math

# The mean of a full service that keeps 99 of 100 answers within the objective: the slowest take twice the mean, and on
# a machine that others use two and a half times.
_MEAN_SHARE = 0.38
# Seconds of observation for each step, and answers in it; with fewer of them it waits for longer.
_LEAST_WINDOW, _LEAST_ANSWERS, _LONGEST_WINDOW = 0.5, 8, 2.0
_FOLLOWING_SECONDS = 2.0  # time constant of the limit's way to where it belongs
_MOST_CHANGE = 2.0  # of what one window asks for, up or down
_USED = 2  # a limit is used where so many times the requests in flight reach it; else it is too high to be at fault
_CLOSE = 1.1  # means nearer than by this factor to what is aimed at change nothing


class ConcurrencyLimit:
    """A limit between a floor and a ceiling. It falls only while it is used and answers take too long."""

    def __init__(self, floor: int, ceiling: int, objective: float, now: float = 0.0) -> None:
        """`objective` is the time in seconds that 99 of 100 answers are to be made in; `now` is that of the clock."""
        self.ceiling = max(1, ceiling)
        self.floor = min(max(1, floor), self.ceiling)
        self._aim = _MEAN_SHARE * objective
        self._limit = float(self.ceiling)
        self.value = self.ceiling
        """Requests that may be in flight."""
        self._since = now
        self._answers, self._seconds, self._peak = 0, 0.0, 0

    def note(self, now: float, in_flight: int) -> None:
        """A request came, and so many are in flight; as many as there are places where it was refused."""
        self.step(now)
        if in_flight > self._peak:
            self._peak = in_flight

    def observe(self, now: float, seconds: float, answered: bool = True) -> None:
        """A request's work ended after so many seconds. One that ended without an answer shows how long answers take
        only where it took too long: its caller may have left at once, or have sent nothing that takes work."""
        if answered or seconds > self._aim:
            self._answers += 1
            self._seconds += seconds
        self.step(now)

    def step(self, now: float) -> None:
        """Moves the limit if enough was observed since it moved last."""
        elapsed = now - self._since
        if elapsed < _LEAST_WINDOW or (self._answers < _LEAST_ANSWERS and elapsed < _LONGEST_WINDOW):
            return
        self._limit = min(max(self._moved(elapsed), self.floor), self.ceiling)
        self.value = round(self._limit)
        self._since = now
        self._answers, self._seconds, self._peak = 0, 0.0, 0

    def _moved(self, elapsed: float) -> float:
        reached, used = self._peak >= self.value, _USED * self._peak >= self.value
        # Whatever was full for so long without an answer is slower than can be measured.
        mean = self._seconds / self._answers if self._answers else (math.inf if reached else 0.0)
        if self._aim / _CLOSE < mean < self._aim * _CLOSE:
            return self._limit
        if mean > self._aim and not used:  # it is not the limit that makes answers slow
            return self._limit
        wanted = min(max(self._aim / mean if mean else _MOST_CHANGE, 1 / _MOST_CHANGE), _MOST_CHANGE)
        return self._limit * wanted ** (1 - math.exp(-elapsed / _FOLLOWING_SECONDS))
