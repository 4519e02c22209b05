"""The lexical index of a catalog: which fields it has, and that a catalog of many languages gets one."""

from pathlib import Path

import numpy as np
from builders import product, write_columns
from wordings import lexical_index, titles

from catalog.table import ProductTable
from core.progress import ignore
from engine.lexical.index import LexicalQuery, QueryTerm, lexical_files
from indexer.lexical import index_words
from indexer.product_words import FIELDS
from text.synonyms import Synonyms
from text.terms import Word


def test_only_fields_that_hold_something_are_indexed(tmp_path: Path) -> None:
    columns = ProductTable(
        write_columns(tmp_path / "c.arrow", [product("1", "drill"), product("2", "saw", brand="Bosch")])
    )
    report = index_words(columns, "en", Synonyms(), tmp_path / "lexical", ignore)
    fields = list(report.weights)
    assert fields == ["title", "brand", "codes"] and report.terms == 5
    assert {path.name for path in (tmp_path / "lexical").iterdir()} == set(lexical_files(fields))


def test_every_field_has_its_place(tmp_path: Path) -> None:
    rows = [
        product(
            "id9",
            "t1",
            description="d1",
            brand="b1",
            product_type="y1",
            color="c1",
            size="s1",
            material="m1",
            gtin="g1",
            attributes=[("name", "a1")],
        )
    ]
    index = lexical_index(tmp_path, rows)
    assert index.fields == tuple(FIELDS)  # it states no quantity
    expected = {
        "title": ["t1"],
        "brand": ["b1"],
        "product_type": ["y1"],
        "attributes": ["c1", "s1", "m1", "a1"],
        "description": ["d1"],
        "codes": ["id9", "g1"],
    }
    for place, field in enumerate(index.fields):
        for word in (word for words in expected.values() for word in words):
            number = index.terms.find(word)
            assert number is not None
            query = LexicalQuery((Word(word, word),), (QueryTerm(number, 1.0, (0,)),))
            result = index.evidence(query, np.array([0])).scores[0, place] > 0
            assert result == (word in expected[field]), (word, field)


def test_a_title_or_an_attribute_that_is_a_code_alone_is_one_of_its_codes(tmp_path: Path) -> None:
    attributes = [("model", "XR-500b"), ("for", "AB-123c and AB-124c"), ("power", "1200W"), ("kind", "drill")]
    index = lexical_index(tmp_path, [product("1", "DW-745s", attributes=attributes)])
    place = index.fields.index("codes")
    for term, own in {"xr500b": True, "dw745s": True, "ab123c": False, "1200w": False, "drill": False}.items():
        number = index.terms.find(term)
        assert number is not None, term
        query = LexicalQuery((Word(term, term),), (QueryTerm(number, 1.0, (0,)),))
        assert (index.evidence(query, np.array([0])).scores[0, place] > 0) == own, term


def test_a_product_without_words_is_found_by_none(tmp_path: Path) -> None:
    index = lexical_index(tmp_path, titles("!!!", "drill", "???"))
    number = index.terms.find("drill")
    assert number is not None
    assert index.search([QueryTerm(number, 1.0, (0,))], {"title": 1.0}, 5).rows.tolist() == [1]


def test_a_catalog_without_any_word_has_an_empty_index(tmp_path: Path) -> None:
    index = lexical_index(tmp_path, [product("-", "!!!")])
    assert index.fields == () and len(index.terms) == 0 and index.terms.find("drill") is None
    assert len(index.search([], {"title": 1.0}, 5).rows) == 0


def test_the_catalogs_language_decides_how_words_are_cut(tmp_path: Path) -> None:
    assert lexical_index(tmp_path, titles("bohrmaschinen"), "de").terms.find("bohrmaschin") is not None


def test_the_same_catalog_makes_the_same_files(tmp_path: Path) -> None:
    rows = [*titles("red drill", "blue saw red"), product("x", "hammer", description="a red hammer")]
    columns = ProductTable(write_columns(tmp_path / "c.arrow", rows))
    for name in ("one", "two"):
        fields = list(index_words(columns, "en", Synonyms(), tmp_path / name, ignore).weights)
    for name in lexical_files(fields):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
