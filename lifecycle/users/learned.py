"""Learns the sources of behaviour, and opens them as serving does."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lifecycle.users.counts import (
    AGAIN_DAYS,
    ProductCounts,
    Repurchase,
    count_again,
    count_products,
    counted,
    make_baskets,
    popular_lists,
)
from lifecycle.users.covisits import count_covisits
from lifecycle.users.events import Behaviours
from lifecycle.users.settings import UserTraining
from lifecycle.users.shop import UserShop
from retrieval.recommend.behaviour import (
    ANY,
    POPULAR_SCHEMA,
    PRODUCTS_SCHEMA,
    RELATIONS,
    Behaviour,
    BehaviourSpec,
    Neighbours,
    write_behaviour,
)
from retrieval.recommend.candidates import Alignment, GroupMembers


@dataclass(frozen=True, slots=True)
class Learned:
    """Behaviour up to a time, and how a shop's rows are found in it and by their groups."""

    behaviour: Behaviour
    alignment: Alignment
    groups: GroupMembers


def learn_behaviour(
    events: Behaviours,
    shop: UserShop,
    settings: UserTraining,
    folder: Path,
    report: dict[str, Any] | None = None,
) -> Learned:
    """Counts the events, writes the behaviour into the folder and opens it."""
    count, end = len(shop), float(events.time.max())
    baskets = make_baskets(counted(events), count, settings.basket_hours)
    counts = count_products(events, count, end, settings.half_life_days)
    again = count_again(baskets, count)
    neighbours = count_covisits(baskets, count, end, settings)
    lists = popular_lists(events, count, end, settings.half_life_days, settings.popular, settings.least_events)
    rows = np.flatnonzero(np.bincount(events.product, minlength=count))
    ids = shop.ids.take(pa.array(rows)).combine_chunks()
    order = pa.compute.sort_indices(ids).to_numpy()
    rows, ids = rows[order], ids.take(pa.array(order))
    places = np.full(count, -1, np.int64)
    places[rows] = np.arange(len(rows))
    spec = BehaviourSpec(
        time=int(end),
        half_life_days=settings.half_life_days,
        history_days=settings.history_days,
        most_history=settings.most_history,
        again_days=AGAIN_DAYS,
        again_rates=tuple(again.rates.tolist()),
        segments=tuple(sorted({entry.segment for entry in lists} - {ANY})),
        channels=tuple(sorted({entry.channel for entry in lists} - {ANY})),
        encoder=shop.encoder,
        report=report or {},
    )
    products = _products(ids, rows, counts, again, {name: _among(neighbours[name], rows, places) for name in RELATIONS})
    popular = pa.table(
        {
            "segment": [entry.segment for entry in lists],
            "channel": [entry.channel for entry in lists],
            "products": pa.array([places[entry.rows].astype(np.int32) for entry in lists], pa.list_(pa.int32())),
            "weights": pa.array([entry.weights for entry in lists], pa.list_(pa.float32())),
        },
        POPULAR_SCHEMA,
    )
    write_behaviour(folder, spec, products, popular)
    return open_learned(folder, shop)


def open_learned(folder: Path, shop: UserShop) -> Learned:
    """What `learn_behaviour` wrote, beside the shop."""
    behaviour = Behaviour.open(folder)
    alignment = Alignment.make(behaviour, shop.ids)
    popularity = np.where(alignment.places >= 0, behaviour.popularity[np.maximum(alignment.places, 0)], 0)
    return Learned(behaviour, alignment, GroupMembers(shop.groups, popularity.astype(np.float32)))


def _among(neighbours: Neighbours, rows: NDArray[np.int64], places: NDArray[np.int64]) -> Neighbours:
    """The neighbours of these rows, as places."""
    counts = np.diff(neighbours.offsets)[rows]
    ends = np.cumsum(counts)
    at = np.arange(int(counts.sum())) + np.repeat(neighbours.offsets[rows] - (ends - counts), counts)
    return Neighbours(np.concatenate([[0], ends]), places[neighbours.places[at]], neighbours.weights[at])


def _products(
    ids: pa.Array,
    rows: NDArray[np.int64],
    counts: ProductCounts,
    again: Repurchase,
    neighbours: dict[str, Neighbours],
) -> pa.Table:
    names = ("popularity", "recent", "sold", "buyers", "first", "last", "price")
    columns: dict[str, Any] = {"id": ids} | {name: getattr(counts, name)[rows] for name in names}
    columns["repurchase"] = again.factors[rows]
    for name, (offsets, places, weights) in neighbours.items():
        ends = pa.array(offsets.astype(np.int32))
        columns[name] = pa.ListArray.from_arrays(ends, pa.array(places.astype(np.int32)))
        columns[f"{name}_weights"] = pa.ListArray.from_arrays(ends, pa.array(weights))
    return pa.table({name: columns[name] for name in PRODUCTS_SCHEMA.names}, PRODUCTS_SCHEMA)
