"""Users at a moment: what they had done before, what they then bought, and candidates as serving gathers them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoder.users.tower import History, UserTower
from lifecycle.users.counts import counted
from lifecycle.users.events import Behaviours
from lifecycle.users.learned import Learned
from lifecycle.users.settings import UserTraining
from lifecycle.users.shop import UserShop
from retrieval.recommend.behaviour import ANY, DAY
from retrieval.recommend.candidates import gather
from retrieval.recommend.features import HistoryFacts, ProductFacts, Shopper, compute_features

_SEARCHED = 256  # users whose nearest products are searched at once
_BLOCK = 1 << 14


@dataclass(frozen=True, slots=True)
class People:
    """n users at a moment (seconds since 1970). User i had the events of `before` from `starts[i]` to `ends[i]`, the
    latest last, and bought the rows `taken[i]` afterwards."""

    time: float
    before: Behaviours
    users: NDArray[np.int32]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    taken: list[NDArray[np.int64]]

    def __len__(self) -> int:
        return len(self.users)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which have a history; shape (n,)."""
        return self.ends > self.starts

    def take(self, places: NDArray[np.int64]) -> "People":
        """Some of the users."""
        taken = [self.taken[place] for place in places.tolist()]
        return People(self.time, self.before, self.users[places], self.starts[places], self.ends[places], taken)


def people_at(events: Behaviours, begin: float, end: float) -> People:
    """Those who bought anything from `begin` on and before `end`, with what they did before."""
    before = events.take(events.time < begin)
    after = counted(events.take((events.time >= begin) & (events.time < end)))
    users, first = np.unique(after.user, return_index=True)
    taken = [np.unique(rows).astype(np.int64) for rows in np.split(after.product, first[1:])] if len(users) else []
    starts, ends = (np.searchsorted(before.user, users, side) for side in ("left", "right"))
    return People(begin, before, users, starts, ends, taken)


class Candidates(NamedTuple):
    """A user's candidates: rows and features of c products, and the rows of each source."""

    rows: NDArray[np.int64]
    features: NDArray[np.float32]
    sources: Mapping[str, NDArray[np.int64]]


Nearest = Callable[[NDArray[np.float32], int], NDArray[np.int64]]
"""Rows of the k products nearest to each of n vectors, (n, d) -> (n, k)."""


