"""Rows of a view by product id and by the places of behaviour, and the other way round.

Base rows keep their ids in every revision of a release, so they are matched once. Fresh segments are small.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa

from catalog.segment import Rows
from catalog.table import ProductTable
from catalog.view import CatalogView
from retrieval.recommend.behaviour import Behaviour, Places


@dataclass(frozen=True, slots=True)
class _Fresh:
    """The rows of a fresh segment by place, and the places of its rows, shape (rows,)."""

    by_place: dict[int, int]
    places: Places


class ProductRows:
    """For the views of one release, and any number of threads."""

    def __init__(self, table: ProductTable, behaviour: Behaviour | None) -> None:
        """`table` is the base segment's. Matches nothing yet: `prepare` does, or the first use."""
        self._table = table
        self._behaviour = behaviour
        self._fresh: WeakKeyDictionary[ProductTable, _Fresh] = WeakKeyDictionary()

    def prepare(self, view: CatalogView) -> None:
        """Matches all ids of a view: the base's once, in some tenths of a second for a million products."""
        view.find("")
        assert len(self._base_places) == len(self._table)
        self._fresh_segments(view)

    def find(self, view: CatalogView, ids: Sequence[str]) -> Rows:
        """The rows of m products by their ids, shape (m,); -1 where the view does not have one.

        Takes some 10 microseconds for each.
        """
        found = (view.find(name) for name in ids)
        return np.fromiter((-1 if row is None else row for row in found), np.int64, len(ids))

    def of_places(self, view: CatalogView, places: Places) -> Rows:
        """The rows of the products at m places of behaviour, shape (m,); -1 where the view does not have one."""
        if not len(places):
            return np.zeros(0, np.int64)
        rows = np.where(places < 0, -1, self._base_rows[np.maximum(places, 0)])
        alive = view.mask(None)
        if alive is not None:
            rows = np.where((rows >= 0) & alive[np.maximum(rows, 0)], rows, -1)
        if len(view.segments) == 1:
            return rows
        for at in np.flatnonzero((rows < 0) & (places >= 0)).tolist():
            for number, fresh in self._fresh_segments(view):
                own = fresh.by_place.get(int(places[at]), -1)
                row = view.start(number) + own
                if own >= 0 and (alive is None or alive[row]):
                    rows[at] = row
        return rows

    def places(self, view: CatalogView, rows: Rows) -> Places:
        """The places of r rows in behaviour, shape (r,); -1 of products without any."""
        result = np.full(len(rows), -1, np.int64)
        if self._behaviour is None:
            return result
        for part in view.parts(rows):
            own = self._base_places if part.segment == 0 else self._fresh_of(view, part.segment).places
            result[part.places] = own[part.rows]
        return result

    def all_places(self, view: CatalogView, segment: int) -> Places:
        """The places of all rows of a segment."""
        return self._base_places if segment == 0 else self._fresh_of(view, segment).places

    def _fresh_segments(self, view: CatalogView) -> list[tuple[int, _Fresh]]:
        return [(number, self._fresh_of(view, number)) for number in range(1, len(view.segments))]

    def _fresh_of(self, view: CatalogView, number: int) -> _Fresh:
        table = view.segments[number].table
        known = self._fresh.get(table)
        if known is None:
            ids = table.ids()
            places = np.full(len(ids), -1, np.int64) if self._behaviour is None else self._behaviour.places(ids)
            by_place = {place: row for row, place in enumerate(places.tolist()) if place >= 0}
            known = self._fresh[table] = _Fresh(by_place, places)
        return known

    @cached_property
    def _base_places(self) -> Places:
        if self._behaviour is None:
            return np.full(len(self._table), -1, np.int64)
        return self._behaviour.places(pa.chunked_array([batch.column("id") for batch in self._table.batches()]))

    @cached_property
    def _base_rows(self) -> Rows:
        """The base's row of each place, -1 where it has none."""
        rows = np.full(0 if self._behaviour is None else len(self._behaviour), -1, np.int64)
        known = np.flatnonzero(self._base_places >= 0)
        rows[self._base_places[known]] = known
        return rows
