"""A part of a catalog: the wanted products and some others, in their order."""

from pathlib import Path

import pytest
from builders import product, write_columns

from catalog.table import ProductTable
from indexer.sample import CatalogSample, keep_sample


@pytest.fixture
def columns(tmp_path: Path) -> Path:
    return write_columns(tmp_path / "products.arrow", [product(f"p{i:02}", f"thing {i}") for i in range(40)])


def test_wanted_products_come_before_others_and_all_keep_their_order(columns: Path) -> None:
    keep_sample(columns, CatalogSample(10, frozenset({"p30", "p03", "elsewhere"})))
    names = list(ProductTable(columns).ids())
    assert len(names) == 10 and names == sorted(names) and {"p03", "p30"} <= set(names)
    assert ProductTable(columns).row(names.index("p30"))["title"] == "thing 30"
    assert [path.name for path in columns.parent.iterdir()] == [columns.name]


def test_more_wanted_products_than_that_are_all_kept(columns: Path) -> None:
    keep_sample(columns, CatalogSample(3, frozenset(f"p{i:02}" for i in range(5))))
    assert list(ProductTable(columns).ids()) == [f"p{i:02}" for i in range(5)]


def test_a_small_catalog_stays_as_it_is(columns: Path) -> None:
    before = columns.read_bytes()
    keep_sample(columns, CatalogSample(40))
    assert columns.read_bytes() == before


def test_the_same_seed_draws_the_same(columns: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.arrow"
    other.write_bytes(columns.read_bytes())
    keep_sample(columns, CatalogSample(10, seed=1))
    keep_sample(other, CatalogSample(10, seed=1))
    assert list(ProductTable(columns).ids()) == list(ProductTable(other).ids())
