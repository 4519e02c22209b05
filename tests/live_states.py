"""Live catalogs for tests: segments of plain tables, and towers that hash their texts."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from catalog.changes import Change, ChangeKind, Entry
from catalog.product import CATALOG_SCHEMA
from catalog.segment import Segment, make_segment
from catalog.table import ProductTable
from catalog.versions import ChangeRules
from indexer.product_files import make_batch
from retrieval.live.segments import SegmentStack
from retrieval.live.state import LiveState


def product(product_id: str, title: str = "thing", **values: Any) -> dict[str, Any]:
    """A product by the names of the catalog's columns."""
    return {**dict.fromkeys(CATALOG_SCHEMA.names), "id": product_id, "title": title, **values}


def table_of(rows: Sequence[Mapping[str, Any]]) -> ProductTable:
    """A table of products in memory."""
    batch = make_batch([tuple(row[name] for name in CATALOG_SCHEMA.names) for row in rows]) if rows else None
    return ProductTable.made_of([] if batch is None else [batch])


class PlainSegments:
    """Segments of a table alone, and what was built, merged and patched."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    def build(self, rows: Sequence[Mapping[str, Any]], vectors: np.ndarray, tokens: Any) -> Segment:
        assert len(vectors) == len(rows) and (tokens is None or len(tokens) == len(rows))
        self.calls.append(("build", len(rows)))
        return make_segment(table_of(rows), TokenLists(tokens), Vectors(vectors))  # type: ignore[arg-type]

    def merge(self, segments: Sequence[Segment], kept: Sequence[np.ndarray]) -> Segment:
        places = [np.flatnonzero(mask) for mask in kept]
        rows = [one.table.row(int(row)) for one, own in zip(segments, places, strict=True) for row in own]
        vectors = [one.vectors.vectors(own) for one, own in zip(segments, places, strict=True)]  # type: ignore[union-attr]
        self.calls.append(("merge", len(rows)))
        tokens = TokenLists([[0]] * len(rows))
        return make_segment(table_of(rows), tokens, Vectors(np.concatenate(vectors)))  # type: ignore[arg-type]

    def patch(self, segment: Segment, rows: np.ndarray, changes: Sequence[Mapping[str, Any]]) -> Segment:
        products = [segment.table.row(row) for row in range(len(segment))]
        for row, changed in zip(rows.tolist(), changes, strict=True):
            products[row] = {**products[row], **changed}
        self.calls.append(("patch", len(rows)))
        return make_segment(table_of(products), segment.tokens, segment.vectors)


class Vectors:
    """The vectors of a segment."""

    def __init__(self, vectors: np.ndarray) -> None:
        self._vectors = vectors

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        return self._vectors[rows]


class TokenLists:
    """The tokens of a segment's products."""

    def __init__(self, tokens: Sequence[Any]) -> None:
        self._tokens = [np.array(one, np.int32) for one in tokens]

    def __len__(self) -> int:
        return len(self._tokens)

    def take(self, rows: np.ndarray) -> list[np.ndarray]:
        return [self._tokens[row] for row in rows.tolist()]


class HashingModels:
    """A vector of each text, which differs between texts; `texts` are those that were embedded."""

    digest = "tower"

    def __init__(self) -> None:
        self.texts: list[str] = []

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        self.texts += texts
        return np.array([hashed_vector(text) for text in texts], np.float32).reshape(len(texts), 8)

    def tokens(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [np.array([len(text)], np.int32) for text in texts]


def hashed_vector(text: str) -> np.ndarray:
    """The unit vector, shape (8,), that `HashingModels` has for a text."""
    values = np.frombuffer(hashlib.blake2b(text.encode(), digest_size=8).digest(), np.uint8).astype(np.float32) + 1
    return values / np.linalg.norm(values)


def live_state(base: Sequence[Mapping[str, Any]], make: Any = None, models: Any = None) -> LiveState:
    """A release of these products, without changes."""
    rows = {str(row["id"]): place for place, row in enumerate(base)}
    stack = SegmentStack(make_segment(table_of(base)), make or PlainSegments())
    return LiveState(stack, rows.get, models or HashingModels(), ChangeRules())


def upsert(row: Mapping[str, Any], version: int = 0, **values: Any) -> Change:
    """The change that adds or replaces a product."""
    return Change(ChangeKind.upsert, str(row["id"]), version, row, **values)


def delete(product_id: str, version: int = 0) -> Change:
    """The change that removes a product."""
    return Change(ChangeKind.delete, product_id, version)


def update(product_id: str, version: int = 0, **fields: Any) -> Change:
    """The change of some fields."""
    return Change(ChangeKind.update_fields, product_id, version, fields)


def entry(revision: int, *changes: Change, request_id: str = "") -> Entry:
    """An entry of a change log."""
    return Entry(0, request_id, changes, revision)


def products_of(state: LiveState) -> dict[str, dict[str, Any]]:
    """What a view of the state has, by id, each once."""
    view = state.view()
    alive = view.mask(None)
    rows = np.arange(view.rows) if alive is None else np.flatnonzero(alive)
    products = {view.id(row): view.row(row) for row in rows.tolist()}
    assert len(products) == len(rows) == len(view), "a product is there twice"
    return products
