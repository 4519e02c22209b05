"""A view of three segments with deleted products, worked by hand."""

from pathlib import Path

import numpy as np
import pytest
from builders import product, write_columns

from catalog.columns import Columns, Kind, UnknownField, make_columns
from catalog.popularity import PopularityScale
from catalog.segment import Segment, make_segment
from catalog.table import ProductTable
from catalog.view import CatalogView, merge_ranked
from core.errors import ReleaseError
from core.filters import Equal, Exists, InvalidFilter, Not, Range

NAN = float("nan")


class Tokens:
    """The tokens of product i are its price."""

    def __init__(self, prices: list[int]) -> None:
        self._prices = prices

    def __len__(self) -> int:
        return len(self._prices)

    def take(self, rows: np.ndarray) -> list[np.ndarray]:
        return [np.array([self._prices[row]], np.int32) for row in rows.tolist()]


def segment(
    folder: Path, name: str, prices: list[int], scale: PopularityScale | None = None, columns: Columns | None = None
) -> Segment:
    """Products whose popularity is ten times their price."""
    folder.mkdir(exist_ok=True)
    rows = [
        product(f"{name}{i}", f"title of {name}{i}", price_micros=price, popularity=10 * price)
        for i, price in enumerate(prices)
    ]
    table = ProductTable(write_columns(folder / f"{name}.arrow", rows))
    return make_segment(table, Tokens(prices), scale=scale, columns=columns)


@pytest.fixture
def view(tmp_path: Path) -> CatalogView:
    """Rows 0 to 3 are a0 to a3, row 4 is b0, rows 5 and 6 are c0 and c1; a1 and c1 are deleted."""
    scale = PopularityScale(np.array([10.0, 20, 30, 40]))
    base = segment(tmp_path, "a", [1, 2, 3, 4])
    fresh = [segment(tmp_path, "b", [2], scale), segment(tmp_path, "c", [9, 7], scale)]
    return CatalogView(base, fresh, np.array([0, 1, 0, 0, 0, 0, 1], bool), revision=3)


def test_rows_are_numbered_through_the_segments(view: CatalogView) -> None:
    assert (view.rows, len(view), view.revision) == (7, 5, 3)
    assert [view.id(row) for row in range(7)] == ["a0", "a1", "a2", "a3", "b0", "c0", "c1"]
    assert view.ids() == ["a0", "a2", "a3", "b0", "c0"]
    assert view.row(4, ["title", "price_micros"]) == {"title": "title of b0", "price_micros": 2}
    assert view.attributes(6, 3) == []
    assert [view.start(number) for number in range(3)] == [0, 4, 5]


def test_values_come_in_the_order_in_which_rows_are_asked_for(view: CatalogView) -> None:
    rows = np.array([5, 0, 4, 5, 3])
    assert view.prices(rows).tolist() == [9, 1, 2, 9, 4]
    assert [tokens.tolist() for tokens in view.tokens(rows)] == [[9], [1], [2], [9], [4]]
    # Among 10, 20, 30 and 40: above all, the lowest, equal to the second, the highest.
    assert view.popularity(rows).tolist() == pytest.approx([1, 1 / 8, 3 / 8, 1, 7 / 8])
    for empty in (view.prices(rows[:0]), view.popularity(rows[:0]), view.tokens(rows[:0])):
        assert len(empty) == 0


def test_masks_are_of_segments_that_lost_products(view: CatalogView) -> None:
    masks = [view.alive(number) for number in range(3)]
    assert masks[1] is None
    assert [mask.tolist() for mask in masks if mask is not None] == [[True, False, True, True], [True, False]]


def test_the_base_alone_goes_straight_through(tmp_path: Path) -> None:
    base = segment(tmp_path, "a", [1, 2])
    for deleted in (None, np.zeros(2, bool)):
        view = CatalogView(base, deleted=deleted)
        assert view.is_base_alone and view.alive(0) is None and len(view) == view.rows == 2
        assert view.ids() == ["a0", "a1"] and view.prices(np.array([1])).tolist() == [2]
    assert not CatalogView(base, deleted=np.array([True, False])).is_base_alone
    assert not CatalogView(base, [segment(tmp_path, "b", [5])]).is_base_alone


def test_a_mask_of_another_length_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"shape \(3,\), and the view has 2 rows"):
        CatalogView(segment(tmp_path, "a", [1, 2]), deleted=np.zeros(3, bool))


def test_lists_merge_by_score_and_equal_scores_by_row() -> None:
    first = np.array([4, 0, 2]), np.array([0.9, 0.5, 0.1], np.float32)
    second = np.array([7, 1]), np.array([0.9, 0.5], np.float32)
    rows, scores = merge_ranked([second, first], 4)
    assert rows.tolist() == [4, 7, 0, 1] and scores.tolist() == pytest.approx([0.9, 0.9, 0.5, 0.5])
    assert merge_ranked([first, second], 9)[0].tolist() == [4, 7, 0, 1, 2]


