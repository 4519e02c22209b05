"""Products whose price, stock, popularity or links changed: the same rows, of which only changed columns are copied."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from catalog.columns import BOOLEANS, NUMERIC, Column, Columns, Kind
from catalog.product import CATALOG_SCHEMA
from catalog.table import ProductTable

PATCHABLE = ("price_micros", "currency", "availability", "popularity", "link", "image_link")
"""Columns of the product table that neither models nor words read."""
_SHARD = 1024  # rows


class Patches:
    """Changed fields by row. It never changes: further changes make another one, and copy little."""

    def __init__(self, shards: Mapping[int, Mapping[int, Mapping[str, Any]]] | None = None) -> None:
        self._shards = dict(shards or {})

    def __len__(self) -> int:
        return sum(map(len, self._shards.values()))

    def get(self, row: int) -> Mapping[str, Any] | None:
        """The changed fields of a row; None where there are none."""
        shard = self._shards.get(row // _SHARD)
        return None if shard is None else shard.get(row)

    def updated(self, rows: Sequence[int], changes: Sequence[Mapping[str, Any]]) -> "Patches":
        """With further changes; later ones win."""
        touched: dict[int, dict[int, Mapping[str, Any]]] = {}
        for row, change in zip(rows, changes, strict=True):
            shard = touched.setdefault(row // _SHARD, dict(self._shards.get(row // _SHARD, {})))
            shard[row] = {**shard.get(row, {}), **change}
        return Patches({**self._shards, **touched})

    def of_field(self, name: str) -> tuple[list[int], list[Any]]:
        """The rows in which a field changed, ascending, and its values."""
        pairs = [
            (row, fields[name]) for shard in self._shards.values() for row, fields in shard.items() if name in fields
        ]
        pairs.sort(key=lambda pair: pair[0])
        return [row for row, _ in pairs], [value for _, value in pairs]


class PatchedTable(ProductTable):
    """A product table, some fields of which changed."""

    def __init__(self, table: ProductTable, patches: Patches) -> None:
        self._table = table
        self._patches = patches
        super()._set(table._batches)

    def patched(self, rows: Sequence[int], changes: Sequence[Mapping[str, Any]]) -> "PatchedTable":
        """With further changes."""
        return PatchedTable(self._table, self._patches.updated(rows, changes))

    def row(self, row: int, fields: Sequence[str] = CATALOG_SCHEMA.names) -> dict[str, Any]:
        """See `ProductTable.row`."""
        values = self._table.row(row, fields)
        if patch := self._patches.get(row):
            values |= {name: patch[name] for name in fields if name in patch}
        return values

    def attributes(self, row: int, most: int) -> list[tuple[str, str]]:
        """See `ProductTable.attributes`."""
        return self._table.attributes(row, most)

    def id(self, row: int) -> str:
        """See `ProductTable.id`."""
        return self._table.id(row)

    def find(self, product_id: str) -> int | None:
        """See `ProductTable.find`."""
        return self._table.find(product_id)

    def numbers(self, name: str) -> NDArray[np.float64]:
        """See `ProductTable.numbers`."""
        rows, values = self._patches.of_field(name)
        numbers = self._table.numbers(name)
        numbers[rows] = [np.nan if value is None else value for value in values]
        return numbers

    def batches(self) -> Iterator[pa.RecordBatch]:
        """See `ProductTable.batches`. Takes time that grows with the rows, for each field that changed."""
        changed = {name: self._patches.of_field(name) for name in PATCHABLE}
        start = 0
        for batch in self._table.batches():
            yield _patched_batch(batch, start, changed)
            start += batch.num_rows


def patch_table(table: ProductTable, rows: Sequence[int], changes: Sequence[Mapping[str, Any]]) -> PatchedTable:
    """The table with changed fields, those of `PATCHABLE`, of r different rows."""
    own = table if isinstance(table, PatchedTable) else PatchedTable(table, Patches())
    return own.patched(rows, changes)


def patch_columns(
    columns: Columns,
    rows: NDArray[np.int64],
    values: Mapping[str, Sequence[Any]],
    empty: Callable[[str], Column],
) -> Columns:
    """The columns with other values of r rows, by field; see `patch_column`. `empty` makes the column of a field that
    no product of the segment has yet."""
    changed = {}
    for name, own in values.items():
        column = columns.get(name)
        if column is None:
            column = empty(name)
        changed[name] = patch_column(column, rows, own)
    return columns.replaced(changed, rows)


def patch_column(column: Column, rows: NDArray[np.int64], values: Sequence[Any]) -> Column:
    """The column with other values of r rows, None for none: numbers in its own unit, truth values, texts; of long text
    whether there is one. Columns of sets are not patched."""
    if column.kind in NUMERIC:
        numbers = column.numbers.copy()
        numbers[rows] = [np.nan if value is None else value for value in values]
        return replace(column, numbers=_frozen(numbers))
    if column.kind is Kind.text:
        present = column.present.copy()
        present[rows] = [value is not None for value in values]
        return replace(column, present=_frozen(present))
    if column.kind is Kind.strings:
        raise ValueError("a column of sets is not patched")
    texts = [BOOLEANS[value] if isinstance(value, bool) else value for value in values]
    column = _with_values(column, {text for text in texts if text is not None})
    codes = column.codes.copy()
    codes[rows] = [-1 if text is None else column.code(text) for text in texts]
    return replace(column, codes=_frozen(codes))


def _with_values(column: Column, texts: set[str]) -> Column:
    """The column with further values, none of which a product has yet."""
    new = {text for text in texts if column.code(text) < 0}
    if not new:
        return column
    values = sorted({*column.values, *new})
    places = {text: place for place, text in enumerate(values)}
    moved = np.array([*(places[text] for text in column.values), -1], np.int32)  # -1, for none, reads the last
    return replace(column, codes=moved[column.codes], values=values)


def _patched_batch(
    batch: pa.RecordBatch, start: int, changed: Mapping[str, tuple[list[int], list[Any]]]
) -> pa.RecordBatch:
    columns = list(batch.columns)
    for name, (rows, values) in changed.items():
        low, high = np.searchsorted(rows, (start, start + batch.num_rows)).tolist()
        if low == high:
            continue
        place = CATALOG_SCHEMA.names.index(name)
        both = pa.concat_arrays([columns[place], pa.array(values[low:high], columns[place].type)])
        order = np.arange(batch.num_rows)
        order[np.array(rows[low:high]) - start] = batch.num_rows + np.arange(high - low)
        columns[place] = both.take(pa.array(order))
    return pa.RecordBatch.from_arrays(columns, schema=CATALOG_SCHEMA)


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.setflags(write=False)
    return array
