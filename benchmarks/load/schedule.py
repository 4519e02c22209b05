"""When calls are due, decided before the first is sent."""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class Arrivals(StrEnum):
    """How calls follow each other: as independent shoppers do, or evenly."""

    POISSON = "poisson"
    CONSTANT = "constant"


def due_times(rate: float, seconds: float, arrivals: Arrivals, seed: int) -> NDArray[np.float64]:
    """Rising times in seconds from 0 to `seconds`, shape (n,), at `rate` calls a second in the mean."""
    if arrivals is Arrivals.CONSTANT:
        return np.arange(int(rate * seconds)) / rate
    random = np.random.default_rng(seed)
    # A Poisson process on an interval: its count is Poisson, and the times are then independent and uniform.
    return np.sort(random.uniform(0, seconds, random.poisson(rate * seconds)))
