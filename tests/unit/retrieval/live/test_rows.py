"""Rows of changes: cleaned as a feed's, or rejected with a reason."""

from typing import Any

import pytest
from builders import entry, make_manifest

from catalog.changes import ChangeKind
from retrieval.live.rows import ChangeCleaner


@pytest.fixture
def cleaner() -> ChangeCleaner:
    return ChangeCleaner(make_manifest({"encoder/m": entry("a")}, {"products.arrow": entry("b")}, currency="EUR"))


def test_a_row_is_cleaned_as_a_feeds(cleaner: ChangeCleaner) -> None:
    row = {"sku": 12, "name": "Lamp &amp; <b>shade</b>", "price": "1.299,50", "stock": "sold out", "colour": "red"}
    cleaned = cleaner.upsert(row, version=4)
    assert cleaned.change is not None and not cleaned.dropped
    assert (cleaned.change.kind, cleaned.change.product_id, cleaned.change.version) == (ChangeKind.upsert, "12", 4)
    product = cleaned.change.product
    assert product is not None
    assert (product["title"], product["price_micros"], product["currency"]) == ("Lamp & shade", 1_299_500_000, "EUR")
    assert (product["availability"], product["color"], product["brand"]) == ("out_of_stock", "red", None)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"id": "a", "title": "  "}, "no_title"),
        ({"id": "", "title": "x"}, "no_id"),
        ({"id": "a" * 300, "title": "x"}, "bad_id"),
        ({"id": "a"}, "no_product"),
        ({}, "no_product"),
    ],
)
def test_what_is_no_product_is_rejected_with_a_reason(cleaner: ChangeCleaner, row: dict[str, Any], reason: str) -> None:
    cleaned = cleaner.upsert(row)
    assert cleaned.change is None and cleaned.reason == reason and cleaned.detail


def test_a_value_that_cannot_be_read_is_left_out_and_named(cleaner: ChangeCleaner) -> None:
    cleaned = cleaner.upsert({"id": "a", "title": "x", "price": "ask us"})
    assert cleaned.change is not None and cleaned.change.product is not None
    assert cleaned.change.product["price_micros"] is None
    assert [name.partition(":")[0] for name in cleaned.dropped] == ["price"]
    assert not cleaner.upsert({"id": "a", "title": "x", "price": "3"}).dropped, "it is of the row before"


def test_an_update_names_what_changes_alone(cleaner: ChangeCleaner) -> None:
    cleaned = cleaner.update("a", {"price": 3, "availability": None, "attributes.ram": "16 GB", "attributes.cpu": None})
    assert cleaned.change is not None
    assert cleaned.change.product == {
        "price_micros": 3_000_000,
        "currency": "EUR",
        "availability": None,
        "attributes.ram": "16 GB",
        "attributes.cpu": None,
    }


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "no_fields"),
        ({"id": "b"}, "unknown_field"),
        ({"prize": 3}, "unknown_field"),
        ({"title": ""}, "no_title"),
        ({"currency": "USD"}, "no_price"),
        ({"attributes.": "x"}, "unknown_field"),
    ],
)
def test_fields_that_cannot_change_reject_the_update(
    cleaner: ChangeCleaner, fields: dict[str, Any], reason: str
) -> None:
    cleaned = cleaner.update("a", fields)
    assert cleaned.change is None and cleaned.reason == reason


def test_a_price_that_cannot_be_read_does_not_clear_the_price(cleaner: ChangeCleaner) -> None:
    cleaned = cleaner.update("a", {"price": "ask us"})
    assert cleaned.change is None and "price" in cleaned.detail
    again = cleaner.update("a", {"price": "7"})
    assert again.change is not None
