import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog.product import CATALOG_SCHEMA
from catalog.table import ProductTable
from core.errors import FeedError
from indexer.cleaning.mapping import FeedMapping
from indexer.cleaning.row import RowCleaner
from indexer.product_files import BATCH_ROWS
from indexer.products import CleanResult, _last_of_each, clean_feed

Row = dict[str, Any]


def run(folder: Path, rows: list[Row], mapping: dict[str, Any] | None = None, **options: Any) -> CleanResult:
    path = folder / "feed.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return clean_feed(path, FeedMapping.model_validate(mapping or {}), folder / "work", **options)


def products(result: CleanResult) -> list[Row]:
    columns = ProductTable(result.columns)
    return [columns.row(i, CATALOG_SCHEMA.names) for i in range(len(columns))]


def quarantine(result: CleanResult) -> list[Row]:
    return pq.read_table(result.quarantine).to_pylist()


def one(row: Row, mapping: dict[str, Any]) -> tuple[Row, dict[str, int]]:
    cleaner = RowCleaner(FeedMapping.model_validate(mapping))
    return dict(zip(CATALOG_SCHEMA.names, cleaner.clean(row), strict=True)), dict(cleaner.warnings)


BASIC: Row = {"fields": {"id": "id", "title": "title"}}


def test_a_row_becomes_a_product(tmp_path: Path) -> None:
    row = {
        "id": 7,
        "title": " <b>Cordless</b> drill ",
        "description": "<p>Strong &amp; light</p>",
        "brand": "Acme",
        "category": ["Tools", "Drills"],
        "price": "39,99 €",
        "availability": "in stock",
        "color": ["red", "black"],
        "ean": ["4006381333931"],
        "item_group_id": "g1",
        "image": "https://shop.example/7.jpg",
        "attributes": {"power": 18, "cordless": True, "tags": ["a", "b"], "none": None},
    }
    result = run(tmp_path, [row])
    (product,) = products(result)
    assert product == {
        "id": "7",
        "title": "Cordless drill",
        "description": "Strong & light",
        "brand": "Acme",
        "product_type": "Tools > Drills",
        "price_micros": 39_990_000,
        "currency": "EUR",
        "availability": "in_stock",
        "color": "red/black",
        "size": None,
        "material": None,
        "gtin": "4006381333931",
        "item_group_id": "g1",
        "image_link": "https://shop.example/7.jpg",
        "link": None,
        "attributes": [("power", "18"), ("cordless", "yes"), ("tags", "a, b")],
        "popularity": None,
    }
    assert result.report.filled["title"] == 1
    assert result.report.filled["size"] == 0
    assert json.loads(json.dumps(result.summary()))["kept"] == 1


def test_mapped_columns_join_scale_fix_and_reach_into_objects() -> None:
    mapping = {
        "catalog": {"currency": "SEK"},
        "fields": {
            "id": "sku",
            "title": {"columns": ["name", "size", "colour"], "join": ", "},
            "brand": {"constant": "Acme"},
            "price": {"column": "offer.cents", "scale": 0.01},
        },
    }
    product, _ = one({"sku": "a", "name": "Shirt", "size": None, "colour": "Blue", "offer": {"cents": 1999}}, mapping)
    assert (product["title"], product["brand"]) == ("Shirt, Blue", "Acme")
    assert (product["price_micros"], product["currency"]) == (19_990_000, "SEK")


def test_attributes_are_gathered_in_the_order_of_their_patterns() -> None:
    mapping = BASIC | {
        "attributes": {"include": ["t_kind", "n_*", "t_*"], "exclude": ["t_x"], "strip_prefix": ["t_", "n_"]}
    }
    row = {"id": 1, "title": "a", "t_b": "B", "n_a": 1.5, "t_kind": "K", "t_x": "X", "n_b": 2, "t_c": "", "other": "O"}
    product, _ = one(row, mapping)
    assert product["attributes"] == [("kind", "K"), ("a", "1.5"), ("b", "2, B")]