def test_nothing_comes_behind_whatever_score_stands_for_it() -> None:
    first = np.array([[3, -1], [0, -1]]), np.array([[-0.5, 9], [0.1, NAN]], np.float32)
    second = np.array([[5, 6], [5, -1]]), np.array([[-0.9, -0.95], [0.2, -np.inf]], np.float32)
    rows, _ = merge_ranked([first, second], 3)
    assert rows.tolist() == [[3, 5, 6], [5, 0, -1]]


def test_masks_span_the_segments_and_leave_deleted_products_out(tmp_path: Path) -> None:
    base = make_columns({"brand": ["b", "d", None, "b"], "size": [1, 2, 3, 4]})
    fresh = make_columns({"brand": ["a"]})
    segments = [
        segment(tmp_path, "a", [1, 2, 3, 4], columns=base),
        segment(tmp_path, "b", [2], columns=fresh),
        segment(tmp_path, "c", [9, 7]),  # made without columns
    ]
    view = CatalogView(segments[0], segments[1:], np.array([0, 1, 0, 0, 0, 0, 1], bool))

    def passing(condition: object) -> list[int]:
        mask = view.mask(condition)
        assert mask is not None and mask.shape == (7,) and not mask.flags.writeable
        return np.flatnonzero(mask).tolist()

    assert passing(None) == [0, 2, 3, 4, 5]
    assert passing(Equal("brand", "b")) == [0, 3] and passing(Equal("brand", "a")) == [4]
    assert passing(Not(Equal("brand", "b"))) == [2, 4, 5] and passing(Range("size", above=1.0)) == [2, 3]
    assert passing(Not(Exists("size"))) == [4, 5]
    assert view.mask(Equal("brand", "b")) is view.mask(Equal("brand", "b"))
    brand = view.column("brand")
    assert brand is view.column("brand") and list(brand.values) == ["a", "b", "d"]
    assert brand.codes.tolist() == [1, 2, -1, 1, 0, -1, -1]
    np.testing.assert_array_equal(view.column("size").numbers, [1, 2, 3, 4, np.nan, np.nan, np.nan])
    assert view.field_kinds == {"brand": Kind.string, "size": Kind.number}


def test_the_base_alone_hands_out_its_own_arrays(tmp_path: Path) -> None:
    columns = make_columns({"brand": ["b", "d"]})
    alone = CatalogView(segment(tmp_path, "a", [1, 2], columns=columns))
    assert alone.mask(None) is None and alone.column("brand") is columns.column("brand")
    with pytest.raises(InvalidFilter, match="did you mean 'brand'"):
        alone.mask(Exists("Brand"))


def test_a_release_without_columns_refuses_filters(tmp_path: Path) -> None:
    bare = CatalogView(segment(tmp_path, "a", [1, 2]))
    assert bare.mask(None) is None and bare.field_kinds is None
    for ask in (lambda: bare.mask(Exists("brand")), lambda: bare.column("brand")):
        with pytest.raises((InvalidFilter, UnknownField), match="no typed columns; index the catalog again"):
            ask()


def test_columns_of_other_products_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="the typed columns hold 1 products, and the product table 2"):
        segment(tmp_path, "a", [1, 2], columns=make_columns({"brand": ["b"]}))


def test_products_are_found_by_id_unless_they_are_deleted(view: CatalogView) -> None:
    names = ("a0", "a1", "a3", "b0", "c0", "c1", "d0")
    assert [view.find(name) for name in names] == [0, None, 3, 4, 5, None, None]


def test_of_products_with_one_id_the_latest_counts(tmp_path: Path) -> None:
    base, fresh = segment(tmp_path, "a", [1, 2]), segment(tmp_path / "later", "a", [9])
    assert CatalogView(base, [fresh], np.array([True, False, False])).find("a0") == 2
    assert CatalogView(base, [fresh], np.array([False, False, True])).find("a0") == 0


def test_a_field_of_some_rows_is_read_segment_by_segment(tmp_path: Path) -> None:
    base = make_columns({"brand": ["b", "d", None, "b"]})
    segments = [
        segment(tmp_path, "a", [1, 2, 3, 4], columns=base),
        segment(tmp_path, "b", [2], columns=make_columns({"brand": ["a"]})),
        segment(tmp_path, "c", [9, 7]),
    ]
    view = CatalogView(segments[0], segments[1:])
    parts = list(view.column_parts("brand", np.array([5, 4, 1, 0])))
    assert [(places.tolist(), list(column.values), rows.tolist()) for places, column, rows in parts] == [
        ([2, 3], ["b", "d"], [1, 0]),
        ([1], ["a"], [0]),
    ]
    with pytest.raises(UnknownField, match="did you mean"):
        list(view.column_parts("brnd", np.array([0])))


def test_views_over_one_base_share_masks_and_merged_columns(tmp_path: Path) -> None:
    base = segment(tmp_path, "a", [1, 2], columns=make_columns({"brand": ["b", "d"]}))
    fresh = segment(tmp_path, "b", [2], columns=make_columns({"brand": ["b"]}))
    first, second = CatalogView(base, [fresh]), CatalogView(base, [fresh], np.array([True, False, False]))
    assert first.column("brand") is second.column("brand")
    alone = [CatalogView(base).mask(Equal("brand", "b")) for _ in range(2)]
    assert alone[0] is alone[1]
