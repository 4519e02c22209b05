"""How pressed the service is: the share of places that requests meet taken, smoothed, in a few steps that last.

Quality goes before answers, so it is given up in steps. A step up takes a second of fullness, one down several of calm:
answers to the same query are not to change with every burst.
"""

import math

STEPS = 5
"""Steps of the pressure between 0 and 1."""
_SMOOTHING_SECONDS = 1.0
_FROM, _TO = 0.45, 0.8  # the share of places taken at the first step, and at the last
_GIVE = 0.2  # a step is left so much below where it was entered
# A step down comes no sooner after another step; and so soon once few places are taken, as after an overload.
_LASTING_SECONDS, _CALM_SECONDS, _CALM = 3.0, 1.0, 0.05


class Pressure:
    """Follows the share of places taken."""

    def __init__(self, now: float = 0.0) -> None:
        self._share = 0.0
        self._step, self._since, self._at = 0, now, now
        self.value = 0.0
        """From 0, where nothing is given up, to 1."""

    def observe(self, now: float, taken: float) -> None:
        """A request came and met this share of the places taken, 1 if it was refused."""
        elapsed, self._at = max(0.0, now - self._at), now
        self._share += elapsed / (elapsed + _SMOOTHING_SECONDS) * (taken - self._share)
        if (step := _step(self._share)) > self._step:
            self._move(step, now)
        elif self._step:
            pause = _CALM_SECONDS if self._share < _CALM else _LASTING_SECONDS
            # One at a time; several after a time without calls.
            steps = max(1, int(elapsed / pause)) if now - self._since >= pause else 0
            if (lower := max(_step(self._share + _GIVE), self._step - steps)) < self._step:
                self._move(lower, now)

    def _move(self, step: int, now: float) -> None:
        self._step, self._since = step, now
        self.value = step / STEPS


def _step(share: float) -> int:
    """0 below the first, up to `STEPS`."""
    return min(max(math.floor((share - _FROM) / (_TO - _FROM) * (STEPS - 1)) + 1, 0), STEPS)