def test_a_pattern_leaves_columns_that_fields_read() -> None:
    product, _ = one({"id": 1, "title": "a", "x": "y"}, BASIC | {"attributes": {"include": "*"}})
    assert product["attributes"] == [("x", "y")]
    product, _ = one({"id": 1, "title": "a"}, BASIC | {"attributes": {"include": ["title"]}})
    assert product["attributes"] == [("title", "a")]  # named outright


def test_nested_attributes_are_written_as_json() -> None:
    product, _ = one({"id": 1, "title": "a", "x": [{"b": 1}]}, BASIC | {"attributes": {"include": ["x"]}})
    assert product["attributes"] == [("x", '[{"b": 1}]')]


def test_what_is_cut_or_dropped_is_counted() -> None:
    mapping = {"fields": {name: name for name in ("id", "title", "description", "gtin", "link", "price")}}
    row = {"id": 1, "title": "t" * 1200, "description": "d " * 30_000, "gtin": "123", "link": "x", "price": 5}
    product, warnings = one(row, mapping)
    assert (len(product["title"]), len(product["description"])) == (1000, 9999)
    assert (product["gtin"], product["link"], product["currency"]) == (None, None, None)
    assert warnings == {
        "title_cut": 1,
        "description_cut": 1,
        "price_without_currency": 1,
    }


def test_words_for_nothing_are_no_values_and_no_warnings() -> None:
    mapping = {"fields": {name: name for name in ("id", "title", "brand", "gtin", "price", "availability", "link")}}
    row = {"id": 1, "title": "a", "brand": "N/A", "gtin": "-", "price": "", "availability": "null", "link": " "}
    product, warnings = one(row, mapping)
    assert {name for name, value in product.items() if value is not None} == {"id", "title"}
    assert warnings == {}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"title": "a"}, "no_id"),
        ({"id": "  ", "title": "a"}, "no_id"),
        ({"id": "x\x07", "title": "a"}, "bad_id"),
        ({"id": "\ud800", "title": "a"}, "bad_id"),
        ({"id": "x" * 257, "title": "a"}, "bad_id"),
        ({"id": 1}, "no_title"),
        ({"id": 1, "title": "<p> </p>"}, "no_title"),
        ({"id": 1, "title": {"en": "a"}}, "nested_value"),
        ({"id": "4.00638E+12", "title": "a"}, "rounded_number"),
    ],
)
def test_impossible_rows_are_quarantined_with_their_reason(tmp_path: Path, row: Row, reason: str) -> None:
    good = [{"id": f"g{i}", "title": "good"} for i in range(9)]
    result = run(tmp_path, [good[0], row, *good[1:]])
    (entry,) = quarantine(result)
    assert (entry["row_number"], entry["reason"]) == (2, reason)
    assert entry["detail"]
    assert entry["raw"] is not None
    assert result.report.rejected == {reason: 1}
    assert (result.report.rows_read, result.report.kept) == (10, 9)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"price": "-1"}, "price: negative_price"),
        ({"price": "Call for price"}, "price: bad_price"),
        ({"price": "1", "currency": "doubloons"}, "price: bad_currency"),
        ({"price": "1 USD", "currency": "EUR"}, "price: ambiguous_price"),
        ({"price": {"value": 1}}, "price: nested_value"),
        ({"availability": "maybe"}, "availability: unknown_availability"),
        ({"gtin": "5.90123E+12"}, "gtin: rounded_number"),
        ({"description": {"en": "a"}}, "description: nested_value"),
        ({"item_group_id": "4.00638E+12"}, "item_group_id: rounded_number"),
    ],
)
def test_a_value_that_cannot_be_read_costs_no_product(tmp_path: Path, given: Row, what: str) -> None:
    result = run(tmp_path, [{"id": 1, "title": "a"} | given], max_rejected=0)
    (product,) = products(result)
    assert {name for name, value in product.items() if value is not None} == {"id", "title"}
    assert (result.report.rejected, result.report.dropped) == ({}, {what: 1})
    assert result.report.examples[what]
    assert quarantine(result) == []


