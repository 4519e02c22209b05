"""What typed columns give the order of a list: keys to sort by, groups, values that caps count, products by id."""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from catalog.columns import NUMERIC, Column, Kind
from catalog.product import MICROS
from catalog.segment import Mask, Rows
from catalog.view import CatalogView
from core.filters import Filter
from retrieval.listing.spec import Cap, SortKey


def sort_key(view: CatalogView, key: SortKey, rows: Rows) -> NDArray[np.float64]:
    """Numbers, shape (m,), that are lower for products that come first; missing values come last."""
    column = view.column(key.field)
    if column.kind in NUMERIC:
        numbers = column.numbers[rows]
        missing = np.isnan(numbers)
    else:
        codes = column.present[rows].astype(np.int32) - 1 if column.kind is Kind.text else column.codes[rows]
        numbers, missing = codes.astype(np.float64), codes < 0
    return np.where(missing, np.inf, -numbers if key.descending else numbers)


def group_numbers(view: CatalogView, field: str) -> NDArray[np.int64]:
    """The group of each row, shape (rows,): its value's, or one of its own where it has none."""
    codes = first_codes(view.column(field)).astype(np.int64)
    return np.where(codes >= 0, codes, _values(view.column(field)) + np.arange(view.rows))


def group_value(view: CatalogView, field: str, row: int) -> str:
    """The value that a row's group shares; empty for a product without one."""
    column = view.column(field)
    code = int(first_codes(column, np.array([row]))[0])
    if code < 0:
        return ""
    if column.kind not in NUMERIC:
        return str(column.values[code])
    return f"{column.numbers[row] / (MICROS if column.kind is Kind.money else 1):.15g}"


def cap_values(view: CatalogView, cap: Cap, rows: Rows) -> tuple[NDArray[np.int64], int]:
    """The value of each of m rows that the cap counts, -1 for none, and how many may share one."""
    return first_codes(view.column(cap.field), rows).astype(np.int64), cap.most


def first_codes(column: Column, rows: Rows | None = None) -> NDArray[np.int64]:
    """A number for the value of each row, all of them without rows; of a set, that of the last of its values, which of
    a product type is the whole path; -1 where there is none."""
    if column.kind in NUMERIC:
        numbers = column.numbers
        order = np.unique(numbers[~np.isnan(numbers)])
        own = numbers if rows is None else numbers[rows]
        return np.where(np.isnan(own), -1, np.searchsorted(order, own)).astype(np.int64)
    if column.kind is Kind.text:
        present = column.present if rows is None else column.present[rows]
        return present.astype(np.int64) - 1
    if column.kind is Kind.strings:
        starts, ends = column.offsets[:-1], column.offsets[1:]
        if rows is not None:
            starts, ends = starts[rows], ends[rows]
        there = ends > starts
        last = column.codes[np.where(there, ends - 1, 0)] if len(column.codes) else np.zeros(len(starts), np.int64)
        return np.where(there, last, -1).astype(np.int64)
    return (column.codes if rows is None else column.codes[rows]).astype(np.int64)


def products_by_id(view: CatalogView, ids: Collection[str]) -> dict[str, int]:
    """The rows of products that are not deleted, by their ids; unknown ids are left out."""
    return {id: row for id in ids if (row := view.find(id)) is not None}


def products_of(view: CatalogView, ids: Collection[str], filter: Filter | None) -> Mask:
    """Which rows have one of these ids, or pass the filter where there is one; shape (rows,)."""
    mask = np.zeros(view.rows, bool)
    mask[list(products_by_id(view, ids).values())] = True
    if filter is not None and view.field_kinds is not None:
        passing = view.mask(filter)
        mask |= True if passing is None else passing
    return mask


def _values(column: Column) -> int:
    return len(column) if column.kind in NUMERIC else max(len(column.values), 2)
