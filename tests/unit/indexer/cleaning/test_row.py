from decimal import Decimal
from typing import Any

import pytest

from catalog.product import CATALOG_SCHEMA
from indexer.cleaning.mapping import FeedMapping
from indexer.cleaning.rejection import InvalidValue
from indexer.cleaning.row import ATTRIBUTE_LIMIT, ID_LIMIT, LIMITS, RowCleaner

Row = dict[str, Any]
BASE: Row = {"id": "id", "title": "title"}


def cleaner(fields: Row | None = None, **sections: Any) -> RowCleaner:
    return RowCleaner(FeedMapping.model_validate({"fields": BASE | (fields or {}), **sections}))


def clean(row: Row, fields: Row | None = None, **sections: Any) -> Row:
    values = cleaner(fields, **sections).clean({"id": "1", "title": "a"} | row)
    return dict(zip(CATALOG_SCHEMA.names, values, strict=True))


def dropped(row: Row, fields: Row, **sections: Any) -> dict[str, int]:
    """Counts of what was left out of the product, of which the values are none."""
    job = cleaner(fields, **sections)
    product = dict(zip(CATALOG_SCHEMA.names, job.clean({"id": "1", "title": "a"} | row), strict=True))
    assert {name for name, value in product.items() if value is not None} == {"id", "title"}
    assert job.examples.keys() == job.dropped.keys()
    return dict(job.dropped)


def reason(row: Row, fields: Row | None = None, **sections: Any) -> str:
    with pytest.raises(InvalidValue) as caught:
        clean(row, fields, **sections)
    return caught.value.reason


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("007", "007"),
        (" a b ", "a b"),
        (7, "7"),
        (7.0, "7"),
        (2.0**52 + 1, "4503599627370497"),
        (["", None, "x", "y"], "x"),
        (b"ab", "ab"),
        (Decimal("12"), "12"),
        ("<b>", "<b>"),  # ids are not ours to change
        ("é\u200b", "é\u200b"),
        ("x" * ID_LIMIT, "x" * ID_LIMIT),
    ],
)
def test_ids_stay_what_they_are(value: Any, name: str) -> None:
    assert clean({"id": value})["id"] == name
    assert cleaner().name({"id": value}) == name


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("", "no_id"),
        (None, "no_id"),
        ("N/A", "no_id"),
        (float("nan"), "no_id"),
        ([], "no_id"),
        ("x" * (ID_LIMIT + 1), "bad_id"),
        ("a\tb", "bad_id"),
        ("a\x7f", "bad_id"),
        ("\udc80", "bad_id"),
        ({"v": 1}, "nested_value"),
        (b"\xff", "undecodable"),
        (1e16, "rounded_number"),  # floats of this size do not hold every whole number
    ],
)
def test_ids_that_are_none(value: Any, why: str) -> None:
    assert reason({"id": value}) == why
    assert cleaner().name({"id": value}) is None


def test_fields_that_are_not_mapped_stay_empty() -> None:
    product = clean({"brand": "Acme", "price": 5})
    assert product["brand"] is None
    assert {name for name, value in product.items() if value is not None} == {"id", "title"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("<b>A</b> &amp; B", "A & B"),
        ("cafe\u0301", "café"),
        (5, "5"),
        (["x", "y"], "x"),
        (" null ", None),
        ("\x00", None),
    ],
)
def test_texts_are_cleaned(value: Any, text: str | None) -> None:
    assert clean({"b": value}, {"brand": "b"})["brand"] == text


def test_lists_are_joined_as_their_field_reads() -> None:
    fields = {"product_type": "t", "color": "c", "description": "d"}
    product = clean({"t": ["A", None, "B"], "c": ["red", "blue"], "d": ["x.", "y."]}, fields)
    assert (product["product_type"], product["color"], product["description"]) == ("A > B", "red/blue", "x. y.")


def test_columns_are_joined_without_the_empty_ones() -> None:
    fields = {"title": {"columns": ["a", "b", "c"], "join": " - "}, "id": {"columns": ["x", "y"], "join": ":"}}
    product = clean({"a": "A", "b": "", "c": "C", "x": 1, "y": 2}, fields)
    assert (product["title"], product["id"]) == ("A - C", "1:2")


def test_constants_fill_every_row() -> None:
    product = clean({"p": "5"}, {"brand": {"constant": "Acme"}, "currency": {"constant": "EUR"}, "price": "p"})
    assert (product["brand"], product["price_micros"], product["currency"]) == ("Acme", 5_000_000, "EUR")


