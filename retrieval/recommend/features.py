"""Computes the features of recommended candidates; see `ranker.recommendation_features`. Training and serving call it.

Everything is arrays over the candidates (c) and the user's history (t); no step runs product by product.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ranker.features import MISSING
from ranker.recommendation_features import RECOMMENDATION_NAMES
from retrieval.recommend.behaviour import ANY, DAY, RELATIONS, Behaviour, Places, Popular, Weights

Numbers: TypeAlias = NDArray[np.float32]
Codes: TypeAlias = NDArray[np.int32]

VIEW, CART, PURCHASE = 1, 2, 3
_LEAST = 1e-9


@dataclass(frozen=True, slots=True)
class ProductFacts:
    """What features read of m products.

    `rows`, shape (m,), name the products: the same number is the same product (-1: it is none of the catalog).
    `places` are theirs in the behaviour, -1 without any. `groups` and `types` are codes of the item group and of the
    product type, -1 without one; equal codes mean the same in candidates and history. `prices` are NaN where unknown
    (any unit, but one for all). All of shape (m,). `vectors` are unit vectors, shape (m, d), or None.
    """

    rows: NDArray[np.int64]
    places: Places
    groups: Codes
    types: Codes
    prices: Numbers
    vectors: Numbers | None = None

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class HistoryFacts:
    """A user's history of t events, the latest first: its products (one may come several times), their ages in days,
    shape (t,), and what was done (`VIEW`, `CART`, `PURCHASE`), shape (t,). An empty one is a user unknown."""

    products: ProductFacts
    age_days: Numbers
    actions: NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Shopper:
    """For whom to recommend: the history, the user tower's vector, shape (d,), if there is one, the time, in seconds
    since 1970, and the names of the segment and the channel in which popular products are known."""

    history: HistoryFacts
    time: float
    vector: Numbers | None = None
    segment: str = ANY
    channel: str = ANY


def strengths(behaviour: Behaviour, age_days: Numbers, actions: NDArray[np.int8]) -> Weights:
    """How much each product of a history counts, shape (t,): half for each half-life, and less than a purchase's for
    what was only put into the cart (0.5) or looked at (0.25)."""
    decayed = np.exp2(-np.maximum(age_days, 0) / behaviour.spec.history_days)
    return (decayed * _WORTH[actions]).astype(np.float32)


_WORTH = np.array([0.25, 0.25, 0.5, 1.0], np.float32)  # by action


def compute_features(behaviour: Behaviour, shopper: Shopper, candidates: ProductFacts) -> Numbers:
    """The features of c candidates, shape (c, f) in the order of the schema."""
    history = shopper.history
    count = strengths(behaviour, history.age_days, history.actions)
    columns: dict[str, Numbers | np.float32] = {
        **_again(behaviour, history, candidates),
        **_related(behaviour, history, count, candidates),
        **_kinship(history, count, candidates),
        **_cosines(shopper, count, candidates),
        **_popularity(behaviour, shopper, candidates),
        **_prices(history, candidates),
        "history_products": np.float32(len(np.unique(history.products.rows))),
        "history_days": np.float32(history.age_days[0]) if len(history.age_days) else MISSING,
    }
    table = np.empty((len(candidates), len(RECOMMENDATION_NAMES)), np.float32)
    for place, name in enumerate(RECOMMENDATION_NAMES):
        table[:, place] = columns[name]
    return table


def look_up(places: Places, sparse: Popular) -> Weights:
    """The weight of each of c places in a list, shape (c,); 0 where the list does not have it."""
    if not len(sparse.places):
        return np.zeros(len(places), np.float32)
    order = np.argsort(sparse.places)
    at = np.minimum(np.searchsorted(sparse.places, places, sorter=order), len(order) - 1)
    return np.where(sparse.places[order[at]] == places, sparse.weights[order[at]], 0).astype(np.float32)


def ranks(scores: Numbers, rows: NDArray[np.int64]) -> Numbers:
    """The rank of each of c scores, from 1, shape (c,); equal scores by their rows. NaN where a score is 0 or NaN."""
    order = np.lexsort((rows, -np.nan_to_num(scores, nan=-np.inf)))
    result = np.empty(len(scores), np.float32)
    result[order] = np.arange(1, len(scores) + 1)
    return np.where(np.isnan(scores) | (scores == 0), MISSING, result).astype(np.float32)


def _again(behaviour: Behaviour, history: HistoryFacts, candidates: ProductFacts) -> dict[str, Numbers]:
    """Of the products that the user has already; each row's first in the history is its latest."""
    rows, first, times = np.unique(history.products.rows, return_index=True, return_counts=True)
    at, has = _find(candidates.rows, rows)
    if not len(rows):
        nothing, missing = np.zeros(len(candidates), np.float32), np.full(len(candidates), MISSING)
        return dict.fromkeys(("again_times", "again_action"), nothing) | dict.fromkeys(
            ("again_probability", "again_days"), missing
        )
    days = history.age_days[first]
    chance = behaviour.again(history.products.places[first], days)
    action = np.zeros(len(rows), np.float32)
    np.maximum.at(action, np.searchsorted(rows, history.products.rows), history.actions)
    return {
        "again_probability": np.where(has, chance[at], MISSING),
        "again_times": np.where(has, times[at], 0).astype(np.float32),
        "again_days": np.where(has, days[at], MISSING),
        "again_action": np.where(has, action[at], 0),
    }


