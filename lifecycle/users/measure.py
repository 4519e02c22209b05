"""Measures lists for users on what they bought next: MAP@12 of several orders, and recall by source."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.progress import Report, ignore
from evaluation.average_precision import CUTOFF, average_precision
from evaluation.measures import Estimate, estimate
from lifecycle.users.learned import Learned
from lifecycle.users.people import Lists, People
from retrieval.recommend.candidates import POPULAR as POPULAR_SOURCE
from retrieval.recommend.candidates import SOURCES
from retrieval.recommend.features import Shopper, strengths

Rows = NDArray[np.int64]
Scorer = Callable[[NDArray[np.float32]], NDArray[np.float32]]

FINAL, POPULAR, AGAIN, SAME, COVISITS = (
    "learned order",
    "popularity",
    "bought again",
    "bought again or same group",
    "bought together",
)


@dataclass(slots=True)
class Ranking:
    """Each user's list by one way, and its AP@12; `ranked` has more than 12 products where the way has them."""

    ranked: list[Rows] = field(default_factory=list)
    precision: list[float] = field(default_factory=list)

    def add(self, rows: Rows, taken: Rows) -> None:
        """The next user's."""
        self.ranked.append(rows)
        self.precision.append(average_precision(rows[:CUTOFF].tolist(), taken.tolist()))

    @property
    def values(self) -> NDArray[np.float64]:
        """AP@12 of each user, shape (n,)."""
        return np.array(self.precision)


@dataclass(frozen=True, slots=True)
class Measured:
    """Lists by way, and by source which share of a user's purchases it retrieved, shape (n,)."""

    people: People
    ways: Mapping[str, Ranking]
    recall: Mapping[str, NDArray[np.float64]]

    def summary(self) -> dict[str, Any]:
        """MAP@12 of all, of those with a history and without, and recall by source of those with one."""
        known = self.people.known
        groups = {"all": np.ones(len(known), bool), "with a history": known, "without": ~known}
        groups["one product"] = self.one_product
        return {
            "users": {name: int(group.sum()) for name, group in groups.items()},
            "MAP@12": {
                way: {name: _mean(ranking.values[group]) for name, group in groups.items()}
                for way, ranking in self.ways.items()
            },
            "recall, with a history": {name: _mean(values[known]) for name, values in self.recall.items()},
        }

    @property
    def one_product(self) -> NDArray[np.bool_]:
        """Which users have just one product in their history; shape (n,)."""
        people = self.people
        kinds = [
            len(np.unique(people.before.product[start:end]))
            for start, end in zip(people.starts.tolist(), people.ends.tolist(), strict=True)
        ]
        return np.array(kinds) == 1


def measure(lists: Lists, learned: Learned, people: People, score: Scorer | None, report: Report = ignore) -> Measured:
    """Ranks each user's candidates by the learned order, if there is one, and by simple ways."""
    ways = {name: Ranking() for name in (POPULAR, AGAIN, SAME, COVISITS, *([FINAL] if score else []))}
    recall: dict[str, list[float]] = {name: [] for name in (*SOURCES, "all")}
    popular = learned.alignment.rows[learned.behaviour.popular().places]
    popular = popular[popular >= 0]
    shared: dict[tuple[str, str], dict[str, Rows]] = {}  # users without a history have the same lists in a context
    for place, candidates in enumerate(lists.candidates(people)):
        taken, shopper = people.taken[place], lists.shopper(people, place)
        key = (shopper.segment, shopper.channel)
        ranked = None if people.known[place] else shared.get(key)
        if ranked is None:
            ranked = simple_lists(learned, shopper, popular)
            if score is not None and not people.known[place]:
                ranked[FINAL] = candidates.sources[POPULAR_SOURCE]
            elif score is not None:
                ranked[FINAL] = best_first(candidates.rows, score(candidates.features))
            if not people.known[place]:
                shared[key] = ranked
        for name, rows in ranked.items():
            ways[name].add(rows, taken)
        for name in SOURCES:
            recall[name].append(float(np.isin(taken, candidates.sources[name]).mean()))
        recall["all"].append(float(np.isin(taken, candidates.rows).mean()))
        report(place + 1, len(people))
    return Measured(people, ways, {name: np.array(values) for name, values in recall.items()})


def best_first(rows: Rows, scores: NDArray[np.float32]) -> Rows:
    """The rows by falling score; equal ones in the order of the rows."""
    return rows[np.lexsort((rows, -scores))]


def simple_lists(learned: Learned, shopper: Shopper, popular: Rows) -> dict[str, Rows]:
    """Lists by popularity; by what the user has, the latest first; with its variants; by what is bought together.

    Each is filled up by popularity.
    """
    history = shopper.history.products
    count = strengths(learned.behaviour, shopper.history.age_days, shopper.history.actions)
    variants = learned.groups.members(history.groups, CUTOFF)
    beside = learned.behaviour.related("together", history.places, count)
    later = learned.behaviour.related("followed", history.places, count)
    places = np.concatenate([beside.places, later.places])
    rows, at = np.unique(learned.alignment.rows[places], return_inverse=True)
    scores = np.bincount(at, np.concatenate([beside.weights, later.weights]), len(rows))
    together = best_first(rows, scores.astype(np.float32))
    return {
        POPULAR: popular[:CUTOFF],
        AGAIN: _filled([history.rows], popular),
        SAME: _filled([history.rows, variants], popular),
        COVISITS: _filled([together[together >= 0]], popular),
    }


def _filled(parts: Sequence[Rows], popular: Rows) -> Rows:
    """The first 12 different rows of all parts and then of what is popular."""
    rows = np.concatenate([*parts, popular[: 2 * CUTOFF]])
    _, first = np.unique(rows, return_index=True)
    return rows[np.sort(first)][:CUTOFF]


def intra_list_distance(vectors: NDArray[np.float32]) -> float:
    """The mean of 1 - cosine over all pairs of n unit vectors, (n, d); 0 of fewer than two."""
    count = len(vectors)
    if count < 2:
        return 0.0
    total = float(np.square(vectors.sum(0)).sum()) - count
    return 1 - total / (count * (count - 1))


def capped(rows: Rows, types: NDArray[np.int32], cap: int, most: int = CUTOFF) -> Rows:
    """The first rows with at most `cap` of each type; those without a type, -1, are bounded by nothing. Types have the
    rows' shape, (n,)."""
    order = np.argsort(types, kind="stable")
    starts = np.searchsorted(types[order], types[order])
    before = np.empty(len(rows), np.int64)
    before[order] = np.arange(len(rows)) - starts
    return rows[(before < cap) | (types < 0)][:most]


def mean_estimate(values: NDArray[np.float64]) -> Estimate:
    """The mean with its 95% bootstrap interval."""
    return estimate(values.tolist())


def _mean(values: NDArray[np.float64]) -> float | None:
    return float(values.mean()) if len(values) else None
