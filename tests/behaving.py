"""Behaviour written by hand: events and baskets as arrays."""

import numpy as np

from lifecycle.users.counts import Baskets
from lifecycle.users.events import Behaviours
from retrieval.recommend.behaviour import DAY

NAN = float("nan")


def events(rows: list[tuple], channels: tuple[str, ...] = ("shop", "web")) -> Behaviours:
    """Of (user, product, day, action, price, channel), in the order of users and times."""
    user, product, day, action, price, channel = (np.array(column) for column in zip(*rows, strict=True))
    return Behaviours(
        user.astype(np.int32),
        product.astype(np.int32),
        np.round(day * DAY).astype(np.int64),
        action.astype(np.int8),
        price.astype(np.float32),
        channel.astype(np.int16),
        {},
        int(user.max()) + 1,
        channels,
        {},
    )


def baskets_of(rows: list[tuple[int, float, list[int]]]) -> Baskets:
    """Of (user, day, products)."""
    number = [at for at, (_, _, products) in enumerate(rows) for _ in products]
    products = [product for _, _, products in rows for product in sorted(products)]
    users, days = (np.array([row[column] for row in rows]) for column in (0, 1))
    times = (days * DAY).astype(np.int64)
    return Baskets(users.astype(np.int32), times, np.array(number, np.int64), np.array(products, np.int64))
