from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from indexer.cleaning.mapping import FeedMapping
from indexer.products import CleanReport, clean_feed

SHOPIFY = """Handle,Title,Body (HTML),Vendor,Type,Published,Option1 Name,Option1 Value,Option2 Name,Option2 Value,\
Variant SKU,Variant Inventory Tracker,Variant Inventory Qty,Variant Inventory Policy,Variant Price,Variant Barcode,\
Image Src,Image Position,Variant Image
shirt,Linen shirt,<p>Soft</p>,Acme,Shirts,TRUE,Size,S,Color,Red,LS-S,shopify,3,deny,49.00,4006381333931,https://x.example/a.jpg,1,
shirt,,,,,,,M,,Blue,LS-M,shopify,0,continue,49.00,,https://x.example/b.jpg,2,https://x.example/m.jpg
shirt,,,,,,,L,,Red,,shopify,0,deny,52.00,,,,
shirt,,,,,,,,,,,,,,,,https://x.example/c.jpg,3,
cap,Wool cap,Warm,Acme,Caps,TRUE,Title,Default Title,,,WC-1,,0,deny,19.00,,https://x.example/d.jpg,1,
"""
WOO = """ID,Type,SKU,Name,Short description,Description,In stock?,Sale price,Regular price,Categories,Images,Parent,\
Attribute 1 name,Attribute 1 value(s)
10,variable,HOOD,Hoodie,Warm,A warm hoodie,1,,,Clothing > Hoodies,"https://x.example/1.jpg, 2.jpg",,Color,"Blue, Red"
11,variation,HOOD-B,Hoodie - Blue,,,1,39,45,,,HOOD,Color,Blue
12,"variation, virtual",,Hoodie - Red,,,0,,45,,https://x.example/r.jpg,id:10,Color,Red
13,simple,CAP,Cap,Small,,backorder,,19,Clothing,,,,
"""
MAGENTO = """sku,store_view_code,attribute_set_code,product_type,categories,name,description,price,is_in_stock,qty,\
additional_attributes
A-1,,Default,simple,Default Category/Tools,Hammer,Heavy,19.9900,1,5.0000,"color=Red,material=Steel, oak,size=L"
A-1,de,Default,simple,,Schlosserhammer,,,,,
A-1,fr,Default,simple,,Marteau,,,,,
A-2,,Default,simple,Default Category/Tools,Saw,Sharp,9.5000,0,0.0000,
"""


def cleaned(folder: Path, text: str, mapping: dict[str, Any] | None = None) -> tuple[list[dict[str, Any]], CleanReport]:
    path = folder / "export.csv"
    path.write_text(text)
    result = clean_feed(path, FeedMapping.model_validate(mapping or {}), folder / "work", max_rejected=0)
    rows = pa.ipc.open_file(str(result.columns)).read_all().to_pylist()
    return [{k: v for k, v in row.items() if v is not None} for row in rows], result.report


def test_shopifys_variants_take_their_products_values(tmp_path: Path) -> None:
    products, report = cleaned(tmp_path, SHOPIFY, {"catalog": {"currency": "EUR"}})
    assert [(p["id"], p["title"], p.get("size"), p.get("color"), p["availability"]) for p in products] == [
        ("LS-S", "Linen shirt", "S", "Red", "in_stock"),
        ("LS-M", "Linen shirt", "M", "Blue", "backorder"),
        ("shirt/L/Red", "Linen shirt", "L", "Red", "out_of_stock"),
        ("WC-1", "Wool cap", None, None, "in_stock"),
    ]
    assert [p["image_link"][-5:] for p in products] == ["a.jpg", "m.jpg", "a.jpg", "d.jpg"]
    assert [p["description"] for p in products] == ["Soft", "Soft", "Soft", "Warm"]
    assert {p["item_group_id"] for p in products} == {"shirt", "cap"}
    assert [p.get("gtin") for p in products] == ["4006381333931", None, None, None]  # no variant takes another's
    assert (report.skipped, report.rejected, report.rows_read) == ({"image_row": 1}, {}, 5)
    assert "Shopify" in report.notes[0]


def test_a_mapping_of_ones_own_sees_filled_rows_too(tmp_path: Path) -> None:
    fields = {"id": "Variant SKU", "title": "Title", "size": "Option1 Value", "brand": "Vendor"}
    products, _ = cleaned(tmp_path, SHOPIFY, {"fields": fields})
    assert [(p["title"], p.get("size"), p["brand"]) for p in products] == [
        ("Linen shirt", "S", "Acme"),
        ("Linen shirt", "M", "Acme"),
        ("Linen shirt", "L", "Acme"),
        ("Wool cap", None, "Acme"),
    ]


def test_woocommerces_variations_take_their_parents_values(tmp_path: Path) -> None:
    products, report = cleaned(tmp_path, WOO, {"catalog": {"currency": "EUR"}})
    assert [(p["id"], p["title"], p.get("price_micros"), p["availability"]) for p in products] == [
        ("10", "Hoodie", None, "in_stock"),
        ("11", "Hoodie - Blue", 39_000_000, "in_stock"),
        ("12", "Hoodie - Red", 45_000_000, "out_of_stock"),
        ("13", "Cap", 19_000_000, "backorder"),
    ]
    assert [p["product_type"] for p in products] == ["Clothing > Hoodies"] * 3 + ["Clothing"]
    assert products[1]["description"] == "A warm hoodie"
    assert [p.get("color") for p in products] == ["Blue, Red", "Blue", "Red", None]
    assert [p.get("image_link", "")[-5:] for p in products] == ["1.jpg", "1.jpg", "r.jpg", ""]
    assert not report.dropped


@pytest.mark.parametrize(("language", "title"), [(None, "Hammer"), ("de", "Schlosserhammer"), ("it", "Hammer")])
def test_magentos_store_views_are_no_products(tmp_path: Path, language: str | None, title: str) -> None:
    catalog = {"currency": "EUR"} | ({"language": language} if language else {})
    products, report = cleaned(tmp_path, MAGENTO, {"catalog": catalog})
    assert [(p["id"], p["title"], p["price_micros"], p["availability"]) for p in products] == [
        ("A-1", title, 19_990_000, "in_stock"),
        ("A-2", "Saw", 9_500_000, "out_of_stock"),
    ]
    assert (products[0]["color"], products[0]["material"], products[0]["size"]) == ("Red", "Steel, oak", "L")
    assert products[0]["product_type"] == "Default Category/Tools"
    assert report.skipped == {"store_view": 2}


def test_other_feeds_are_left_alone(tmp_path: Path) -> None:
    products, report = cleaned(tmp_path, "sku,name,Handle\n1,Mug,\n2,Pan,x\n")
    assert [p["title"] for p in products] == ["Mug", "Pan"]
    assert (report.notes, report.skipped) == ([], {})
