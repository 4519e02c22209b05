"""Numbers for products that outlive a view: of the base its row, of a fresh product a hash of its id.

Rows of fresh segments differ between processes and change when segments are merged, while a page token may come back to
another process a minute later.
"""

import zlib
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from catalog.segment import Rows
from catalog.table import ProductTable
from catalog.view import CatalogView

References = NDArray[np.uint32]

_FRESH = 1 << 31
_HASHES: "WeakKeyDictionary[ProductTable, References]" = WeakKeyDictionary()


def make_references(view: CatalogView, rows: Rows) -> References:
    """The references of r rows of the view, shape (r,)."""
    base = len(view.base)
    if len(view.segments) == 1:
        return rows.astype(np.uint32)
    return np.array([row if row < base else _hashed(view.id(row)) for row in rows.tolist()], np.uint32)


def find_rows(view: CatalogView, references: References) -> Rows:
    """The rows that the references stand for, shape (r,), where the view has them now; -1 for products that are gone.

    A product of the base that was replaced is where it is now. Two fresh products whose ids have the same hash, one in
    two thousand million pairs, cannot be told apart.
    """
    base = len(view.base)
    rows = np.where(references < base, references.astype(np.int64), -1)
    if view.is_base_alone:
        return rows
    alive = view.alive(0)
    replaced = np.zeros(len(rows), bool) if alive is None else (rows >= 0) & ~alive[np.maximum(rows, 0)]
    wanted = references.copy()
    wanted[replaced] = [_hashed(view.base.table.id(int(row))) for row in rows[replaced].tolist()]
    missing = np.flatnonzero(replaced | (references >= _FRESH))
    rows[missing] = -1
    for number in range(1, len(view.segments)):
        hashes, alive = _hashes(view.segments[number].table), view.alive(number)
        own = np.arange(len(hashes)) if alive is None else np.flatnonzero(alive)
        order = own[np.argsort(hashes[own], kind="stable")]
        if len(order):
            places = np.minimum(np.searchsorted(hashes[order], wanted[missing]), len(order) - 1)
            same = hashes[order][places] == wanted[missing]
            rows[missing[same]] = order[places[same]] + view.start(number)
    return rows


def _hashed(product_id: str) -> int:
    return _FRESH | zlib.crc32(product_id.encode())


def _hashes(table: ProductTable) -> References:
    """The hash of each product's id; made once for each table."""
    if table not in _HASHES:
        _HASHES[table] = np.array([_hashed(name) for name in table.ids()], np.uint32)
    return _HASHES[table]
