"""Fresh segments merged, and columns of products that change in their place."""

from pathlib import Path

import numpy as np
import pytest
from builders import product
from live import Base, tokens_of, unit_vectors

from catalog.segment import Segment
from catalog.view import CatalogView
from core.filters import And, Equal, Exists, Filter, Range

_ROWS = [
    product(
        f"p{i}",
        f"thing {i} red",
        brand=("Acme", "Bosch", None)[i % 3],
        price_micros=i * 1_000_000,
        currency="EUR",
        availability="in_stock",
        popularity=float(i),
        color="red / blue" if i % 2 else None,
        attributes=[("kind", f"x{i % 4}")] if i % 5 else None,
    )
    for i in range(20)
]
_VECTORS = unit_vectors(20)


@pytest.fixture
def base(tmp_path: Path) -> Base:
    return Base(tmp_path, _ROWS[:10], _VECTORS[:10])


def assert_same(ours: Segment, theirs: Segment) -> None:
    """Both hold the same of the same products."""
    rows = np.arange(len(theirs))
    assert [ours.table.row(row) for row in rows] == [theirs.table.row(row) for row in rows]
    np.testing.assert_array_equal(ours.prices, theirs.prices)
    np.testing.assert_array_equal(ours.popularity, theirs.popularity)
    assert [one.tolist() for one in ours.tokens.take(rows)] == [one.tolist() for one in theirs.tokens.take(rows)]  # type: ignore[union-attr]
    np.testing.assert_array_equal(ours.vectors.vectors(rows), theirs.vectors.vectors(rows))  # type: ignore[union-attr]
    for name in {*ours.columns.names, *theirs.columns.names}:  # type: ignore[union-attr]
        one, other = ours.columns.get(name), theirs.columns.get(name)  # type: ignore[union-attr]
        if one is None or other is None:
            assert not any(column.exists().any() for column in (one, other) if column is not None)
            continue
        assert (one.kind, one.unit, list(one.values)) == (other.kind, other.unit, list(other.values))
        for array, values in other.arrays.items():
            np.testing.assert_array_equal(one.arrays[array], values, err_msg=name)
    for field in theirs.words.fields:  # type: ignore[union-attr]
        for part in ("numbers", "ends", "rows", "scores", "lengths"):
            one, other = (getattr(each.words.postings(field), part) for each in (ours, theirs))  # type: ignore[union-attr]
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kept", ["1111111111", "1011100101", "0000000001", "1111100000"])
def test_a_merged_segment_is_the_one_that_is_built_of_what_is_left(base: Base, kept: str) -> None:
    masks = np.array([letter == "1" for letter in kept])
    parts = [base.build(_ROWS[10:13], _VECTORS[10:13]), base.build(_ROWS[13:20], _VECTORS[13:20])]
    left = [row for row, keeps in zip(_ROWS[10:], masks, strict=True) if keeps]
    merged = base.fresh.merge(parts, [masks[:3], masks[3:]])
    assert_same(merged, base.build(left, _VECTORS[10:][masks]))
    again = base.fresh.merge([merged], [np.ones(len(left), bool)])
    assert_same(again, merged)


def test_merged_segments_keep_what_changed(base: Base) -> None:
    parts = [base.build(_ROWS[10:13], _VECTORS[10:13]), base.build(_ROWS[13:15], _VECTORS[13:15])]
    changes = [{"price_micros": None, "availability": "backorder"}, {"popularity": 3.0, "link": "https://shop.example"}]
    patched = base.fresh.patch(parts[0], np.array([2, 0]), changes)
    expected = [_ROWS[10] | changes[1], _ROWS[11], _ROWS[12] | changes[0], _ROWS[13], _ROWS[14]]
    assert_same(
        base.fresh.merge([patched, parts[1]], [np.ones(3, bool), np.ones(2, bool)]),
        base.build(expected, _VECTORS[10:15]),
    )


