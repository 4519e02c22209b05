"""The checks that a release must pass before it is published."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from catalog.columns import NUMERIC, Columns, Kind
from catalog.product import product_text
from catalog.table import ProductTable
from core.errors import ReleaseError
from encoder.bi_encoder import BiEncoder
from encoder.embed import embed_all
from engine.onnx.session import OnnxModel
from engine.vector.index import VectorIndex

_NORM_TOLERANCE = 0.02
_CHUNK = 8192
_SELF_QUERIES = 100
_SELF_TOP = 10
# A sound model retrieves nearly every product by its own text; far fewer mean that vectors and rows do not match.
_MIN_SELF_RETRIEVAL = 0.5
_SAMPLED = ("id", "title", "brand", "item_group_id")


class GoldenQuery(BaseModel):
    """A query, and the product that must be among its first `within` retrieved products."""

    model_config = ConfigDict(extra="forbid")

    query: str = Field(min_length=1)
    product_id: str = Field(min_length=1)
    within: int = Field(default=10, ge=1, le=1000)


def validate(
    columns: ProductTable,
    vectors: NDArray[np.float16],
    index_file: Path,
    index_settings: dict[str, Any],
    encoder: BiEncoder,
    golden: list[GoldenQuery],
) -> dict[str, Any]:
    """Checks counts, norms, self-retrieval and golden queries; returns the results, for the manifest.

    Raises ReleaseError with the first check that fails.
    """
    index = VectorIndex.open(index_file, index_settings)
    if not len(columns) == len(vectors) == index.count:
        raise ReleaseError(
            f"{len(columns)} products, {len(vectors)} vectors and {index.count} index entries do not agree; "
            "index the catalog again"
        )
    return {
        "products": len(columns),
        "largest_norm_error": _check_norms(vectors),
        "self_retrieval_at_10": _check_self_retrieval(columns, index, encoder),
        "golden_queries": _check_golden(golden, columns, index, encoder),
    }


def validate_columns(columns: Columns, table: ProductTable) -> None:
    """Checks that every code names a value, and that sampled products have the values of their table.

    Raises ReleaseError with the first check that fails.
    """
    if columns.rows != len(table):
        raise ReleaseError(f"{columns.rows} typed products and {len(table)} do not agree; index the catalog again")
    for name in columns.names:
        column = columns.column(name)
        ends = column.offsets
        if column.kind is Kind.strings and (ends[0] or ends[-1] != len(column.codes) or (ends[1:] < ends[:-1]).any()):
            raise ReleaseError(f"the values of {name!r} do not fit its products; index the catalog again")
        if column.kind in NUMERIC or not len(column.codes):
            continue
        least = 0 if column.kind is Kind.strings else -1
        if column.codes.min() < least or column.codes.max() >= len(column.values):
            raise ReleaseError(f"a code of {name!r} names no value; index the catalog again")
    sample = np.random.default_rng(0).choice(len(table), min(_SELF_QUERIES, len(table)), replace=False)
    for row in sample.tolist():
        product = table.row(row, _SAMPLED)
        for name in _SAMPLED:
            column = columns.column(name)
            if column.kind is not Kind.string:
                continue
            code = column.codes[row]
            if (column.values[code] if code >= 0 else None) != (product[name] or None):
                raise ReleaseError(f"product {product['id']!r} has another {name} in the typed columns; index again")


def _check_norms(vectors: NDArray[np.float16]) -> float:
    worst = 0.0
    for start in range(0, len(vectors), _CHUNK):
        norms = np.linalg.norm(vectors[start : start + _CHUNK].astype(np.float32), axis=1)
        if not np.isfinite(norms).all():
            raise ReleaseError("some product vectors are not numbers; check the encoder")
        worst = max(worst, float(np.abs(norms - 1).max()))
    if worst > _NORM_TOLERANCE:
        raise ReleaseError(f"product vectors are not of unit length (off by {worst:.3f}); check the encoder")
    return worst


def _check_self_retrieval(columns: ProductTable, index: VectorIndex, encoder: BiEncoder) -> float:
    """The share of sampled products that their own text retrieves; another product of the same text counts as well."""
    rows = np.random.default_rng(0).choice(len(columns), min(_SELF_QUERIES, len(columns)), replace=False)
    texts = [product_text(columns.row(int(row))) for row in rows]
    model = OnnxModel(encoder.model_path("item"))
    retrieved_rows, _ = index.search(embed_all(model, encoder.tokenize_items(texts)), _SELF_TOP)
    hits = [
        any(product_text(columns.row(int(other))) == text for other in line if other >= 0)
        for text, line in zip(texts, retrieved_rows, strict=True)
    ]
    share = float(np.mean(hits))
    if share < _MIN_SELF_RETRIEVAL:
        raise ReleaseError(f"only {share:.0%} of products are found by their own text; check the encoder")
    return share


def _check_golden(
    golden: list[GoldenQuery], columns: ProductTable, index: VectorIndex, encoder: BiEncoder
) -> dict[str, int]:
    model = OnnxModel(encoder.model_path("query"))
    missed = []
    for entry in golden:
        rows, _ = index.search(model.run(encoder.tokenize_queries([entry.query])), entry.within)
        if entry.product_id not in {columns.id(int(row)) for row in rows[0] if row >= 0}:
            missed.append(entry)
    if missed:
        first = missed[0]
        raise ReleaseError(
            f"{len(missed)} of {len(golden)} golden queries miss their product, such as {first.query!r}: "
            f"{first.product_id} is not among the first {first.within}"
        )
    return {"asked": len(golden), "missed": 0}
