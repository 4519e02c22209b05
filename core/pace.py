"""Recent observations: counts that decay, so that they follow changes."""

import math


class Decaying:
    """A count whose entries lose their weight with a time constant, in seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._value = 0.0
        self._at = 0.0

    def add(self, now: float, amount: float = 1.0) -> None:
        """Counts so much at that time."""
        self._value, self._at = self.at(now) + amount, now

    def at(self, now: float) -> float:
        """What is left of the count at that time, which is not before the last one added."""
        return self._value * math.exp((self._at - now) / self._seconds) if self._value else 0.0
