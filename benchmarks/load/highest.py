"""The highest rate at which the objectives hold: doubling until they do not, then halving the gap."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

_LEAST_RATE = 0.1


class Outcome(StrEnum):
    """The outcome of a trial at one rate."""

    HOLDS = "holds"
    FAILS = "fails"
    CLIENT_TOO_SLOW = "client too slow"


@dataclass(frozen=True, slots=True)
class Highest:
    """`rate` is the highest one at which all held, in calls a second; 0 where none did. `bounded` is whether a higher
    one failed: else the client, or the ceiling, ended the search, and the service may do better."""

    rate: float
    bounded: bool


async def find_highest(
    trial: Callable[[float], Awaitable[Outcome]], start: float, precision: float = 0.1, ceiling: float = 100_000.0
) -> Highest:
    """Tries rates from `start` on until the gap between the highest that holds and the lowest that fails is at most
    `precision` of the former."""
    holds, fails, too_slow = 0.0, None, None
    rate = start
    while (limit := _limit(fails, too_slow)) is None or limit > max(holds * (1 + precision), _LEAST_RATE):
        outcome = await trial(rate)
        if outcome is Outcome.HOLDS:
            holds = rate
        elif outcome is Outcome.FAILS:
            fails = rate
        else:
            too_slow = rate
        if holds >= ceiling:
            break
        rate = _next(holds, _limit(fails, too_slow), ceiling)
    return Highest(holds, fails is not None and fails == _limit(fails, too_slow))


def _limit(fails: float | None, too_slow: float | None) -> float | None:
    """The lowest rate that failed."""
    limits = [rate for rate in (fails, too_slow) if rate is not None]
    return min(limits) if limits else None


def _next(holds: float, limit: float | None, ceiling: float) -> float:
    if limit is None:
        return min(2 * holds, ceiling)
    return (holds + limit) / 2 if holds else limit / 2