def test_merging_reads_no_text_again(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    part = base.build(_ROWS[10:13], _VECTORS[10:13])
    for name in ("FreshWords", "FreshColumns"):
        monkeypatch.setattr(f"indexer.fresh.{name[5:].lower()}.{name}.build", None)
    assert len(base.fresh.merge([part, part], [np.ones(3, bool)] * 2)) == 6


def passing(view: CatalogView, filter: Filter) -> list[int]:
    mask = view.mask(filter)
    assert mask is not None
    return np.flatnonzero(mask).tolist()


def test_a_changed_product_keeps_its_row_and_shows_its_new_values(base: Base) -> None:
    before = base.segment
    change = {"price_micros": 9_500_000, "currency": "EUR", "availability": "preorder", "popularity": 5.0, "link": "l"}
    after = base.fresh.patch(before, np.array([3]), [change])
    assert after.table.row(3) == _ROWS[3] | change and before.table.row(3) == _ROWS[3]
    assert after.table.row(4) == _ROWS[4] and after.table.row(3, ["title", "link"]) == {
        "title": "thing 3 red",
        "link": "l",
    }
    assert (after.prices[3], before.prices[3]) == (9_500_000, 3_000_000)
    assert (after.popularity[3], before.popularity[3]) == (
        np.float32(0.55),
        np.float32(0.35),
    )  # of ten: 5 below, one equal
    assert after.tokens is before.tokens and after.table.find("p3") == 3 and after.table.id(3) == "p3"
    for name in ("brand", "title", "color"):
        assert after.columns.column(name) is before.columns.column(name)  # type: ignore[union-attr]
    old, new = base.view(), CatalogView(after, revision=2)
    filters = (Equal("availability", "preorder"), Range("price", above=9.0), Exists("link"))
    assert [passing(new, one) for one in filters] == [[3], [3], [3]]
    assert [passing(old, one) for one in filters] == [[], [], []]
    assert after.table.numbers("price_micros")[3] == 9_500_000


def test_each_of_many_changes_is_seen_by_views_of_its_own(base: Base) -> None:
    """Masks are made good in changed rows: always what evaluating anew gives."""
    random = np.random.default_rng(1)
    filter = And((Range("price", at_most=7.0), Equal("availability", "in_stock")))
    segment, prices, stock = base.segment, np.arange(10) * 1.0, np.ones(10, bool)
    views = []
    for _ in range(40):
        row = int(random.integers(10))
        prices, stock = prices.copy(), stock.copy()
        change: dict = {"price_micros": int(random.integers(12)) * 1_000_000}
        prices[row] = change["price_micros"] / 1e6
        if random.random() < 0.5:
            stock[row] = random.random() < 0.5
            change["availability"] = "in_stock" if stock[row] else None
        segment = base.fresh.patch(segment, np.array([row]), [change])
        views.append((CatalogView(segment), np.flatnonzero((prices <= 7) & stock).tolist()))
        if random.random() < 0.7:
            assert passing(*views[-1][:1], filter) == views[-1][1]
    for view, expected in views:  # in any order
        assert passing(view, filter) == expected


def test_two_changes_of_one_state_do_not_see_each_other(base: Base) -> None:
    filter = Equal("availability", "backorder")
    sides = [base.fresh.patch(base.segment, np.array([row]), [{"availability": "backorder"}]) for row in (1, 2, 3)]
    assert [passing(CatalogView(side), filter) for side in sides] == [[1], [2], [3]]
    assert [passing(CatalogView(side), filter) for side in reversed(sides)] == [[3], [2], [1]]


def test_only_what_no_model_reads_is_changed_in_place(base: Base) -> None:
    with pytest.raises(ValueError, match="brand, title: read by models or words; upsert the product"):
        base.fresh.patch(base.segment, np.array([1]), [{"title": "other", "brand": None, "link": None}])


def test_a_price_in_another_currency_is_shown_and_not_compared(base: Base) -> None:
    after = base.fresh.patch(base.segment, np.array([1]), [{"currency": "USD"}])
    assert after.table.row(1)["price_micros"] == 1_000_000 and base.fresh.left_out == {"price": 1}
    assert passing(CatalogView(after), Exists("price")) == [0, 2, 3, 4, 5, 6, 7, 8, 9]


def test_a_segment_gets_a_column_that_no_product_of_it_had(base: Base) -> None:
    part = base.build([product("q0", "bare"), product("q1", "bare")], _VECTORS[:2])
    assert part.columns is not None and part.columns.get("availability") is None
    after = base.fresh.patch(part, np.array([1]), [{"availability": "in_stock", "price_micros": 4_000_000}])
    view = base.view([after])
    assert passing(view, And((Equal("availability", "in_stock"), Range("price", at_least=4.0)))) == [
        4,
        5,
        6,
        7,
        8,
        9,
        11,
    ]
    assert view.column("availability").codes.tolist() == [0] * 10 + [-1, 0]


def test_products_are_looked_up_by_id(base: Base) -> None:
    table = base.segment.table
    assert [table.find(f"p{i}") for i in range(10)] == list(range(10))
    assert [table.find(name) for name in ("", "p", "p10", "p99", "zz")] == [None] * 5
    fresh = base.build([product("z"), product("Ä"), product("a")], _VECTORS[:3]).table
    assert [fresh.find(name) for name in ("z", "Ä", "a", "b")] == [0, 1, 2, None]
    assert tokens_of([_ROWS[0]])[0].tolist() == [ord(letter) for letter in "thing"]
