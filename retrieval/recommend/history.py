"""A shopper's history, as sources read it: what was done with products, the latest first."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from catalog.segment import Rows
from engine.protocol import Vectors
from retrieval.recommend.behaviour import DAY, Places, Weights
from retrieval.recommend.user import Action, UserEvent

MOST_EVENTS = 50
"""Events of a history that sources read, where the release states no number."""
HALF_LIFE_DAYS = 30.0
"""Days after which an event counts half, where the release states none."""
_NUMBERS = {Action.view: 1, Action.cart: 2, Action.purchase: 3}
_WORTH = np.array([0.25, 0.25, 0.5, 1.0], np.float32)  # of an action, by its number


@dataclass(frozen=True, eq=False)
class History:
    """t events, the latest first; arrays of shape (t,). A product may come several times.

    `rows` are those of the view, -1 where it does not have the product, and `places` those of behaviour, -1 without
    any. `age_days` is not negative, and `actions` are 1 view, 2 cart, 3 purchase.
    """

    rows: Rows
    places: Places
    age_days: Weights
    actions: NDArray[np.int8]
    half_life_days: float = HALF_LIFE_DAYS

    @cached_property
    def strengths(self) -> Weights:
        """How much each event counts beside the latest one, which counts 1 where it is a purchase: a history is not
        lost where all of it is long ago."""
        later = self.age_days - self.age_days.min(initial=np.inf)
        return (_WORTH[self.actions] * np.exp2(-later / self.half_life_days)).astype(np.float32)

    @cached_property
    def known(self) -> NDArray[np.intp]:
        """The places, in the history, of what the view has."""
        return np.flatnonzero(self.rows >= 0)

    @property
    def used(self) -> int:
        """Products that some source can use."""
        usable = (self.rows >= 0) | (self.places >= 0)
        named = zip(self.rows[usable].tolist(), self.places[usable].tolist(), strict=True)
        return len(set(named))

    def mean_vector(self, vectors: Vectors) -> Vectors | None:
        """The direction, shape (d,), of the vectors (k, d) of what is known, by strength; None where it has none."""
        mean = self.strengths[self.known] @ vectors
        length = float(np.linalg.norm(mean))
        return (mean / length).astype(np.float32) if length > 1e-6 else None


EMPTY = History(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, np.int8))


def latest_events(events: Iterable[UserEvent], now: float, most: int) -> list[UserEvent]:
    """The latest `most` events, the latest first, with their times; those of the same time by the strength of the
    action, then by id. What is stated twice counts once."""
    timed = {
        UserEvent(event.product_id, now if event.time is None else min(event.time, now), event.action)
        for event in events
    }
    return sorted(timed, key=lambda event: (-(event.time or 0), -_NUMBERS[event.action], event.product_id))[:most]


def make_history(
    events: Sequence[UserEvent], rows: Rows, places: Places, now: float, half_life_days: float = HALF_LIFE_DAYS
) -> History:
    """The history of t events as `latest_events` returns them, with their rows and places, both (t,)."""
    times = np.array([now if event.time is None else event.time for event in events], np.float64)
    ages = (np.maximum(now - times, 0) / DAY).astype(np.float32)
    return History(rows, places, ages, np.array([_NUMBERS[event.action] for event in events], np.int8), half_life_days)
