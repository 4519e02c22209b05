"""Reads the catalog's columns from its Arrow file, memory-mapped."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from catalog.arrow_file import first_line, open_batches
from catalog.product import ADDED_COLUMNS, CATALOG_SCHEMA
from core.errors import ReleaseError
from core.formats import PRODUCT_TABLE

Read = Callable[..., Any]
"""Returns a column's value at a place of its batch; of a map the first pairs, given how many."""


class ProductTable:
    """Random access to the products of a snapshot by row, without reading the file whole."""

    def __init__(self, path: Path) -> None:
        """Columns that the format before did not have are read as missing for every product.

        Raises ReleaseError when the file is not a catalog's columns, or has columns of another format.
        """
        try:
            schema, batches = open_batches(path)
            if not schema.equals(CATALOG_SCHEMA):
                _check_columns(schema, path)
                batches = [_with_all_columns(batch) for batch in batches]
        except (OSError, ValueError) as error:
            raise ReleaseError(f"{path} is not a catalog's columns: {first_line(error)}") from None
        self._set(batches)

    @classmethod
    def made_of(cls, batches: Sequence[pa.RecordBatch]) -> "ProductTable":
        """A table in memory, of record batches of `CATALOG_SCHEMA`."""
        table = cls.__new__(cls)
        table._set(list(batches))
        return table

    def _set(self, batches: list[pa.RecordBatch]) -> None:
        self._batches = batches
        self._starts = [0, *accumulate(batch.num_rows for batch in self._batches)]
        self._columns: list[dict[str, Read] | None] = [None] * (len(self._batches) + 1)  # made at first use
        self._order: NDArray[np.uint32] | None = None

    def __len__(self) -> int:
        return self._starts[-1]

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The record batches in row order."""
        return iter(self._batches)

    def row(self, row: int, fields: Sequence[str] = CATALOG_SCHEMA.names) -> dict[str, Any]:
        """The named fields of one product as Python values; `attributes` as a list of pairs, or None."""
        columns, offset = self._locate(row)
        return {name: columns[name](offset) for name in fields}

    def attributes(self, row: int, most: int) -> list[tuple[str, str]]:
        """The first `most` attributes of one product; the rest is not read."""
        columns, offset = self._locate(row)
        return columns["attributes"](offset, most) or []

    def id(self, row: int) -> str:
        """The product's id."""
        columns, offset = self._locate(row)
        return columns["id"](offset)

    def ids(self) -> list[str]:
        """Every product's id in row order."""
        return [value for batch in self._batches for value in batch.column("id").to_pylist()]

    def find(self, product_id: str) -> int | None:
        """The row of a product by its id, None where there is none. The first call sorts the ids, a million in half a
        second, and keeps 4 bytes for each."""
        order = self._order
        if order is None:
            order = self._order = self._sorted_ids()
        low, high = 0, len(order)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self.id(int(order[middle])) < product_id else (low, middle)
        if low == len(order) or self.id(row := int(order[low])) != product_id:
            return None
        return row

    def _sorted_ids(self) -> NDArray[np.uint32]:
        import pyarrow.compute as pc  # takes some 50 ms, and most processes look up no ids

        ids = pa.chunked_array([batch.column("id") for batch in self._batches], pa.string())
        return pc.sort_indices(ids).to_numpy().astype(np.uint32)

    def numbers(self, name: str) -> NDArray[np.float64]:
        """A column of numbers in row order, NaN where a product has none."""
        parts = [batch.column(name).to_numpy(zero_copy_only=False) for batch in self._batches]
        return np.concatenate([np.empty(0), *parts])

    def _locate(self, row: int) -> tuple[dict[str, Read], int]:
        """What reads the columns of the batch that holds the row, by name, and the row's place in it."""
        place = bisect_right(self._starts, row) - 1
        if (columns := self._columns[place]) is None:
            batch = self._batches[place]
            columns = self._columns[place] = dict(zip(batch.schema.names, map(_reader, batch.columns), strict=True))
        return columns, row - self._starts[place]


def _check_columns(schema: pa.Schema, path: Path) -> None:
    """Raises ReleaseError where a column is missing that the format before has, or one is there that this one lacks."""
    known = {field.name: field.type for field in CATALOG_SCHEMA}
    if newer := [field.name for field in schema if known.get(field.name) != field.type]:
        raise ReleaseError(
            f"{path}: this version does not know the columns {', '.join(newer)}: upgrade Tandem, or run `tandem index` "
            "with this version"
        )
    optional = {name for name, number in ADDED_COLUMNS.items() if number == PRODUCT_TABLE.number}
    if missing := [name for name in known if schema.get_field_index(name) < 0 and name not in optional]:
        raise ReleaseError(f"{path} lacks the columns {', '.join(missing)}: run `tandem index` again")


def _with_all_columns(batch: pa.RecordBatch) -> pa.RecordBatch:
    present = set(batch.schema.names)
    columns = [
        batch.column(field.name) if field.name in present else pa.nulls(batch.num_rows, field.type)
        for field in CATALOG_SCHEMA
    ]
    return pa.RecordBatch.from_arrays(columns, schema=CATALOG_SCHEMA)


def _reader(column: pa.Array) -> Read:
    """Strings and maps are read from Arrow's own buffers, since its scalars cost at least twice as much; what a feed
    lacks, nothing."""
    if column.null_count == len(column):
        return lambda *_: None
    if pa.types.is_map(column.type):
        read = _map_reader(column)
    elif column.type == pa.string():
        read = _text_reader(column)
    else:
        return lambda place: column[place].as_py()
    if not column.null_count:
        return read
    valid, first = memoryview(column.buffers()[0]), column.offset
    return lambda place, *most: read(place, *most) if valid[(first + place) >> 3] >> ((first + place) & 7) & 1 else None


def _text_reader(column: pa.Array) -> Read:
    _, offsets, data = column.buffers()
    ends = memoryview(offsets).cast("i")[column.offset :]
    text = memoryview(data or b"")  # no buffer where all strings are empty
    return lambda place: str(text[ends[place] : ends[place + 1]], "utf-8")


def _map_reader(column: pa.Array) -> Read:
    ends = memoryview(column.buffers()[1]).cast("i")[column.offset :]
    key, value = _reader(column.keys), _reader(column.items)

    def read(place: int, most: int | None = None) -> list[tuple[str, str]]:
        start, end = ends[place], ends[place + 1]
        return [(key(i), value(i)) for i in range(start, end if most is None else min(end, start + most))]

    return read