def test_dotted_names_reach_into_objects() -> None:
    fields = {"brand": "a.b.c"}
    assert clean({"a": {"b": [{"c": "X"}]}}, fields)["brand"] == "X"
    assert clean({"a.b.c": "Y", "a": {"b": {"c": "X"}}}, fields)["brand"] == "Y"  # a column of that name goes first
    assert clean({"a.b.c": None, "a": {"b": {"c": "X"}}}, fields)["brand"] is None
    assert clean({"a": "text"}, fields)["brand"] is None


def test_what_is_too_long_is_cut_and_counted() -> None:
    job = cleaner({"brand": "b"}, attributes={"include": "x"})
    row = {"id": 1, "title": "w" * (LIMITS["title"] + 1), "b": "y" * LIMITS["brand"], "x": "z" * (ATTRIBUTE_LIMIT + 1)}
    product = dict(zip(CATALOG_SCHEMA.names, job.clean(row), strict=True))
    assert product["title"] == "w" * 1000
    assert product["brand"] == "y" * 200
    assert product["attributes"] == [("x", "z" * 500)]
    assert job.warnings == {"title_cut": 1, "attribute_cut": 1}


@pytest.mark.parametrize(
    ("value", "micros"),
    [
        ("1.234,56", 1_234_560_000),
        ("12,99 €", 12_990_000),
        ("12,99&nbsp;&euro;", 12_990_000),
        ("<b>12</b>.99", 12_990_000),
        ("€\u200b5", 5_000_000),
        (0, 0),
        ([None, 7], 7_000_000),
        (Decimal("1.50"), 1_500_000),
        ("", None),
        (" - ", None),
        (None, None),
        (float("nan"), None),
        (Decimal("NaN"), None),
    ],
)
def test_prices(value: Any, micros: int | None) -> None:
    product = clean({"p": value}, {"price": "p"}, catalog={"currency": "EUR"})
    assert (product["price_micros"], product["currency"]) == (micros, "EUR" if micros is not None else None)


def test_cents_are_scaled() -> None:
    assert clean({"p": "1999"}, {"price": {"column": "p", "scale": 0.01}})["price_micros"] == 19_990_000


def test_the_rows_currency_goes_before_the_catalogs() -> None:
    fields = {"price": "p", "currency": "c"}
    assert clean({"p": "5", "c": "usd"}, fields, catalog={"currency": "EUR"})["currency"] == "USD"
    assert clean({"p": "5", "c": "&euro;"}, fields)["currency"] == "EUR"
    assert clean({"p": "5", "c": ""}, fields, catalog={"currency": "EUR"})["currency"] == "EUR"
    assert clean({"p": "5", "c": "$"}, fields, catalog={"currency": "CAD"})["currency"] == "CAD"
    assert dropped({"p": "5 USD", "c": "EUR"}, fields) == {"price: ambiguous_price": 1}
    assert dropped({"p": "5", "c": "doubloons"}, fields) == {"price: bad_currency": 1}


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("free", "bad_price"),
        (-5, "negative_price"),
        (True, "bad_price"),
        ({"a": 1}, "nested_value"),
        ("9" * 2_000_000, "absurd_price"),
    ],
)
def test_prices_that_cannot_be(value: Any, why: str) -> None:
    assert dropped({"p": value}, {"price": {"column": "p", "scale": 0.01}}) == {f"price: {why}": 1}


def test_availability_reads_words_with_markup() -> None:
    assert clean({"a": "In&nbsp;Stock"}, {"availability": "a"})["availability"] == "in_stock"
    assert dropped({"a": "maybe"}, {"availability": "a"}) == {"availability: unknown_availability": 1}


def test_a_wrong_gtin_or_link_is_dropped_and_counted() -> None:
    job = cleaner({"gtin": "g", "link": "l", "image_link": "i"})
    row = {"id": 1, "title": "a", "g": "4006381333932", "l": "ftp://x", "i": "https://x.example/" + "a" * 5000}
    product = dict(zip(CATALOG_SCHEMA.names, job.clean(row), strict=True))
    assert (product["gtin"], product["link"], product["image_link"]) == (None, None, None)
    assert job.dropped == {"gtin: bad_gtin": 1, "link: no_link": 1, "image_link: no_link": 1}