def test_ids_of_a_number_column_lose_their_decimals_where_all_have_them(tmp_path: Path) -> None:
    rows: list[Row] = [{"id": f"{i}.0", "title": f"t{i}", "item_group_id": f"{i % 2}.0"} for i in (3, 1, 2, 1)]
    result = run(tmp_path, rows)
    assert [(p["id"], p["title"], p["item_group_id"]) for p in products(result)] == [
        ("3", "t3", "1"),
        ("2", "t2", "0"),
        ("1", "t1", "1"),
    ]
    assert [entry["id"] for entry in quarantine(result)] == ["1"]
    kept = run(tmp_path, [*rows, {"id": "x", "title": "t"}])
    assert [p["id"] for p in products(kept)] == ["3.0", "2.0", "1.0", "x"]


def test_the_quarantine_keeps_the_id_and_the_row(tmp_path: Path) -> None:
    rows: list[Row] = [{"id": f"g{i}", "title": "good"} for i in range(9)]
    bad = {"id": "b", "title": " " * 5000}
    (entry,) = quarantine(run(tmp_path, [*rows, bad]))
    assert entry["id"] == "b"
    assert entry["raw"] == json.dumps(bad)[:2000]
    assert entry["reason"] == "no_title"


def test_of_repeated_ids_the_last_wins_in_its_own_place(tmp_path: Path) -> None:
    rows = [{"id": name, "title": f"{name}{i}"} for i, name in enumerate("abacbda", 1)]
    result = run(tmp_path, rows, max_rejected=0)
    assert [product["title"] for product in products(result)] == ["c4", "b5", "d6", "a7"]
    entries = [(e["row_number"], e["id"], e["detail"]) for e in quarantine(result)]
    assert entries == [
        (1, "a", "row 7 has the same id and comes later"),
        (2, "b", "row 5 has the same id and comes later"),
        (3, "a", "row 7 has the same id and comes later"),
    ]
    assert (result.report.repeated, result.report.kept, result.report.rejected) == (3, 4, {})
    assert {path.name for path in result.columns.parent.iterdir()} == {"products.arrow", "quarantine.parquet"}


def test_a_rejected_row_replaces_no_earlier_one(tmp_path: Path) -> None:
    rows: list[Row] = [{"id": "a", "title": "kept"}, {"id": "b", "title": "b"}, {"id": "a", "title": ""}]
    result = run(tmp_path, rows, max_rejected=0.5)
    assert [product["title"] for product in products(result)] == ["kept", "b"]
    assert [(e["row_number"], e["id"], e["reason"]) for e in quarantine(result)] == [(3, "a", "no_title")]


def test_patterns_of_attributes_count_without_fields_too(tmp_path: Path) -> None:
    rows: list[Row] = [{"id": 1, "title": "a", "x_a": "A"}]
    (product,) = products(run(tmp_path, rows, {"attributes": {"include": "x_*"}}))
    assert product["attributes"] == [("x_a", "A")]
    with pytest.raises(FeedError, match="'y_\\*' matches no column"):
        run(tmp_path, rows, {"attributes": {"include": "y_*"}})


def test_the_counts_can_be_written_whatever_the_names(tmp_path: Path) -> None:
    report = run(tmp_path, [{"id": 1, "title": "a", "\ud800": 1}]).report
    assert report.unused_columns == ["?"]
    report.model_dump_json()


@pytest.mark.parametrize("repeats", [0, 3])
def test_batches_are_whole_and_in_order(tmp_path: Path, repeats: int) -> None:
    count = BATCH_ROWS + 100
    rows = [{"id": i, "title": f"t{i}"} for i in range(count)]
    result = run(tmp_path, rows[:repeats] + rows)
    sizes = [batch.num_rows for batch in ProductTable(result.columns).batches()]
    assert sizes == [BATCH_ROWS, 100]
    assert ProductTable(result.columns).ids() == [str(i) for i in range(count)]


