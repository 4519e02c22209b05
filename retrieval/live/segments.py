"""The fresh segments of one release: which rows they hold, which of all rows are deleted, and how they are merged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from catalog.segment import Mask, Rows, Segment
from catalog.view import CatalogView
from engine.protocol import Tokens, Vectors

_DELETED = (-1, -1)
_BASE = 0
# Segments beside the base that a search may meet before the latest ones are merged; each costs it some microseconds.
_MOST_SEGMENTS = 6
# A segment is merged with the later ones once these have this share of its rows: a row is copied some few times.
_SHARE = 0.5

Place = tuple[int, int]
"""A segment's number, which it keeps, and a row in it."""


class BuildSegments(Protocol):
    """What makes segments; see `retrieval.live.fresh.FreshSegments`."""

    def build(
        self, rows: Sequence[Mapping[str, Any]], vectors: Vectors, tokens: Sequence[Tokens] | None
    ) -> Segment: ...

    def merge(self, segments: Sequence[Segment], kept: Sequence[Mask]) -> Segment: ...

    def patch(self, segment: Segment, rows: Rows, changes: Sequence[Mapping[str, Any]]) -> Segment: ...


@dataclass(slots=True)
class _Held:
    """A segment, the ids of its rows (none for the base), and which of them are deleted."""

    number: int
    segment: Segment
    ids: tuple[str, ...]
    deleted: NDArray[np.bool_]


@dataclass(slots=True)
class Merge:
    """Segments that are being merged, as they were when it began, and what was patched in them since."""

    numbers: tuple[int, ...]
    segments: tuple[Segment, ...]
    kept: tuple[Mask, ...]
    patches: list[tuple[int, Rows, Sequence[Mapping[str, Any]]]] = field(default_factory=list)


class SegmentStack:
    """The base and the fresh segments, oldest first. Changed by one thread; views of it are for any."""

    def __init__(self, base: Segment, make: BuildSegments) -> None:
        self._make = make
        self._numbers = count(_BASE)
        number = next(self._numbers)
        self._held = [_Held(number, base, (), np.zeros(len(base), np.bool_))]
        self._places: dict[str, Place] = {}
        self._merge: Merge | None = None
        self.fresh = 0
        """Products in fresh segments that are not deleted."""

    def place(self, product_id: str) -> Place | None:
        """Where a product is that was changed since the base: None where it was not, or is where the base has it."""
        return self._places.get(product_id)

    def is_deleted(self, place: Place) -> bool:
        """Whether the product is there no more."""
        return place == _DELETED or bool(self._by_number(place[0]).deleted[place[1]])

    def base_place(self, row: int) -> Place:
        """The place of a row of the base."""
        return (_BASE, row)

    def row(self, place: Place) -> dict[str, Any]:
        """The product there, as `ProductTable.row` returns it."""
        return self._by_number(place[0]).segment.table.row(place[1])

    def vector(self, place: Place) -> Vectors | None:
        """The vector of a fresh product, shape (d,); None of the base's, which the engine has."""
        vectors = self._by_number(place[0]).segment.vectors
        return None if vectors is None else vectors.vectors(np.array([place[1]]))[0]

    def delete(self, product_id: str, place: Place) -> None:
        """Takes out the product, which is at this place."""
        self._by_number(place[0]).deleted[place[1]] = True
        self.fresh -= place[0] != _BASE
        self._places[product_id] = _DELETED

    def add(self, rows: Sequence[Mapping[str, Any]], vectors: Vectors, tokens: Sequence[Tokens] | None) -> None:
        """Appends a segment of products, none of which is there."""
        segment = self._make.build(rows, vectors, tokens)
        number = next(self._numbers)
        ids = tuple(str(row["id"]) for row in rows)
        self._held.append(_Held(number, segment, ids, np.zeros(len(ids), np.bool_)))
        self._places |= {name: (number, row) for row, name in enumerate(ids)}
        self.fresh += len(ids)

    def patch(self, changes: Mapping[Place, Mapping[str, Any]]) -> None:
        """Changes columns of products where they are."""
        by_segment: dict[int, list[tuple[int, Mapping[str, Any]]]] = {}
        for (number, row), changed in changes.items():
            by_segment.setdefault(number, []).append((row, changed))
        for number, several in by_segment.items():
            held = self._by_number(number)
            rows = np.array([row for row, _ in several])
            values = [changed for _, changed in several]
            held.segment = self._make.patch(held.segment, rows, values)
            if self._merge is not None and number in self._merge.numbers:
                self._merge.patches.append((number, rows, values))

    def view(self, revision: int) -> CatalogView:
        """What there is now."""
        base, *fresh = (held.segment for held in self._held)
        return CatalogView(base, fresh, np.concatenate([held.deleted for held in self._held]), revision)

    def start_merge(self) -> Merge | None:
        """The latest segments where they are to be merged; `finish_merge` ends it. None where one is running."""
        if self._merge is not None or len(self._held) - 1 <= _MOST_SEGMENTS:
            return None
        first = len(self._held) - 1
        later = 0
        while first > 1:
            later += len(self._held[first].segment)
            if later < _SHARE * len(self._held[first - 1].segment):
                break
            first -= 1
        held = self._held[first:] if len(self._held) - first > 1 else self._held[1:]
        kept = tuple(~one.deleted for one in held)
        self._merge = Merge(tuple(one.number for one in held), tuple(one.segment for one in held), kept)
        return self._merge

    def run_merge(self, merge: Merge) -> Segment:
        """The merged segment. For any thread: it reads nothing that changes."""
        return self._make.merge(merge.segments, merge.kept)

    def finish_merge(self, merge: Merge, merged: Segment) -> None:
        """Puts a merged segment into the place of what it was made of, with what has changed since it began."""
        self._merge = None
        first = next(i for i, held in enumerate(self._held) if held.number == merge.numbers[0])
        sources = self._held[first : first + len(merge.numbers)]
        number = next(self._numbers)
        ids: list[str] = []
        deleted: list[bool] = []
        moved: dict[int, NDArray[np.int64]] = {}
        for held, kept in zip(sources, merge.kept, strict=True):
            moved[held.number] = np.where(kept, len(ids) + np.cumsum(kept) - 1, -1)
            for row in np.flatnonzero(kept).tolist():
                name = held.ids[row]
                if not held.deleted[row]:
                    self._places[name] = (number, len(ids))
                ids.append(name)
                deleted.append(bool(held.deleted[row]))
        for source, rows, changes in merge.patches:
            places = moved[source][rows]
            there = np.flatnonzero(places >= 0)
            if len(there):
                merged = self._make.patch(merged, places[there], [changes[i] for i in there.tolist()])
        self._held[first : first + len(sources)] = [_Held(number, merged, tuple(ids), np.array(deleted, np.bool_))]

    def _by_number(self, number: int) -> _Held:
        if number == _BASE:
            return self._held[0]
        return next(held for held in reversed(self._held) if held.number == number)
