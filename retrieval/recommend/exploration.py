"""Places of a list that are kept for new products, drawn so that what is learned from them can be weighed.

Of the pool of new products, of which none is among the first results, each is as likely to be drawn as any other. Its
propensity is the probability that it is, over all draws of this request: 1 / propensity makes up for what is shown
rarely (inverse propensity weighting). The request's id seeds the draw, so that a request that is repeated gets the same
list.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from catalog.segment import Rows

POOL = 100
"""New products that places are drawn among."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A place, from 0, the row drawn for it, and the probability that this row was drawn for one of the places."""

    place: int
    row: int
    propensity: float


def draw_slots(pool: Rows, share: float, size: int, seed: str) -> list[Slot]:
    """The slots of a page of `size` results: so large a share of them on average, each at a place of its own that is
    not the first, ascending. None without a pool, or where the page has a single result."""
    wanted = min(share * size, size - 1)
    if wanted <= 0 or not len(pool):
        return []
    chance = np.random.default_rng(int.from_bytes(blake2b(seed.encode(), digest_size=16).digest()))
    least = math.floor(wanted)
    extra = wanted - least
    count = min(least + int(chance.random() < extra), len(pool))
    expected = (1 - extra) * min(least, len(pool)) + extra * min(least + 1, len(pool))
    rows = chance.choice(pool, count, replace=False)
    places = np.sort(1 + chance.choice(size - 1, count, replace=False))
    return [
        Slot(int(place), int(row), expected / len(pool))
        for place, row in zip(places.tolist(), rows.tolist(), strict=True)
    ]


def put_in(rows: Rows, slots: Sequence[Slot]) -> Rows:
    """The results, best first, with those of the slots at their places, or at the end where there are fewer."""
    drawn = {slot.row for slot in slots}
    result = [row for row in rows.tolist() if row not in drawn]
    for slot in slots:
        result.insert(slot.place, slot.row)
    return np.array(result, np.int64)