def test_last_places_against_a_dictionary() -> None:
    values = np.random.default_rng(3).integers(0, 200, 1000)
    digests = bytearray(b"".join(hashlib.blake2b(str(v).encode(), digest_size=16).digest() for v in values))
    latest = {value: place for place, value in enumerate(values)}
    assert _last_of_each(digests).tolist() == [latest[value] for value in values]


def test_a_feed_that_loses_too_much_says_why(tmp_path: Path) -> None:
    rows: list[Row] = [{"id": i, "title": "a"} for i in range(7)] + [{"id": 8}, {"id": 9}, {"title": "a"}]
    assert run(tmp_path, rows, max_rejected=0.3).report.rejected_share == pytest.approx(0.3)
    with pytest.raises(FeedError) as caught:
        run(tmp_path, rows, max_rejected=0.29)
    assert "3 of 10 rows (30.0%)" in str(caught.value)
    assert "no_title 2, no_id 1" in str(caught.value)
    assert pq.read_metadata(tmp_path / "work" / "quarantine.parquet").num_rows == 3
    assert not list((tmp_path / "work").glob("*.spill*"))


def test_a_feed_that_yields_nothing(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match=r"none of its 1 rows is a product \(no_title 1\)"):
        run(tmp_path, [{"id": 1, "title": ""}], max_rejected=1)
    path = tmp_path / "feed.csv"
    path.write_text("id,title\n")
    with pytest.raises(FeedError, match="holds no rows"):
        clean_feed(path, FeedMapping(), tmp_path / "work")


def test_a_mapped_column_that_never_comes_is_an_error(tmp_path: Path) -> None:
    mapping = {"fields": {"id": "id", "title": "title", "brand": "brnd"}}
    with pytest.raises(FeedError, match="did you mean 'brand'"):
        run(tmp_path, [{"id": 1, "title": "a", "brand": "b"}], mapping)
    path = tmp_path / "feed.csv"
    path.write_text("id,title,brand\n1,a,b\n")
    with pytest.raises(FeedError, match="did you mean 'brand'"):
        clean_feed(path, FeedMapping.model_validate(mapping), tmp_path / "work")


def test_keys_beyond_the_sampled_rows_are_still_read(tmp_path: Path) -> None:
    rows: list[Row] = [{"id": i, "title": "a"} for i in range(1500)] + [
        {"id": "z", "title": "b", "color": "red", "x": 1}
    ]
    result = run(tmp_path, rows)
    assert products(result)[-1]["color"] == "red"
    assert result.report.unused_columns == ["x"]


def test_malformed_rows_count_as_rejected(tmp_path: Path) -> None:
    path = tmp_path / "feed.csv"
    path.write_text("id,title\n" + "".join(f"{i},t\n" for i in range(9)) + "broken\n")
    result = clean_feed(path, FeedMapping(), tmp_path / "work")
    assert result.report.rejected == {"malformed_csv": 1}
    assert quarantine(result)[0]["raw"] == "broken\n"
    assert quarantine(result)[0]["row_number"] == 10


def test_progress_ends_at_the_total(tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    run(tmp_path, [{"id": i, "title": "a"} for i in range(9000)], report=lambda done, total: seen.append((done, total)))
    assert len(seen) > 1
    size = (tmp_path / "feed.jsonl").stat().st_size
    assert seen[-1] == (size, size)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_an_arrow_map_gives_attributes(tmp_path: Path) -> None:
    schema = pa.schema([("id", pa.string()), ("title", pa.string()), ("attributes", pa.map_(pa.string(), pa.string()))])
    path = tmp_path / "feed.parquet"
    pq.write_table(pa.Table.from_pylist([{"id": "1", "title": "a", "attributes": [("k", "v")]}], schema), path)
    (product,) = products(clean_feed(path, FeedMapping(), tmp_path / "work"))
    assert product["attributes"] == [("k", "v")]
