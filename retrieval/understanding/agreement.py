"""How far candidates agree with what a query states: evidence for the final score."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catalog.columns import UnknownField
from catalog.view import CatalogView
from retrieval.understanding.attributes import has_value
from retrieval.understanding.result import PredictedType, StatedAttribute, Understanding

AGREEMENT_FEATURES = frozenset({"attribute_agreement", "product_type_agreement"})


@dataclass(frozen=True, slots=True)
class Agreement:
    """For c candidates: the share of the stated attributes that each has, weighted by their confidence, and the
    probability of its product type; both of shape (c,), NaN where the query states none."""

    attributes: NDArray[np.float32]
    product_type: NDArray[np.float32]


def compute_agreement(stated: Understanding, rows: NDArray[np.int64], view: CatalogView) -> Agreement:
    """Reads two columns or so of each product; attributes without a column count as not stated."""
    return Agreement(_attributes(stated.attributes, rows, view), _types(stated.product_types, rows, view))


def has_attribute(one: StatedAttribute, rows: NDArray[np.int64], view: CatalogView) -> NDArray[np.bool_]:
    """Which of r products have the value, shape (r,). Raises UnknownField."""
    result = np.zeros(len(rows), bool)
    for places, column, own in view.column_parts(one.field, rows):
        result[places] = has_value(column, -1 if one.number is not None else column.code(one.value), one.number, own)
    return result


def _attributes(stated: Sequence[StatedAttribute], rows: NDArray[np.int64], view: CatalogView) -> NDArray[np.float32]:
    total, agreed = 0.0, np.zeros(len(rows), np.float32)
    for one in stated:
        try:
            has = has_attribute(one, rows, view)
        except UnknownField:
            continue
        total += one.confidence
        agreed += np.float32(one.confidence) * has
    return agreed / np.float32(total) if total else np.full(len(rows), np.nan, np.float32)


def _types(predicted: Sequence[PredictedType], rows: NDArray[np.int64], view: CatalogView) -> NDArray[np.float32]:
    if not predicted:
        return np.full(len(rows), np.nan, np.float32)
    shares = {kind.product_type: kind.confidence for kind in predicted}
    kinds = (view.row(row, ("product_type",))["product_type"] for row in rows.tolist())
    return np.array([shares.get(kind, 0.0) for kind in kinds], np.float32)