def test_popularity_is_a_number_or_dropped_and_counted() -> None:
    job = cleaner({"popularity": "sold"})
    given = (7, "1.5", 0, None, "", "-", "lots", True)
    names = CATALOG_SCHEMA.names
    result = [dict(zip(names, job.clean({"id": "1", "title": "t", "sold": value}), strict=True)) for value in given]
    assert [product["popularity"] for product in result] == [7.0, 1.5, 0.0, None, None, None, None, None]
    assert job.dropped == {"popularity: no_number": 2}


def test_of_a_value_of_a_megabyte_only_the_beginning_is_cleaned(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []
    monkeypatch.setattr("indexer.cleaning.row.clean_text", lambda text: lengths.append(len(text)) or text)
    fields = {name: name for name in ("brand", "description", "price", "availability", "popularity")}
    clean(dict.fromkeys(["title", *fields, "x"], "a\u0301" * 500_000), fields, attributes={"include": "x"})
    assert len(lengths) == 8  # the attribute's name, too
    assert sorted(lengths)[-1] == 50_000  # the description; no other more than
    assert sorted(lengths)[-2] == 5000


@pytest.mark.parametrize(
    ("value", "pairs"),
    [
        ("v", [("x", "v")]),
        (True, [("x", "yes")]),
        (["a", None, 2], [("x", "a, 2")]),
        ({"k": 1, "n": None}, [("k", "1")]),
        ([("k", "v"), ("l", 2.5)], [("k", "v"), ("l", "2.5")]),  # an Arrow map
        ({"k": {"l": 1}}, [("k", '{"l": 1}')]),
        ("<p></p>", None),
        (float("nan"), None),
    ],
)
def test_attributes(value: Any, pairs: list[tuple[str, str]] | None) -> None:
    assert clean({"x": value}, attributes={"include": ["x"]})["attributes"] == pairs


def test_attributes_of_one_name_are_joined_unless_they_are_equal() -> None:
    row = {"n_w": "1", "t_w": "2", "n_c": "3", "t_c": "3"}
    product = clean(row, attributes={"include": ["n_*", "t_*"], "strip_prefix": ["n_", "t_"]})
    assert product["attributes"] == [("w", "1, 2"), ("c", "3")]


def test_attributes_come_in_the_order_of_their_patterns_and_then_of_the_row() -> None:
    row = {"t_b": "1", "t_a": "2", "n_a": "3", "main": "4"}
    product = clean(row, attributes={"include": ["main", "n_*", "t_*"]})
    assert product["attributes"] == [("main", "4"), ("n_a", "3"), ("t_b", "1"), ("t_a", "2")]


def test_a_product_has_200_attributes_at_most_and_short_names() -> None:
    job = cleaner(attributes={"include": ["*"]})

    def attributes(row: Row) -> list[tuple[str, str]]:
        return dict(zip(CATALOG_SCHEMA.names, job.clean({"id": 1, "title": "t", **row}), strict=True))["attributes"]

    many = {f"a{i}": str(i) for i in range(260)}
    assert attributes(many) == [(f"a{i}", str(i)) for i in range(200)]
    assert attributes({"x": many, "y": "1"}) == [(f"a{i}", str(i)) for i in range(200)]  # members of an object too
    assert job.warnings == {"attributes_beyond_200": 2}
    assert len(attributes({f"a{i}": "v" for i in range(200)} | {"empty": ""})) == 200
    assert job.warnings == {"attributes_beyond_200": 2}
    assert attributes({"n" * 101: "v", "m" * 100: "w"}) == [("n" * 100, "v"), ("m" * 100, "w")]


def test_attributes_of_one_name_are_no_longer_together() -> None:
    row = {f"{i}_w": f"{i}" * 300 for i in range(9)}
    product = clean(row, attributes={"include": ["*"], "strip_prefix": [f"{i}_" for i in range(9)]})
    [(name, value)] = product["attributes"]
    assert name == "w" and len(value) == 500 and value.startswith("0" * 300 + ", " + "1" * 198)


def test_reads_tells_what_the_mapping_uses() -> None:
    job = cleaner({"price": "offer.price"}, attributes={"include": ["x_*"], "exclude": ["x_no*"]})
    used = [name for name in ("id", "offer", "offer.price", "x_a", "x_none", "other") if job.reads(name)]
    assert used == ["id", "offer", "offer.price", "x_a"]
