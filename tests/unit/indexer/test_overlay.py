from pathlib import Path
from typing import Any

import pytest
from builders import product, write_columns
from changes import delete, update, upsert

from catalog.changes import Change
from catalog.table import ProductTable
from catalog.versions import ChangeRules
from core.errors import ReleaseError
from core.progress import ignore
from indexer.overlay import Overlay, Written, find_rows, write_products

FEED = [product(name, f"feed {name}", price_micros=1, attributes=[("a", name)]) for name in "abcdefg"]


def fold(folder: Path, changes: list[Change], batch: int) -> tuple[list[dict[str, Any]], Written]:
    table = ProductTable(write_columns(folder / "feed.arrow", FEED, batch))
    rows = find_rows(table, {change.product_id for change in changes})
    overlay = Overlay(ChangeRules(), rows.__contains__)
    for change in changes:
        overlay.apply(change)
    written = write_products(table, overlay.states, folder / "products.arrow", ignore)
    result = ProductTable(folder / "products.arrow")
    return [result.row(place) for place in range(len(result))], written


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_products_keep_their_places_and_new_ones_come_last(tmp_path: Path, batch: int) -> None:
    changes = [
        upsert("y", title="new y"),
        upsert("b", title="live b"),
        update("c", price_micros=9, attributes=[("x", "y")]),
        *(delete("d"), delete("e"), upsert("e", title="back")),
        *(upsert("x", title="new x"), update("x", price_micros=4), upsert("z"), delete("z"), delete("none")),
        update("b", brand="made by b"),
    ]
    rows, written = fold(tmp_path, changes, batch)
    assert rows == [
        FEED[0],
        product("b", "live b", brand="made by b"),
        product("c", "feed c", price_micros=9, attributes=[("x", "y")]),
        product("e", "back"),
        *FEED[5:],
        product("y", "new y"),
        product("x", "new x", price_micros=4),
    ]
    assert written == Written(upserted=4, updated=1, deleted=1)


@pytest.mark.parametrize("batch", [1, 3])
def test_whole_batches_may_go(tmp_path: Path, batch: int) -> None:
    rows, written = fold(tmp_path, [delete(name) for name in "abcdef"], batch)
    assert rows == FEED[6:] and written == Written(0, 0, 6)


def test_a_catalog_without_products_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ReleaseError, match="changes deleted every product: index a feed that has some, or give --as-of"
    ):
        fold(tmp_path, [delete(name) for name in "abcdefg"], 100)


def test_what_no_product_can_have_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="the change log holds what no product can have: ") as refused:
        fold(tmp_path, [update("a", price_micros="nine")], 100)
    assert "\n" not in str(refused.value)


def test_an_update_without_fields_changes_nothing(tmp_path: Path) -> None:
    rows, written = fold(tmp_path, [update("a"), update("b", title="b")], 2)
    assert rows[0] == FEED[0] and rows[1]["title"] == "b" and written == Written(0, 1, 0)
