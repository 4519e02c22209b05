import pytest
from builders import product

from catalog.product import AVAILABILITIES, CATALOG_SCHEMA, TEXT_FIELDS, Product, product_text


def test_a_title_alone_is_the_text() -> None:
    assert product_text({"title": "Red kettle"}) == "Red kettle"


def test_every_part_in_its_order() -> None:
    row = product(
        "1",
        "Kettle",
        brand="Acme",
        product_type="Home > Kitchen",
        color="red",
        size="1.7 l",
        material="steel",
        attributes=[("power_source", "gas"), ("weight", "2 kg")],
        description="Boils fast.",
    )
    assert product_text(row) == (
        "Kettle. Acme. Home > Kitchen. red. 1.7 l. steel. power source: gas. weight: 2 kg. Boils fast."
    )


def test_what_the_title_or_an_earlier_part_holds_is_not_repeated() -> None:
    row = product("1", "ACME Kettle, Red", brand="Acme", product_type="Kettle bells", color="RED", size="bells")
    assert product_text(row) == "ACME Kettle, Red. Kettle bells"


def test_attributes_are_told_once_and_at_most_twelve() -> None:
    pairs = [("color", "Red"), *((f"name_{i}", f"value {chr(97 + i)}") for i in range(13))]
    parts = product_text(product("1", "Red kettle", attributes=pairs)).split(". ")
    # "Red" counts among the twelve looked at, but the title holds it already.
    assert parts == ["Red kettle", *(f"name {i}: value {chr(97 + i)}" for i in range(11))]


def test_attributes_may_be_a_mapping_or_pairs() -> None:
    as_pairs = product("1", attributes=[("a", "b"), ("c", "d")])
    as_mapping = product("1", attributes={"a": "b", "c": "d"})
    assert product_text(as_pairs) == product_text(as_mapping) == "thing. a: b. c: d"


def test_a_description_is_cut_and_stands_last() -> None:
    text = product_text(product("1", "T", description="x" * 1000, attributes=[("n", "v")]))
    assert text == "T. n: v. " + "x" * 320


@pytest.mark.parametrize("name", ["brand", "product_type", "color", "size", "material", "description", "attributes"])
def test_an_empty_part_leaves_no_mark(name: str) -> None:
    assert product_text(product("1", "T", **{name: [] if name == "attributes" else ""})) == "T"


def test_price_and_stock_stay_out_of_the_text() -> None:
    row = product("1", "T", price_micros=1_000_000, currency="EUR", availability="in_stock", gtin="123", link="https")
    assert product_text(row) == "T"


def test_the_product_has_the_columns_of_the_schema() -> None:
    assert list(Product.__dataclass_fields__) == CATALOG_SCHEMA.names
    assert set(TEXT_FIELDS) < set(CATALOG_SCHEMA.names)
    assert set(AVAILABILITIES) == {"in_stock", "out_of_stock", "preorder", "backorder"}
