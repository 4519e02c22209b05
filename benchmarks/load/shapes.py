"""Load shapes: how many shoppers there are over a run."""

from enum import StrEnum

_STEPS = 5
_BASE = 0.2
_RAMP = 0.05


class Shape(StrEnum):
    """How load comes and goes."""

    STEADY = "steady"
    STEP = "step"
    SPIKE = "spike"
    SOAK = "soak"


# How long each runs by default, in seconds: a soak looks for what only time brings out.
SECONDS = {Shape.STEADY: 60, Shape.STEP: 150, Shape.SPIKE: 120, Shape.SOAK: 3600}


def users_at(shape: Shape, peak: int, share: float) -> int:
    """Shoppers when this share of the run is over, 0 to 1, of at most `peak` and at least 1.

    Steady: all, always. Step: five equal steps up. Spike: a fifth, and all of them in the middle fifth of the run.
    Soak: all, after a ramp over the first twentieth.
    """
    return max(1, round(peak * _load(shape, min(max(share, 0.0), 1.0))))


def _load(shape: Shape, share: float) -> float:
    if shape is Shape.STEP:
        return min(int(share * _STEPS) + 1, _STEPS) / _STEPS
    if shape is Shape.SPIKE:
        return 1.0 if 0.4 <= share < 0.6 else _BASE
    if shape is Shape.SOAK:
        return min(share / _RAMP, 1.0)
    return 1.0