def _find(wanted: NDArray[np.int64], rows: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Where each wanted row is among ascending rows, and whether it is; both of shape (c,)."""
    if not len(rows):
        return np.zeros(len(wanted), np.intp), np.zeros(len(wanted), bool)
    at = np.minimum(np.searchsorted(rows, wanted), len(rows) - 1)
    return at, (rows[at] == wanted) & (wanted >= 0)


def _related(
    behaviour: Behaviour, history: HistoryFacts, count: Weights, candidates: ProductFacts
) -> dict[str, Numbers]:
    result: dict[str, Numbers] = {}
    for name in RELATIONS:
        scores = look_up(candidates.places, behaviour.related(name, history.products.places, count))
        result |= {f"{name}_score": scores, f"{name}_rank": ranks(scores, candidates.rows)}
    return result


def _kinship(history: HistoryFacts, count: Weights, candidates: ProductFacts) -> dict[str, Numbers]:
    """Groups and types that candidates share with the history; (c, t) comparisons, of a bounded history."""
    mine = history.products
    same = (candidates.groups[:, None] == mine.groups) & (candidates.groups[:, None] >= 0)
    same &= candidates.rows[:, None] != mine.rows
    alike = (candidates.types[:, None] == mine.types) & (candidates.types[:, None] >= 0)
    days = np.where(same, history.age_days, np.inf).min(1, initial=np.inf)
    return {
        "group_products": same.sum(1).astype(np.float32),
        "group_days": np.where(np.isfinite(days), days, MISSING).astype(np.float32),
        "type_share": (alike @ count / max(float(count.sum()), _LEAST)).astype(np.float32),
    }


def _cosines(shopper: Shopper, count: Weights, candidates: ProductFacts) -> dict[str, Numbers]:
    missing: Numbers = np.full(len(candidates), MISSING, np.float32)
    result: dict[str, Numbers] = dict.fromkeys(
        ("user_cosine", "user_rank", "mean_cosine", "latest_cosine", "nearest_cosine"), missing
    )
    vectors, mine = candidates.vectors, shopper.history.products.vectors
    if vectors is None:
        return result
    if shopper.vector is not None:
        cosines = vectors @ shopper.vector
        result |= {"user_cosine": cosines, "user_rank": ranks(cosines, candidates.rows)}
    if mine is not None and len(mine):
        every = vectors @ mine.T
        norm = np.float32(max(float(np.linalg.norm(count @ mine)), _LEAST))
        others = np.where(candidates.rows[:, None] == shopper.history.products.rows, -1, every)
        mean = (every @ count / norm).astype(np.float32)
        result |= {"mean_cosine": mean, "latest_cosine": every[:, 0], "nearest_cosine": others.max(1)}
    return result


def _popularity(behaviour: Behaviour, shopper: Shopper, candidates: ProductFacts) -> dict[str, Numbers]:
    known, places = candidates.places >= 0, np.maximum(candidates.places, 0)

    popularity: Numbers = np.where(known, behaviour.popularity_share[places], 0).astype(np.float32)
    recent: Numbers = np.where(known, behaviour.recent_share[places], 0).astype(np.float32)
    listed = behaviour.popular(shopper.segment, shopper.channel)
    of_all = np.float32(max(float(listed.weights.sum(dtype=np.float64)), _LEAST))
    segment = (look_up(candidates.places, listed) / of_all).astype(np.float32)
    whole = np.where(popularity > 0, popularity, MISSING).astype(np.float32)
    return {
        "popularity": popularity,
        "popularity_rank": ranks(popularity + np.float32(_LEAST), candidates.rows),
        "recent_share": recent,
        "trend": recent / whole,
        "segment_popularity": segment,
        "segment_lift": segment / whole,
        "repurchase_factor": np.where(known, behaviour.repurchase[places], MISSING).astype(np.float32),
        "days_on_sale": np.where(known, (shopper.time - behaviour.first[places]) / DAY, MISSING).astype(np.float32),
        "days_unsold": np.where(known, (shopper.time - behaviour.last[places]) / DAY, MISSING).astype(np.float32),
    }


def _prices(history: HistoryFacts, candidates: ProductFacts) -> dict[str, Numbers]:
    prices = np.where(candidates.prices > 0, candidates.prices, MISSING)
    return {
        "price_ratio": np.log(prices / _median(history.products.prices)).astype(np.float32),
        "price_level": (prices / _median(prices)).astype(np.float32),
    }


def _median(prices: Numbers) -> np.float32:
    known = prices[prices > 0]
    return np.float32(np.median(known)) if len(known) else MISSING
