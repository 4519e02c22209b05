from pathlib import Path

import pytest
from builders import product, write_columns

from catalog.table import ProductTable
from core.errors import ReleaseError
from core.manifest import SuggestionReport
from core.progress import ignore
from engine.suggest.files import FILES, Entry
from engine.suggest.index import SuggestionIndex
from indexer.suggestions import (
    BRAND,
    PHRASE,
    PRODUCT_TYPE,
    QUERY,
    TITLE,
    past_queries,
    suggestion_entries,
    suggestion_files,
    write_catalog_suggestions,
)
from retrieval.suggest.complete import complete
from text.completion import prefix_key

ROWS = [
    product("1", "Acme oak table", brand="Acme", product_type="Home > Tables"),
    product("2", "Round oak table", brand="ACME", product_type="Home > Tables"),
    product("3", "Small oak table", brand="ACME", product_type="Home > Chairs"),
    product("4", "Oak", brand=None),
    product("5", "Oak", brand="Oak"),
    product("6", "x" * 101),
]


@pytest.fixture
def table(tmp_path: Path) -> ProductTable:
    return ProductTable(write_columns(tmp_path / "c.arrow", ROWS))


def by_key(entries: list[Entry]) -> dict[str, tuple[str, int, int]]:
    assert len({entry.key for entry in entries}) == len(entries)
    return {entry.key: (entry.text, entry.kind, entry.count) for entry in entries}


def test_types_brands_titles_and_phrases_serve_without_past_queries(table: ProductTable) -> None:
    entries = by_key(suggestion_entries(table, "en", {}, ignore))
    assert entries == {
        "home": ("Home", PRODUCT_TYPE, 3),
        "tables": ("Tables", PRODUCT_TYPE, 2),
        "chairs": ("Chairs", PRODUCT_TYPE, 1),
        "acme": ("ACME", BRAND, 3),
        "oak": ("Oak", BRAND, 1),  # the title "Oak" is found by the same letters
        "acme oak table": ("Acme oak table", TITLE, 1),
        "round oak table": ("Round oak table", TITLE, 1),
        "small oak table": ("Small oak table", TITLE, 1),
        "oak table": ("oak table", PHRASE, 3),
    }


def test_past_queries_come_with_their_counts_and_as_they_are_written_most(table: ProductTable) -> None:
    queries = {"Oak Table": 2, "oak table": 5, "caf\u00e9 chair": 3, "?!": 9}
    entries = by_key(suggestion_entries(table, "en", queries, ignore))
    assert entries["oak table"] == ("oak table", QUERY, 7) and entries["cafe chair"] == ("caf\u00e9 chair", QUERY, 3)


def test_phrases_end_in_words_of_content(tmp_path: Path) -> None:
    titles = [f"kettle for the kitchen {number}" for number in range(4)]
    rows = [product(str(number), title) for number, title in enumerate(titles)]
    table = ProductTable(write_columns(tmp_path / "c.arrow", rows))
    phrases = [e.text for e in suggestion_entries(table, "en", {}, ignore) if e.kind == PHRASE]
    assert phrases == []  # "kettle for the", "the kitchen" and "kitchen 3" are none


def test_an_index_is_written_served_and_read_back(table: ProductTable, tmp_path: Path) -> None:
    folder = tmp_path / "suggestions"
    queries = {"oak table": 7, "desk": 2}
    report = write_catalog_suggestions(table, "en", queries, folder, ignore)
    assert report is not None and report.entries == {"query": 2, "product_type": 3, "brand": 2, "title": 3, "phrase": 0}
    assert past_queries(folder, report) == queries
    assert {path.name for path in folder.iterdir()} == set(FILES)
    assert suggestion_files(folder)["suggestions/keys.npy"] == folder / "keys.npy"
    first = complete(SuggestionIndex(folder), prefix_key("oka t", "en"), 5)
    assert (first.suggestions[0].text, first.suggestions[0].count, first.corrected) == ("oak table", 7, "oak t")
    again = write_catalog_suggestions(table, "en", queries, tmp_path / "again", ignore)
    assert again == report
    assert all((folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in FILES)


def test_a_catalog_without_words_has_no_suggestions(tmp_path: Path) -> None:
    table = ProductTable(write_columns(tmp_path / "c.arrow", [product("1", "!!!")]))
    folder = tmp_path / "suggestions"
    assert write_catalog_suggestions(table, "en", {}, folder, ignore) is None
    assert not folder.exists() and suggestion_files(folder) == {}


def test_suggestions_of_a_later_format_are_not_read(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="the index of suggestions has format 99, and this version reads 1"):
        past_queries(tmp_path, SuggestionReport(format=99, entries={}))


def test_a_phrase_that_nobody_asked_comes_after_what_was_asked_once(tmp_path: Path) -> None:
    rows = [product(str(number), f"oak table {name}") for number, name in enumerate(["round", "small", "low"] * 20)]
    table = ProductTable(write_columns(tmp_path / "c.arrow", rows))
    queries = {f"oak table {number} legs": 1000 for number in range(5)} | {"oak tray": 1}
    entries = suggestion_entries(table, "en", queries, ignore)
    weights = {entry.key: entry.weight for entry in entries}
    assert 0.5 < weights["oak table"] < weights["oak tray"] == 1.0
