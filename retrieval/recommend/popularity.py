"""How popular each product of a view is, and the most popular ones that pass a mask.

What behaviour knows counts first; of products without it, the feed's popularity does. Equal ones stand in the order of
their rows.
"""

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

import numpy as np

from catalog.segment import Mask, Rows, Scores, Segment
from catalog.view import CatalogView
from engine.protocol import Candidates
from retrieval.recommend.behaviour import Behaviour
from retrieval.recommend.rows import ProductRows

_KEPT = 16  # segments, of the revisions in use
_FIRST = 4  # times as many as wanted are looked at first


@dataclass(frozen=True, slots=True, eq=False)
class _Ranked:
    """The popularity of a segment's rows, the rows by it, and what it was computed from."""

    feed: Scores
    scores: Scores
    order: Rows


class Popularity:
    """For the views of one release, and any number of threads."""

    def __init__(self, rows: ProductRows, behaviour: Behaviour | None) -> None:
        self._rows = rows
        self._shares = None
        if behaviour is not None:
            most = max(float(behaviour.popularity.max(initial=0)), 1e-9)
            self._shares = np.where(behaviour.popularity > 0, 1 + behaviour.popularity / most, 0).astype(np.float32)
        self._ranked: OrderedDict[int, _Ranked] = OrderedDict()
        self._lock = Lock()

    def prepare(self, view: CatalogView) -> None:
        """Ranks the rows of all segments."""
        for number in range(len(view.segments)):
            self._of(view, number)

    def scores(self, view: CatalogView) -> Scores:
        """The popularity of all rows, shape (rows,): 1 to 2 of products with behaviour, a share of the most popular
        one's above 1; of others the feed's, 0 to 1, and 0 where it is unknown."""
        parts = [self._of(view, number).scores for number in range(len(view.segments))]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def of(self, view: CatalogView, rows: Rows) -> Scores:
        """The popularity of r rows, shape (r,)."""
        result = np.zeros(len(rows), np.float32)
        for part in view.parts(rows):
            result[part.places] = self._of(view, part.segment).scores[part.rows]
        return result

    def best(self, view: CatalogView, k: int, allowed: Mask | None) -> Candidates:
        """The k most popular rows that the mask of shape (rows,) allows, None for all."""
        rows, scores = [], []
        for number in range(len(view.segments)):
            ranked = self._of(view, number)
            own = None if allowed is None else view.slice(allowed, number)
            best = _first(ranked.order, k, own)
            rows.append(best + view.start(number))
            scores.append(ranked.scores[best])
        every, values = np.concatenate(rows), np.concatenate(scores)
        order = np.lexsort((every, -values))[:k]
        return Candidates(every[order], values[order])

    def _of(self, view: CatalogView, number: int) -> _Ranked:
        segment = view.segments[number]
        key = id(segment.popularity)  # which the entry holds, so that no other array gets its id
        with self._lock:
            known = self._ranked.get(key)
            if known is not None:
                self._ranked.move_to_end(key)
                return known
        made = self._rank(view, number, segment)
        with self._lock:
            self._ranked[key] = made
            while len(self._ranked) > _KEPT:
                self._ranked.popitem(last=False)
        return made

    def _rank(self, view: CatalogView, number: int, segment: Segment) -> _Ranked:
        scores = np.nan_to_num(segment.popularity, nan=0.0).astype(np.float32)
        if self._shares is not None:
            places = self._rows.all_places(view, number)
            known = np.where(places >= 0, self._shares[np.maximum(places, 0)], 0)
            scores = np.where(known > 0, known, scores).astype(np.float32)
        scores.setflags(write=False)
        return _Ranked(segment.popularity, scores, np.argsort(-scores, kind="stable"))


def _first(order: Rows, k: int, allowed: Mask | None) -> Rows:
    """The first k rows of an order that the mask allows."""
    if allowed is None:
        return order[:k]
    reach = _FIRST * k
    while True:
        first = order[:reach]
        passing = first[allowed[first]]
        if len(passing) >= k or reach >= len(order):
            return passing[:k]
        reach *= 8
