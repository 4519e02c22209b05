"""Counts of behaviour: popularity, and how products are bought again. All by arrays over events."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lifecycle.users.events import Behaviours
from retrieval.recommend.behaviour import ANY, DAY
from retrieval.recommend.features import PURCHASE

AGAIN_DAYS = (1.0, 2.0, 3.0, 5.0, 7.0, 14.0, 30.0, 60.0, 120.0, 240.0, 480.0)
_RECENT = 10  # times as short is the half-life of what is popular of late
_LATER = 20  # later visits that are looked at
_PRIOR_VISITS, _PRIOR_AGAIN = 20.0, 2.0


def decay(time: NDArray[np.int64], end: float, half_life_days: float) -> NDArray[np.float64]:
    """0.5 to the power of each age in half-lives, as of `end`, shape (e,)."""
    return np.exp2((time - end) / (half_life_days * DAY))


def counted(events: Behaviours) -> Behaviours:
    """The purchases; where there are none at all, everything."""
    bought = events.action == PURCHASE
    return events.take(bought) if bought.any() else events


@dataclass(frozen=True, slots=True)
class ProductCounts:
    """Of N products, all of shape (N,); see `retrieval.recommend.behaviour.PRODUCTS_SCHEMA`."""

    popularity: NDArray[np.float32]
    recent: NDArray[np.float32]
    sold: NDArray[np.int32]
    buyers: NDArray[np.int32]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    price: NDArray[np.float32]


def count_products(events: Behaviours, products: int, end: float, half_life_days: float) -> ProductCounts:
    """What purchases count for each of so many products of a catalog."""
    buys = counted(events)
    sums = [
        np.bincount(buys.product, decay(buys.time, end, days), products).astype(np.float32)
        for days in (half_life_days, half_life_days / _RECENT)
    ]
    first, last = np.full(products, np.iinfo(np.int64).max), np.zeros(products, np.int64)
    np.minimum.at(first, events.product, events.time)
    np.maximum.at(last, events.product, events.time)
    pairs = np.unique(buys.user.astype(np.int64) * products + buys.product)
    return ProductCounts(
        popularity=sums[0],
        recent=sums[1],
        sold=np.bincount(buys.product, minlength=products).astype(np.int32),
        buyers=np.bincount(pairs % products, minlength=products).astype(np.int32),
        first=first,
        last=last,
        price=median_prices(buys, products),
    )


def median_prices(events: Behaviours, products: int) -> NDArray[np.float32]:
    """The median price of each product, shape (N,), NaN without one; of an even number, the lower of the middle two."""
    known = np.flatnonzero(~np.isnan(events.price))
    order = known[np.lexsort((events.price[known], events.product[known]))]
    counts = np.bincount(events.product[order], minlength=products)
    starts = np.cumsum(counts) - counts
    result = np.full(products, np.nan, np.float32)
    some = np.flatnonzero(counts)
    result[some] = events.price[order[starts[some] + (counts[some] - 1) // 2]]
    return result


class PopularList(NamedTuple):
    """The rows of popular products, best first, and their weights, of a segment and channel."""

    segment: str
    channel: str
    rows: NDArray[np.int64]
    weights: NDArray[np.float32]


def popular_lists(
    events: Behaviours, products: int, end: float, half_life_days: float, most: int, least_events: int
) -> list[PopularList]:
    """What is popular with all, in each channel, with each segment, and with each segment in each channel, where there
    are enough events. Equal ones stand in the order of their rows."""
    buys = counted(events)
    weights = decay(buys.time, end, half_life_days)
    everything = np.ones(len(buys), bool)
    channels = {ANY: everything} | {name: buys.channel == code for code, name in enumerate(buys.channels)}
    segments = {ANY: everything}
    for field, values in buys.values.items():
        segments |= {f"{field}={value}": buys.segments[field] == code for code, value in enumerate(values)}
    result = []
    for segment, of_segment in segments.items():
        for channel, of_channel in channels.items():
            rows = of_segment & of_channel
            if (segment or channel) and np.count_nonzero(rows) < least_events:
                continue
            sums = np.bincount(buys.product[rows], weights[rows], products)
            best = np.argsort(-sums, kind="stable")[:most]
            best = best[sums[best] > 0]
            result.append(PopularList(segment, channel, best, sums[best].astype(np.float32)))
    return result


class Baskets(NamedTuple):
    """b baskets in the order of users and times, and the m products in them, each once.

    `user` and `time` (of the last event) have shape (b,); `basket` and `product`, rising, have shape (m,).
    """

    user: NDArray[np.int32]
    time: NDArray[np.int64]
    basket: NDArray[np.int64]
    product: NDArray[np.int64]


def make_baskets(events: Behaviours, products: int, gap_hours: float) -> Baskets:
    """Events of a user with at most so many hours from one to the next are one basket."""
    if not len(events):
        nothing = np.empty(0, np.int64)
        return Baskets(np.empty(0, np.int32), nothing, nothing, nothing)
    begins = (np.diff(events.user) != 0) | (np.diff(events.time) > gap_hours * 3600)
    number = np.concatenate([[0], np.cumsum(begins)])
    ends = np.append(np.flatnonzero(begins), len(events) - 1)
    pairs: NDArray[np.int64] = np.unique(number.astype(np.int64) * products + events.product)
    return Baskets(events.user[ends], events.time[ends], pairs // products, pairs % products)


class Repurchase(NamedTuple):
    """How probably a product is bought again at a visit: by the age of the purchase, shape (a,), and times a factor of
    each product, shape (N,)."""

    rates: NDArray[np.float64]
    factors: NDArray[np.float32]
    visits: int


def count_again(baskets: Baskets, products: int, ages: tuple[float, ...] = AGAIN_DAYS) -> Repurchase:
    """Looks at each product of a basket at the user's later baskets, up to the one that has it again.

    Rates are drawn to their mean by 20 visits, factors to 1 by 2 expected purchases.
    """
    times = len(ages)
    seen, again = np.zeros(times), np.zeros(times)
    following = _next_basket(baskets, products)
    by_product = []
    for ahead in range(1, _LATER + 1):
        entry, later = _later_visits(baskets, ahead)
        open_still = (following[entry] < 0) | (later <= following[entry])
        entry, later = entry[open_still], later[open_still]
        if not len(entry):
            continue
        days = (baskets.time[later] - baskets.time[baskets.basket[entry]]) / DAY
        at = np.searchsorted(np.asarray(ages[:-1]), days, side="left")
        bought = later == following[entry]
        seen += np.bincount(at, minlength=times)
        again += np.bincount(at, bought, times)
        by_product.append((baskets.product[entry], at, bought))
    mean = again.sum() / max(1.0, seen.sum())
    rates = (again + _PRIOR_VISITS * mean) / (seen + _PRIOR_VISITS)
    expected, observed = np.zeros(products), np.zeros(products)
    for product, at, bought in by_product:
        expected += np.bincount(product, rates[at], products)
        observed += np.bincount(product, bought, products)
    factors = (observed + _PRIOR_AGAIN) / (expected + _PRIOR_AGAIN)
    return Repurchase(rates, factors.astype(np.float32), int(seen.sum()))


def _next_basket(baskets: Baskets, products: int) -> NDArray[np.int64]:
    """The next basket of the same user with the same product, for each entry, shape (m,); -1 where there is none."""
    user = baskets.user[baskets.basket].astype(np.int64)
    order = np.lexsort((baskets.basket, user * products + baskets.product))
    same = np.diff((user * products + baskets.product)[order]) == 0
    result = np.full(len(order), -1, np.int64)
    result[order[:-1][same]] = baskets.basket[order[1:][same]]
    return result


def _later_visits(baskets: Baskets, ahead: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The entries whose user has a basket so many further on, and that basket."""
    later = baskets.basket + ahead
    inside = np.minimum(later, len(baskets.user) - 1)
    entry = np.flatnonzero((later < len(baskets.user)) & (baskets.user[inside] == baskets.user[baskets.basket]))
    return entry, later[entry]
