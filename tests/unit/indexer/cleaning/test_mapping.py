import os
from decimal import Decimal
from pathlib import Path

import pytest

from core.errors import FeedError
from indexer.cleaning.mapping import (
    AttributeRules,
    CatalogSettings,
    FeedMapping,
    FieldSource,
    default_mapping,
    load_mapping,
)

WHOLE = """
[catalog]
name = "shop"
language = "de"
country = "DE"
currency = "EUR"
[fields]
id = "sku"
title = { columns = ["name", "colour"], join = ", " }
price = { column = "offer.cents", scale = 0.01 }
brand = { constant = "Acme" }
[attributes]
include = ["attr_main", "attr_*"]
exclude = ["attr_internal*"]
strip_prefix = "attr_"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "map.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_whole_mapping(tmp_path: Path) -> None:
    mapping = load_mapping(write(tmp_path, WHOLE))
    assert mapping.catalog == CatalogSettings(name="shop", language="de", country="DE", currency="EUR")
    assert mapping.fields["title"].columns == ("name", "colour")
    assert mapping.fields["title"].join == ", "
    assert mapping.fields["price"].scale == Decimal("0.01")
    assert mapping.fields["brand"].constant == "Acme"
    assert mapping.sources == {"sku", "name", "colour", "offer.cents", "offer"}
    assert mapping.attributes.match("attr_main") == (0, "main")
    assert mapping.attributes.match("attr_weight__max_") == (1, "weight_max")
    assert mapping.attributes.match("attr_internal_cost") is None
    assert mapping.attributes.match("other") is None


def test_an_empty_file_takes_every_default(tmp_path: Path) -> None:
    mapping = load_mapping(write(tmp_path, ""))
    assert mapping == FeedMapping()
    assert (mapping.catalog.name, mapping.catalog.language) == ("default", "en")


BASE = '[fields]\nid = "a"\ntitle = "b"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[catalogue]\n", "unknown name 'catalogue'; did you mean 'catalog'?"),
        ('[catalog]\nlangauge = "en"', "did you mean 'language'?"),
        ('[catalog]\ncurrency = "euro"', "catalog.currency"),
        (BASE + 'colour = "c"', "unknown name 'colour'; did you mean 'color'?"),
        (BASE + 'price = { colum = "c" }', "fields.price: unknown name 'colum'; did you mean 'column'?"),
        (BASE + 'price = { column = "c", constant = "1" }', "give one of column, columns and constant"),
        (BASE + "price = { scale = 2 }", "give one of column, columns and constant"),
        (BASE + "brand = 5", "fields.brand"),
        (BASE + 'price = { column = "c", scale = 0 }', "fields.price.scale"),
        (BASE + 'brand = { column = "c", scale = 2 }', "fields.brand: scale and decimal are for price alone"),
        ('[fields]\nid = "a"', "fields: no title"),
        (BASE + "brand = { columns = [] }", "fields.brand: columns names none"),
        ('[fields]\nid = { constant = "1" }\ntitle = "b"', "fields.id: a constant would make all rows one product"),
        ('[catalog]\ncurrency = "EUX"', "catalog.currency: 'EUX' is no ISO 4217 code"),
        ('[catalog]\nlanguage = "german"', "catalog.language: 'german' is no language; give its ISO 639 code"),
        ('[catalog]\nlanguage = ""', "catalog.language"),
        ("[fields\n", "not TOML"),
        ('[attributes]\ninclude = ["*"]\nexlude = []', "did you mean 'exclude'?"),
    ],
)
def test_what_cannot_be_meant_is_told_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FeedError) as caught:
        load_mapping(write(tmp_path, text))
    assert message in str(caught.value)
    assert "map.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_mapping_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="cannot be read"):
        load_mapping(tmp_path / "none.toml")


def test_types_are_declared_by_field(tmp_path: Path) -> None:
    declared = '\n[types]\n"attributes.Cable length" = "number"\ncolor = "string"\n'
    assert load_mapping(write(tmp_path, WHOLE + declared)).types == {
        "attributes.Cable length": "number",
        "color": "string",
    }
    assert load_mapping(write(tmp_path, WHOLE)).types == {}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('"attributes.x" = "numbr"', r"types: 'attributes.x': unknown type 'numbr'; did you mean 'number'\?"),
        ('"attributes.x" = "text"', "types: 'attributes.x': unknown type 'text'"),
        ('voltage = "number"', "types: 'voltage' .*; write \"attributes.voltage\" for an attribute; there is brand"),
        ('price = "number"', "types: 'price' has its own type, or is no field; there is brand, color, size, material"),
        ('"attributes." = "number"', "types: 'attributes.' has its own type"),
        ('"attributes.x" = 5', r"types\.attributes\.x: Input should be a valid string"),
    ],
)
def test_types_that_cannot_be_meant_are_refused(tmp_path: Path, line: str, problem: str) -> None:
    with pytest.raises(FeedError, match=problem):
        load_mapping(write(tmp_path, f"{WHOLE}\n[types]\n{line}\n"))


def test_columns_the_feed_lacks_are_named_with_the_closest(tmp_path: Path) -> None:
    mapping = load_mapping(write(tmp_path, WHOLE))
    mapping.check(["sku", "name", "colour", "offer", "attr_main", "attr_x"])
    with pytest.raises(FeedError, match=r"fields\.title: the feed has no column 'colour'; did you mean 'color'\?"):
        mapping.check(["sku", "name", "color", "offer", "attr_main", "attr_x"])
    with pytest.raises(FeedError, match=r"attributes\.include\[0\]: 'attr_main' matches no column"):
        mapping.check(["sku", "name", "colour", "offer", "attr_x"])


def test_defaults_find_merchant_names_and_aliases() -> None:
    fields = default_mapping(["Product ID", "g:title", "Manufacturer", "EAN", "colour", "units_sold", "name"]).fields
    columns = {name: source.columns for name, source in fields.items()}
    assert columns["id"] == ("Product ID",)
    assert columns["title"] == ("g:title",)  # an own name goes before an alias
    assert columns["brand"] == ("Manufacturer",)
    assert columns["gtin"] == ("EAN",)
    assert columns["color"] == ("colour",)
    assert columns["popularity"] == ("units_sold",)
    assert columns["material"] == ("material",)  # kept for rows that have it later


def test_defaults_keep_the_catalog_and_gather_an_attributes_column() -> None:
    mapping = default_mapping(["id", "title", "attributes"], CatalogSettings(currency="EUR"))
    assert mapping.catalog.currency == "EUR"
    assert mapping.attributes.match("attributes") == (0, "attributes")
    assert default_mapping(["id", "title"]).attributes.include == ()


@pytest.mark.parametrize(("columns", "field"), [(["title"], "id"), (["sku", "text"], "title"), ([], "id")])
def test_defaults_need_an_id_and_a_title(columns: list[str], field: str) -> None:
    with pytest.raises(FeedError, match=f"no column looks like the {field}"):
        default_mapping(columns)


def test_a_prefix_or_suffix_never_takes_the_whole_name() -> None:
    mapping = FeedMapping.model_validate(
        {"attributes": {"include": "*", "strip_prefix": ["attr_", "colour"], "strip_suffix": "_name"}}
    )
    assert mapping.attributes.match("colour") == (0, "colour")
    assert mapping.attributes.match("section_name") == (0, "section")
    assert mapping.attributes.match("___") == (0, "___")


def test_columns_may_be_one_name() -> None:
    assert FieldSource.model_validate({"columns": "name"}).columns == ("name",)


def test_messages_show_names_in_one_line() -> None:
    names = ["line\nof " + "x" * 100, *(f"c{i}" for i in range(30))]
    with pytest.raises(FeedError) as caught:
        default_mapping(names)
    assert str(caught.value).endswith(
        f"the columns are line of {'x' * 52}, " + ", ".join(f"c{i}" for i in range(19)) + ", ..."
    )


def test_defaults_keep_the_patterns_of_attributes() -> None:
    mapping = default_mapping(["id", "title", "attributes", "x_a"], None, AttributeRules(include=("x_*",)))
    assert mapping.attributes.match("x_a") == (0, "x_a")
    assert mapping.attributes.match("attributes") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = " + "[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ("a = " + "{a=" * 50_000 + "1" + "}" * 50_000, "nested too deeply"),
        (".".join("a" * 50_000) + " = 1", "nested too deeply"),
        ("[" + " . ".join(['"a"'] * 50_000) + "]", "nested too deeply"),
        ("# " + "x" * (1 << 20), "more than a mapping has"),
        (f"[fields]\nid = 'a'\ntitle = 'b'\nprice = {{ column = 'c', scale = {'9' * 5000} }}", "not TOML"),
        ("[fields]\nid = 'a'\ntitle = 'b'\nprice = { column = 'c', scale = '1E+999999' }", "fields.price.scale"),
        ("[catalog]\nencoding = 'klingon'", "catalog.encoding: 'klingon' is no text encoding"),
    ],
    ids=["lists", "tables", "dotted", "table", "large", "digits", "scale", "encoding"],
)
def test_what_no_mapping_is_costs_one_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "mapping.toml"
    path.write_text(text)
    with pytest.raises(FeedError, match=words) as caught:
        load_mapping(path)
    assert "\n" not in str(caught.value)


def test_a_folder_or_a_pipe_is_no_mapping(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(FeedError, match="cannot be read: it is no file"):
            load_mapping(path)


def test_a_locale_is_a_language(tmp_path: Path) -> None:
    assert load_mapping(write(tmp_path, '[catalog]\nlanguage = "pt_BR"')).catalog.language == "pt-BR"