class Lists:
    """Candidates and features of users of a shop, by what was learned; see `retrieval.recommend`."""

    def __init__(
        self,
        shop: UserShop,
        learned: Learned,
        tower: UserTower | None,
        nearest: Nearest,
        settings: UserTraining,
        paid: bool,
    ) -> None:
        """`paid`: prices are what was paid, and not the catalog's."""
        self._shop = shop
        self._learned = learned
        self._tower = tower
        self._nearest = nearest
        self._settings = settings
        self._allowed: NDArray[np.bool_] | None = None
        self._unknown: dict[tuple[float, str, str], Candidates] = {}
        places = np.maximum(learned.alignment.places, 0)
        own = np.where(learned.alignment.places >= 0, learned.behaviour.price[places], np.nan).astype(np.float32)
        self._prices = own if paid else shop.prices

    def only(self, rows: NDArray[np.int64]) -> "Lists":
        """The same with candidates among these rows alone, such as those that a filter lets through."""
        allowed = np.zeros(len(self._shop), bool)
        allowed[rows] = True
        search = exact_search(self._shop.vectors[rows])
        near = Lists(self._shop, self._learned, self._tower, lambda v, k: rows[search(v, k)], self._settings, False)
        near._prices, near._allowed = self._prices, allowed
        return near

    def candidates(self, people: People) -> Iterator[Candidates]:
        """Those of each user, in their order. Users without a history share what is popular where they are."""
        for start in range(0, len(people), _SEARCHED):
            part = range(start, min(start + _SEARCHED, len(people)))
            known = [place for place in part if people.known[place]]
            shoppers = {place: self.shopper(people, place) for place in known}
            ready = dict(zip(known, self._of_known(list(shoppers.values())), strict=True))
            for place in part:
                yield ready[place] if place in ready else self._of_unknown(people, place)

    def _of_known(self, shoppers: list[Shopper]) -> Iterator[Candidates]:
        if not shoppers:
            return
        vectors = self.vectors(shoppers)
        near = self._nearest(vectors, self._settings.limits.user_tower)
        for shopper, vector, rows in zip(shoppers, vectors, near, strict=True):
            yield self._gathered(shopper, vector, rows)

    def _of_unknown(self, people: People, place: int) -> Candidates:
        shopper = self.shopper(people, place)
        key = (people.time, shopper.segment, shopper.channel)
        if key not in self._unknown:
            self._unknown[key] = self._gathered(shopper, None, np.empty(0, np.int64))
        return self._unknown[key]

    def nearest(self, vectors: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """Rows of the k products nearest to each of n vectors, (n, k)."""
        return self._nearest(vectors, k)

    def shopper(self, people: People, place: int) -> Shopper:
        """One user as a request would give them: the latest events, and the channel they used last."""
        at = np.arange(people.ends[place] - 1, people.starts[place] - 1, -1)[: self._settings.most_history]
        before = people.before
        ages = ((people.time - before.time[at]) / DAY).astype(np.float32)
        history = HistoryFacts(self._facts(before.product[at].astype(np.int64)), ages, before.action[at])
        known = {"channel": self._channel(before, at)}
        for name, codes in before.segments.items():
            code = int(codes[at[0]]) if len(at) else -1
            known |= {name: before.values[name][code]} if code >= 0 else {}
        names = {name: value for name, value in known.items() if value}
        return Shopper(history, people.time, None, *self._learned.behaviour.list_names(names))

    def vectors(self, shoppers: list[Shopper]) -> NDArray[np.float32]:
        """The user tower's vectors, or without one the mean of the history's, (n, d)."""
        histories = []
        for shopper in shoppers:
            items = shopper.history.products.vectors
            assert items is not None
            histories.append(History(items, shopper.history.age_days, shopper.history.actions))
        if self._tower is not None:
            return self._tower.vectors(histories)
        return np.stack([mean_vector(history.items) for history in histories])

    def _channel(self, before: Behaviours, at: NDArray[np.int64]) -> str:
        codes = before.channel[at]
        return before.channels[int(codes[0])] if len(at) and codes[0] >= 0 else ANY

    def _gathered(self, shopper: Shopper, vector: NDArray[np.float32] | None, near: NDArray[np.int64]) -> Candidates:
        learned = self._learned
        shopper = Shopper(
            shopper.history,
            shopper.time,
            vector if self._tower is not None else None,
            shopper.segment,
            shopper.channel,
        )
        sources = gather(
            learned.behaviour, learned.alignment, learned.groups, shopper, self._settings.limits, near, self._allowed
        )
        rows = np.unique(np.concatenate(list(sources.values())))
        return Candidates(rows, compute_features(learned.behaviour, shopper, self._facts(rows)), sources)

    def _facts(self, rows: NDArray[np.int64]) -> ProductFacts:
        shop = self._shop
        return ProductFacts(
            rows,
            self._learned.alignment.places[rows],
            shop.groups[rows],
            shop.types[rows],
            self._prices[rows],
            shop.vectors[rows].astype(np.float32),
        )


def mean_vector(items: NDArray[np.float32]) -> NDArray[np.float32]:
    """The unit vector of the mean of t vectors, (t, d) -> (d,); zeros of none."""
    total = items.sum(0)
    return total / max(float(np.linalg.norm(total)), 1e-9)


def exact_search(vectors: NDArray[np.float16]) -> Nearest:
    """Searches all of N vectors, (N, d), a block at a time."""

    def search(queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        best = np.full((len(queries), 0), 0.0, np.float32)
        rows = np.empty((len(queries), 0), np.int64)
        for start in range(0, len(vectors), _BLOCK):
            block = vectors[start : start + _BLOCK].astype(np.float32)
            scores = np.concatenate([best, queries @ block.T], 1)
            every = np.concatenate(
                [rows, np.broadcast_to(np.arange(len(block)) + start, (len(queries), len(block)))], 1
            )
            kept = np.argpartition(-scores, min(k, scores.shape[1]) - 1, axis=1)[:, :k]
            best, rows = np.take_along_axis(scores, kept, 1), np.take_along_axis(every, kept, 1)
        order = np.lexsort((rows, -best), axis=1)
        return np.take_along_axis(rows, order, 1)

    return search
