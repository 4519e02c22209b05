"""However a catalog came to be, by what was published, upserted, deleted, changed in its place and merged, it answers
as one segment of the same products with the same word statistics.

Products are compared by their ids: rows, and so the order of equal scores, are numbered differently.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import product
from hypothesis import given, settings
from hypothesis import strategies as st
from live import Base, unit_vectors

from catalog.segment import Segment
from catalog.view import CatalogView
from core.filters import And, Equal, Exists, Filter, Not, Range
from engine.lexical.query_parser import LexicalQueryParser, ViewParser
from engine.lexical.segments import evidence_of_view, matches_in_view, search_view
from engine.vector.segments import search_view as search_vectors
from retrieval.listing.columns import group_numbers, products_by_id, sort_key
from retrieval.listing.facets import count_facet
from retrieval.listing.spec import FacetSpec, SortKey

_WORDS = ("red", "drill", "saw", "18 v", "lamp", "acme", "zorbix", "quux")
_WEIGHTS = {"title": 1.0, "brand": 0.5, "attributes": 0.4}
_FILTERS: tuple[Filter, ...] = (
    Equal("brand", "Acme"),
    Equal("brand", "Zorbix"),
    Range("price", at_least=2.0, below=7.0),
    Not(Exists("availability")),
    And((Equal("color", "red"), Range("popularity", above=1.0))),
    Equal("attributes.use", "outdoor"),
    Exists("link"),
)
_FACETS = ("brand", "price", "color", "availability", "attributes.use", "link")
_VECTORS = unit_vectors(12, seed=3)
_BASE_WITH_ALL = product(
    "p0", "red drill lamp acme", brand="Acme", price_micros=1_000_000, currency="EUR", availability="in_stock",
    color="red", link="l", popularity=1.0, attributes=[("use", "indoor; outdoor")],
)  # fmt: skip
_MORE = [product(f"s{i}", "saw", attributes=[("use", use)]) for i, use in enumerate(("indoor", "outdoor; garden"))]

ids = st.integers(0, 11).map("p{}".format)
changes = st.fixed_dictionaries(
    {},
    optional={
        "price_micros": st.sampled_from([None, 1_000_000, 3_000_000, 9_000_000]),
        "availability": st.sampled_from([None, "in_stock", "backorder"]),
        "popularity": st.sampled_from([None, 0.5, 2.0]),
        "link": st.sampled_from([None, "l"]),
    },
).filter(bool)
products = st.builds(
    lambda name, words, brand, price, stock, color, use: product(
        name,
        " ".join(words),
        brand=brand,
        price_micros=price,
        currency="EUR",
        availability=stock,
        color=color,
        popularity=float(len(words)),
        attributes=[("use", use)] if use else None,
    ),
    ids,
    st.lists(st.sampled_from(_WORDS), min_size=1, max_size=4),
    st.sampled_from((None, "Acme", "Zorbix")),
    st.sampled_from((None, 2_000_000, 5_000_000)),
    st.sampled_from((None, "in_stock")),
    st.sampled_from((None, "red", "red / blue")),
    st.sampled_from((None, "indoor", "outdoor; garden")),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("upsert"), st.lists(products, min_size=1, max_size=3, unique_by=lambda row: row["id"])),
        st.tuples(st.just("delete"), ids),
        st.tuples(st.just("change"), st.tuples(ids, changes)),
        st.tuples(st.just("merge"), st.integers(0, 1)),
    ),
    min_size=2,
    max_size=14,
)


class Shop:
    """A catalog in service, and a dictionary of what it should hold."""

    def __init__(self, folder: Path, rows: list[dict[str, Any]]) -> None:
        self.base = Base(folder, rows, np.stack([vector_of(row["id"]) for row in rows]))
        self.segments: list[Segment] = [self.base.segment]
        self.alive = [np.ones(len(rows), bool)]
        self.expected = {row["id"]: row for row in rows}
        self.view: CatalogView | None = None

    def apply(self, kind: str, value: Any) -> None:
        if kind == "upsert":
            for row in value:
                self._delete(row["id"])
                self.expected[row["id"]] = row
            vectors = np.stack([vector_of(row["id"]) for row in value])
            self.segments.append(self.base.build(value, vectors))
            self.alive.append(np.ones(len(value), bool))
        elif kind == "delete":
            self._delete(value)
            self.expected.pop(value, None)
        elif kind == "merge":
            self._merge(1 + value)
        elif (place := self._locate(value[0])) is not None:
            name, change = value
            number, row = place
            self.segments[number] = self.base.fresh.patch(self.segments[number], np.array([row]), [change])
            self.expected[name] = self.expected[name] | change
        deleted = ~np.concatenate(self.alive)
        self.view = CatalogView(self.segments[0], self.segments[1:], deleted, 1)
        for filter in _FILTERS:  # so that the next view finds what was kept
            self.view.mask(filter)
        for name in _FACETS:
            self.view.column(name)

    def whole(self) -> CatalogView:
        """The same products as one segment, with the word statistics of the base."""
        rows = list(self.expected.values())
        vectors = np.stack([vector_of(row["id"]) for row in rows]) if rows else np.zeros((0, 8), np.float32)
        gone = np.arange(len(self.base.segment) + len(rows)) < len(self.base.segment)
        return CatalogView(self.base.segment, [self.base.build(rows, vectors)], gone)

    def _locate(self, name: str) -> tuple[int, int] | None:
        for number, (segment, alive) in enumerate(zip(self.segments, self.alive, strict=True)):
            if (row := segment.table.find(name)) is not None and alive[row]:
                return number, row
        return None

    def _delete(self, name: str) -> None:
        if (place := self._locate(name)) is not None:
            self.alive[place[0]] = self.alive[place[0]].copy()
            self.alive[place[0]][place[1]] = False

    def _merge(self, first: int) -> None:
        if len(self.segments) > first:
            merged = self.base.fresh.merge(self.segments[first:], self.alive[first:])
            self.segments[first:] = [merged]
            self.alive[first:] = [np.ones(len(merged), bool)]


def vector_of(name: str) -> np.ndarray:
    return _VECTORS[int(name[1:])]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(products, max_size=4, unique_by=lambda row: row["id"]),
    steps,
    st.lists(st.sampled_from(_WORDS), min_size=1, max_size=3),
)
def test_a_catalog_answers_as_one_segment_of_its_products(
    published: list[dict[str, Any]], then: list[tuple[str, Any]], query: list[str]
) -> None:
    rows = list({row["id"]: row for row in [_BASE_WITH_ALL, *_MORE, *published]}.values())
    with tempfile.TemporaryDirectory() as folder:
        shop = Shop(Path(folder), rows)
        shop.apply("delete", "none")
        for step in then:
            shop.apply(*step)
        view, whole = shop.view, shop.whole()
        assert view is not None and len(view) == len(whole) == len(shop.expected)
        assert {view.id(row): view.row(row) for row in alive(view)} == shop.expected
        assert {name: view.id(row) for name in shop.expected if (row := view.find(name)) is not None} == {
            name: name for name in shop.expected
        }
        assert products_by_id(view, {"none", "p99"}) == {}
        check_words(shop.base, view, whole, " ".join(query))
        check_vectors(shop.base, view, whole)
        check_columns(view, whole)


def alive(view: CatalogView) -> list[int]:
    mask = view.mask(None)
    return list(range(view.rows)) if mask is None else np.flatnonzero(mask).tolist()


def by_id(view: CatalogView, values: Any) -> dict[str, Any]:
    return {view.id(row): values[row] for row in alive(view)}


def check_words(base: Base, view: CatalogView, whole: CatalogView, text: str) -> None:
    parser = ViewParser(LexicalQueryParser(base.words, "en"), base.words)
    queries = [parser.read(text, one) for one in (view, whole)]
    assert queries[0] == queries[1]
    results = [
        search_view(base.words, one, query, _WEIGHTS, 99) for one, query in zip((view, whole), queries, strict=True)
    ]
    scores = [
        {one.id(row): score for row, score in zip(result.rows.tolist(), result.scores.tolist(), strict=True)}
        for one, result in zip((view, whole), results, strict=True)
    ]
    assert scores[0] == pytest.approx(scores[1], rel=1e-5)
    for place in (0, 1):
        ours, theirs = (
            by_id(one, matches_in_view(base.words, one, query, _WEIGHTS)[place])
            for one, query in zip((view, whole), queries, strict=True)
        )
        assert ours == pytest.approx(theirs, rel=1e-5)
    evidence = []
    for one, query in zip((view, whole), queries, strict=True):
        rows = np.array(sorted(alive(one), key=one.id), np.int64)
        evidence.append(evidence_of_view(base.words, one, query, rows))
    np.testing.assert_allclose(evidence[0].scores, evidence[1].scores, rtol=1e-5)
    for name in ("matched", "conflicting_quantity", "lengths"):
        np.testing.assert_array_equal(getattr(evidence[0], name), getattr(evidence[1], name))


def check_vectors(base: Base, view: CatalogView, whole: CatalogView) -> None:
    found = []
    for one in (view, whole):
        rows, scores = search_vectors(base.vectors, one, _VECTORS[:1], 20)
        kept = rows[0] >= 0
        found.append({one.id(row): score for row, score in zip(rows[0][kept].tolist(), scores[0][kept], strict=True)})
    assert found[0] == found[1] and len(found[0]) == len(view)


def check_columns(view: CatalogView, whole: CatalogView) -> None:
    rows, others = (np.array(alive(one), np.int64) for one in (view, whole))
    for filter in _FILTERS:
        passing = [
            {one.id(row) for row in np.flatnonzero(mask).tolist()}
            for one in (view, whole)
            if (mask := one.mask(filter)) is not None
        ]
        assert passing[0] == passing[1], filter
    for name in _FACETS:
        spec = FacetSpec(name, limit=99)
        assert count_facet(spec, view.column(name), rows) == count_facet(spec, whole.column(name), others)
        ours, theirs = (group_numbers(one, name) if name != "link" else None for one in (view, whole))
        counts = count_facet(spec, view.column(name), rows, ours), count_facet(spec, whole.column(name), others, theirs)
        assert counts[0] == counts[1]
    for name, shown in (("price", "price_micros"), ("brand", "brand"), ("availability", "availability")):
        orders = []
        for one, own in ((view, rows), (whole, others)):
            order = np.argsort(sort_key(one, SortKey(name, descending=True), own), kind="stable")
            orders.append([one.row(row)[shown] for row in own[order].tolist()])
        assert orders[0] == orders[1]
    for values in ("prices", "popularity"):
        ours, theirs = (by_id(one, getattr(one, values)(np.arange(one.rows))) for one in (view, whole))
        assert ours == pytest.approx(theirs, nan_ok=True)
