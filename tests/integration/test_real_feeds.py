"""The mappings that come with Tandem, on the feeds they were written for. Needs the folder that TANDEM_DATA names."""

import os
from pathlib import Path

import pytest

from catalog.product import CATALOG_SCHEMA, product_text
from catalog.table import ProductTable
from indexer.cleaning.mapping import FeedMapping, load_mapping
from indexer.products import CleanResult, clean_feed

MAPPINGS = Path(__file__).resolve().parents[2] / "lifecycle/recipes/mappings"


def clean(feed: str, mapping: str | None, folder: Path) -> tuple[CleanResult, ProductTable]:
    data = os.environ.get("TANDEM_DATA")
    path = Path(data or "", feed)
    if not data or not path.is_file():
        pytest.skip(f"TANDEM_DATA names no folder with {feed}")
    result = clean_feed(path, load_mapping(MAPPINGS / mapping) if mapping else FeedMapping(), folder)
    return result, ProductTable(result.columns)


@pytest.mark.parametrize(
    ("feed", "mapping", "count"),
    [
        ("icecat/products.jsonl.gz", "icecat.toml", 19_406),
        ("hm/articles.parquet", "hm.toml", 105_542),
        ("home_depot/products.parquet", "home_depot.toml", 54_667),
        ("crowdflower/products.parquet", None, 9_913),
    ],
)
def test_every_row_is_kept(feed: str, mapping: str | None, count: int, tmp_path: Path) -> None:
    result, columns = clean(feed, mapping, tmp_path)
    assert (result.report.rows_read, result.report.kept, len(columns)) == (count, count, count)
    assert result.report.rejected == {}


def test_icecat_reads_as_products(tmp_path: Path) -> None:
    result, columns = clean("icecat/products.jsonl.gz", "icecat.toml", tmp_path)
    first = columns.row(0, CATALOG_SCHEMA.names)
    assert first["title"] == "Xerox 006R90321 toner cartridge Original Black 6 pc(s)"
    assert (first["brand"], first["price_micros"], first["currency"]) == ("Xerox", 49_950_000, "EUR")
    assert first["gtin"] == "0095205603217"
    assert dict(first["attributes"])["black_toner_page_yield"] == "23000"
    assert "print technology: Laser printing" in product_text(first)
    assert result.report.filled["gtin"] > 0.99


def test_hm_variants_share_a_group_and_differ_in_title(tmp_path: Path) -> None:
    _, columns = clean("hm/articles.parquet", "hm.toml", tmp_path)
    rows = [columns.row(i, ("title", "item_group_id", "color")) for i in range(2)]
    assert rows[0]["item_group_id"] == rows[1]["item_group_id"]
    assert rows[0]["title"] == "Strap top, Black"
    assert rows[0]["color"] != rows[1]["color"]
