"""One immutable revision of a catalog: the base segment, fresh segments, and which products are deleted.

A request takes one view and reads everything through it. Rows are numbered through the view, the base segment's first.
Where there is the base segment alone and nothing is deleted, each call goes straight through to it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog.columns import Column, Columns, Kind, UnknownField, unknown_field
from catalog.growing import merged_columns
from catalog.masks import MaskCache, check_filter, segment_mask
from catalog.product import CATALOG_SCHEMA
from catalog.segment import Mask, Rows, Scores, Segment
from core.filters import Filter

_SERIALS = count(1)


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one segment among given rows: the segment's number, the places of its rows among the given ones, and
    the rows as the segment numbers them; both of shape (p,)."""

    segment: int
    places: NDArray[np.intp]
    rows: Rows


class CatalogView:
    """See the module. For any number of threads."""

    def __init__(
        self,
        base: Segment,
        fresh: Sequence[Segment] = (),
        deleted: Mask | None = None,
        revision: int = 0,
    ) -> None:
        """`deleted`, of shape (rows,), marks products that were deleted or replaced; None where there are none.

        `revision` is that of the last change in it; 0 is the release as published. Views of one revision have the same
        products, not always in the same rows.
        """
        self.segments = (base, *fresh)
        self.revision = revision
        self.serial = next(_SERIALS)
        """Its number among all views of the process, from 1: what is cached of a view is found by it."""
        self._only_table = base.table if len(self.segments) == 1 else None
        self._starts = np.cumsum([0, *map(len, self.segments)])
        self._alive = None if deleted is None or not deleted.any() else ~deleted
        if self._alive is not None:
            self._alive.setflags(write=False)
        if deleted is not None and deleted.shape != (self.rows,):
            raise ValueError(f"the deleted rows have shape {deleted.shape}, and the view has {self.rows} rows")
        self._alive_parts = [self._part(number) for number in range(len(self.segments))]
        self._masks = MaskCache()
        self._merged: dict[str, Column] = {}
        self._merging = Lock()
        self._products = self.rows if self._alive is None else int(np.count_nonzero(self._alive))

    def __len__(self) -> int:
        """Products that are not deleted."""
        return self._products

    @property
    def rows(self) -> int:
        """Rows of all segments, those of deleted products among them."""
        return int(self._starts[-1])

    @property
    def is_base_alone(self) -> bool:
        """Whether there are no fresh segments and nothing is deleted."""
        return len(self.segments) == 1 and self._alive is None

    @property
    def base(self) -> Segment:
        """The release's own segment."""
        return self.segments[0]

    def start(self, segment: int) -> int:
        """The first row of a segment, as the view numbers rows."""
        return int(self._starts[segment])

    def alive(self, segment: int) -> Mask | None:
        """Which rows of a segment are not deleted; None where none is."""
        return self._alive_parts[segment]

    def slice(self, mask: Mask, segment: int) -> Mask:
        """The part of a mask of shape (rows,) that is of a segment's rows."""
        return mask[self._starts[segment] : self._starts[segment + 1]]

    def parts(self, rows: Rows) -> Iterator[Part]:
        """The rows of each segment that holds some of them."""
        owners = np.searchsorted(self._starts, rows, side="right") - 1
        for segment in np.unique(owners).tolist():
            places = np.flatnonzero(owners == segment)
            yield Part(segment, places, rows[places] - self._starts[segment])

    def find(self, product_id: str) -> int | None:
        """The row of a product that is not deleted; None where there is none of this id. Of several, the latest."""
        for number in range(len(self.segments) - 1, -1, -1):
            own = self.segments[number].table.find(product_id)
            if own is not None and ((alive := self.alive(number)) is None or alive[own]):
                return self.start(number) + own
        return None

    def row(self, row: int, fields: Sequence[str] = CATALOG_SCHEMA.names) -> dict[str, Any]:
        """See `ProductTable.row`."""
        if self._only_table is not None:
            return self._only_table.row(row, fields)
        segment, own = self._locate(row)
        return segment.table.row(own, fields)

    def attributes(self, row: int, most: int) -> list[tuple[str, str]]:
        """See `ProductTable.attributes`."""
        if self._only_table is not None:
            return self._only_table.attributes(row, most)
        segment, own = self._locate(row)
        return segment.table.attributes(own, most)

    def id(self, row: int) -> str:
        """The product's id."""
        if self._only_table is not None:
            return self._only_table.id(row)
        segment, own = self._locate(row)
        return segment.table.id(own)

    def ids(self) -> list[str]:
        """The ids of the products that are not deleted, in the order of their rows."""
        ids = [name for segment in self.segments for name in segment.table.ids()]
        return ids if self._alive is None else [ids[row] for row in np.flatnonzero(self._alive).tolist()]

    def prices(self, rows: Rows) -> NDArray[np.float64]:
        """The prices, shape (r,), in millionths; NaN where a product has none."""
        return self._gather(rows, [segment.prices for segment in self.segments])

    def popularity(self, rows: Rows) -> NDArray[np.float32]:
        """The popularity, shape (r,), as a share of the base segment's products; NaN where it is unknown."""
        return self._gather(rows, [segment.popularity for segment in self.segments])

    def tokens(self, rows: Rows) -> Sequence[NDArray[np.int32]]:
        """The cross-encoder's token ids, shape (t,), of each of r products; for releases that have a cross-encoder."""
        if len(self.segments) == 1:
            return _tokens(self.base, rows)
        result: list[NDArray[np.int32]] = [np.empty(0, np.int32)] * len(rows)
        for part in self.parts(rows):
            own = _tokens(self.segments[part.segment], part.rows)
            for place, tokens in zip(part.places.tolist(), own, strict=True):
                result[place] = tokens
        return result

    @property
    def field_kinds(self) -> Mapping[str, Kind] | None:
        """The kinds of all fields by their names; None where the release has no typed columns."""
        return None if self.base.columns is None else self.base.columns.kinds

    def kind(self, name: str) -> Kind:
        """The type of a field. Raises UnknownField, with the nearest name."""
        kinds = self.field_kinds
        if kinds is None:
            raise UnknownField("this release has no typed columns; index the catalog again with `tandem index`")
        if name not in kinds:
            raise UnknownField(unknown_field(name, kinds))
        return kinds[name]

    def column(self, name: str) -> Column:
        """A field of all rows, those of deleted products among them. Raises UnknownField.

        Of several segments it is made at first use, and kept; see `MergedColumns`.
        """
        columns = self.base.columns
        if columns is None:
            raise UnknownField("this release has no typed columns; index the catalog again with `tandem index`")
        if len(self.segments) == 1:
            return columns.column(name)
        with self._merging:
            if name not in self._merged:
                fresh = [None if one.columns is None else one.columns.get(name) for one in self.segments[1:]]
                rows = [len(one) for one in self.segments[1:]]
                self._merged[name] = merged_columns(columns).column(name, columns.column(name), fresh, rows)
            return self._merged[name]

    def column_parts(self, name: str, rows: Rows) -> Iterator[tuple[NDArray[np.intp], Column, Rows]]:
        """A field of r rows without a merged column: for each segment that has the field and holds some of them, their
        places among the given ones, the segment's column and the rows as it numbers them. Raises UnknownField."""
        self.kind(name)
        for part in self.parts(rows):
            columns = self.segments[part.segment].columns
            if columns is not None and (column := columns.get(name)) is not None:
                yield part.places, column, part.rows

    def mask(self, filter: Filter | None) -> Mask | None:
        """Which rows pass the filter and are not deleted; shape (rows,), read-only. None where all do.

        Takes time that grows with the rows, unless the mask is kept from before. Raises InvalidFilter for an unknown
        field or a value of another type.
        """
        if filter is None:
            return self._alive
        check_filter(filter, self.field_kinds)
        return self._masks.fetch(filter, self._compute_mask)

    def _compute_mask(self, filter: Filter) -> Mask:
        # Each segment by its own dictionaries: nothing is merged.
        masks = [segment_mask(filter, one.columns or Columns({}, len(one))) for one in self.segments]
        mask = masks[0] if len(masks) == 1 else np.concatenate(masks)
        return mask if self._alive is None else mask & self._alive

    def _part(self, segment: int) -> Mask | None:
        if self._alive is None:
            return None
        mask = self.slice(self._alive, segment)
        return None if mask.all() else mask

    def _locate(self, row: int) -> tuple[Segment, int]:
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self.segments[number], row - int(self._starts[number])

    def _gather(self, rows: Rows, values: Sequence[NDArray[Any]]) -> NDArray[Any]:
        if len(values) == 1:
            return values[0][rows]
        result = np.empty(len(rows), values[0].dtype)
        for part in self.parts(rows):
            result[part.places] = values[part.segment][part.rows]
        return result


def merge_ranked(parts: Sequence[tuple[Rows, Scores]], k: int) -> tuple[Rows, Scores]:
    """The k best of several lists of rows and scores, both of shape (c,) or (n, c), best first along the last axis.

    Equal scores stand in the order of their rows. A row of -1 stands for nothing and comes last.
    """
    rows = np.concatenate([rows for rows, _ in parts], axis=-1)
    scores = np.concatenate([scores for _, scores in parts], axis=-1)
    order = np.lexsort((rows, -np.where(rows < 0, -np.inf, scores)), axis=-1)[..., :k]
    return np.take_along_axis(rows, order, -1), np.take_along_axis(scores, order, -1)


def _tokens(segment: Segment, rows: Rows) -> Sequence[NDArray[np.int32]]:
    assert segment.tokens is not None, "a release without a cross-encoder rescores nothing"
    return segment.tokens.take(rows)
