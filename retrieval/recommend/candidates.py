"""The candidates of a list for one user, by source, as rows of a catalog. Training and serving gather them alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ranker.recommendation import Limits
from retrieval.recommend.behaviour import RELATIONS, Behaviour, Places
from retrieval.recommend.features import HistoryFacts, Shopper, strengths

Rows: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]

REPURCHASE, TOGETHER, GROUP, TOWER, POPULAR = "repurchase", "bought_together", "same_group", "user_tower", "popular"
SOURCES = (REPURCHASE, TOGETHER, GROUP, TOWER, POPULAR)


@dataclass(frozen=True, slots=True)
class Alignment:
    """Which product of the behaviour each of N rows of a catalog is: `places`, shape (N,), -1 where it has none; and
    the other way round: `rows`, shape (n,), -1 where the catalog has no such product."""

    places: Places
    rows: Rows

    @classmethod
    def make(cls, behaviour: Behaviour, ids: Sequence[str] | pa.Array) -> "Alignment":
        """Of the ids of the catalog's products, in the order of their rows."""
        places = behaviour.places(ids if isinstance(ids, pa.Array | pa.ChunkedArray) else pa.array(ids, pa.string()))
        rows = np.full(len(behaviour), -1, np.int64)
        known = np.flatnonzero(places >= 0)
        rows[places[known]] = known
        return cls(places, rows)


class GroupMembers:
    """The products of each group, the most popular first."""

    def __init__(self, codes: NDArray[np.int32], popularity: NDArray[np.float32]) -> None:
        """Takes N rows' codes of groups, -1 without one, and their popularity, both of shape (N,)."""
        order = np.lexsort((np.arange(len(codes)), -popularity, codes))
        self._rows = order[np.searchsorted(codes[order], 0) :]
        self._codes = codes[self._rows]

    def members(self, codes: NDArray[np.int32], most: int) -> Rows:
        """The first `most` products of each of m groups, group by group."""
        starts, ends = (np.searchsorted(self._codes, codes, side) for side in ("left", "right"))
        counts = np.where(codes < 0, 0, np.minimum(ends - starts, most))
        before = np.cumsum(counts) - counts
        return self._rows[np.arange(counts.sum()) + np.repeat(starts - before, counts)]


def gather(
    behaviour: Behaviour,
    alignment: Alignment,
    groups: GroupMembers,
    shopper: Shopper,
    limits: Limits,
    similar: Rows,
    allowed: Mask | None = None,
) -> Mapping[str, Rows]:
    """The candidates of each source, best first, at most as many as the limits say and all of them allowed.

    `similar` are the products nearest to the user tower's vector; `allowed` has shape (N,), None for all.
    """
    history = shopper.history
    popular = behaviour.popular(shopper.segment, shopper.channel).places
    general = behaviour.popular().places
    ways: dict[str, tuple[Rows, int]] = {
        REPURCHASE: (history.products.rows, limits.repurchase),
        TOGETHER: (_together(behaviour, alignment, history), 2 * limits.bought_together),
        GROUP: (groups.members(_distinct(history.products.groups), limits.same_group), len(alignment.places)),
        TOWER: (similar, limits.user_tower),
        POPULAR: (alignment.rows[np.concatenate([popular[: limits.popular], general])], limits.popular),
    }
    return {name: _first(rows, most, allowed) for name, (rows, most) in ways.items()}


def _together(behaviour: Behaviour, alignment: Alignment, history: HistoryFacts) -> Rows:
    """By turns what was bought in the same baskets and what was bought later."""
    count = strengths(behaviour, history.age_days, history.actions)
    places = history.products.places
    lists = [alignment.rows[behaviour.related(name, places, count).places] for name in RELATIONS]
    longest = max(map(len, lists))
    both = np.full((longest, 2), -1, np.int64)
    for column, rows in enumerate(lists):
        both[: len(rows), column] = rows
    return both.reshape(-1)


def _distinct(codes: NDArray[np.int32]) -> NDArray[np.int32]:
    """Each once, in the order of the first."""
    _, first = np.unique(codes, return_index=True)
    return codes[np.sort(first)]


def _first(rows: Rows, most: int, allowed: Mask | None) -> Rows:
    """The first of these rows, each once, that are in the catalog and allowed."""
    rows = rows[rows >= 0]
    if allowed is not None:
        rows = rows[allowed[rows]]
    _, first = np.unique(rows, return_index=True)
    return rows[np.sort(first)[:most]]
