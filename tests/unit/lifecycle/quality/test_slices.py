from pathlib import Path

import pytest
from builders import product, write_columns

from catalog.table import ProductTable
from lifecycle.quality.slices import misspelt_queries, slice_queries, vocabulary


@pytest.fixture
def columns(tmp_path: Path) -> ProductTable:
    rows = [
        product("1", "Cordless Drill 12V", brand="Bösch", product_type="Tools > Drills"),
        product("2", "Garden hose", product_type="Garden"),
        product("3", "Hammer"),
    ]
    return ProductTable(write_columns(tmp_path / "products.arrow", rows, batch=2))


def test_the_vocabulary_is_the_catalogs_words(columns: ProductTable) -> None:
    assert set(vocabulary(columns)) == {
        "cordless",
        "drill",
        "v",
        "bösch",
        "tools",
        "drills",
        "garden",
        "hose",
        "hammer",
    }


def test_words_of_few_products_make_a_slice(tmp_path: Path) -> None:
    rows = [product(str(i), "common drill") for i in range(6)] + [product("x", "rare hammer")]
    columns = ProductTable(write_columns(tmp_path / "products.arrow", rows))
    grades = {"drill": {"1": 1.0}, "hammer drill": {"x": 1.0}, "unheard": {"x": 1.0}}
    assert slice_queries(grades, columns, [])["a rare word"] == {"hammer drill"}


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("cordless drill", False),
        ("cordles hose", True),  # one lost
        ("dirll", True),  # changed places
        ("hmamre", False),  # two slips in a short word
        ("crdles", False),
        ("coordlesss", True),  # two slips in a long word
        ("hammers", False),  # a plural
        ("hos", False),  # too short to tell
        ("refrigerator", False),  # near nothing
        ("BÖSCH 12v", False),
    ],
)
def test_a_slip_of_the_pen_is_told(columns: ProductTable, query: str, wrong: bool) -> None:
    assert misspelt_queries([query], vocabulary(columns)) == ({query} if wrong else set())


def test_a_query_is_in_the_slices_it_looks_like(columns: ProductTable) -> None:
    grades = {
        "dril": {"1": 1.0, "2": 3.0},  # its best product is the hose
        "drill 12 v": {"1": 3.0, "3": 3.0},
        "3 long garden hose": {"3": 2.0},
    }
    result = slice_queries(grades, columns, trained={"1"})
    assert result == {
        "1 word": {"dril"},
        "2-3 words": {"drill 12 v"},
        "4 or more words": {"3 long garden hose"},
        "misspelt": {"dril"},
        "not misspelt": {"drill 12 v", "3 long garden hose"},
        "a number": {"drill 12 v", "3 long garden hose"},
        "no number": {"dril"},
        "a rare word": {"drill 12 v", "3 long garden hose"},
        "a measure with its unit": {"drill 12 v"},
        "products unseen in training": {"3 long garden hose"},
        "type Garden": {"dril"},
        "type Tools": {"drill 12 v"},
    }


@pytest.mark.parametrize(
    ("query", "there"),
    [("5mm screw", True), ('1/2" pipe', True), ("2 x 4 board", True), ("10-inch saw", True), ("3 way switch", False)],
)
def test_a_measure_needs_its_unit(columns: ProductTable, query: str, there: bool) -> None:
    assert ("a measure with its unit" in slice_queries({query: {"1": 1.0}}, columns, ())) == there


def test_frequencies_part_the_queries_in_thirds(columns: ProductTable) -> None:
    grades = {query: {"1": 1.0} for query in "abcdef"}
    result = slice_queries(grades, columns, (), {"a": 1, "b": 90, "c": 5, "d": 4, "e": 3, "x": 100})
    assert result["asked often"] == {"b", "c"}
    assert result["asked sometimes"] == {"d", "e"}
    assert result["asked seldom"] == {"a"}
