import math
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lifecycle.examples.pseudo import (
    PSEUDO_SCHEMA,
    PseudoQuerySettings,
    WordCounts,
    attribute_queries,
    field_queries,
    in_turn,
    pseudo_queries,
    title_queries,
    words_of,
)


def product(product_id: str, title: str, **fields: Any) -> dict[str, Any]:
    return {"id": product_id, "title": title, "brand": None, "product_type": None, "color": None} | fields


CATALOG = [
    product("1", "Acme Cordless Drill DCD771C2", brand="Acme", product_type="Tools > Drills", color="Yellow"),
    product("2", "Zorb 3/4 in. Pipe Cutter with Case", brand="Zorb", product_type="Tools > Cutters"),
    *(product(str(i), f"Quil Claw Hammer Model{'abcdefgh'[i - 3]}", product_type="Hammers") for i in range(3, 11)),
]


def words(**holders: int) -> WordCounts:
    return WordCounts(Counter(holders), 10)


def test_words_keep_sizes_and_models_whole() -> None:
    title = "Zorb 3/4 in. x 10-1/2\" Pipe (2-Pack), SC-141, Men's"
    assert words_of(title) == ["zorb", "3/4", "in", "x", "10-1/2", "pipe", "2-pack", "sc-141", "men's"]


def test_words_of_a_title_that_can_stand_alone_weigh_their_mean_idf() -> None:
    result = title_queries(
        product("2", "Zorb 3/4 in. Pipe with Case"),
        WordCounts(Counter({"zorb": 1, "3/4": 5, "in": 5, "pipe": 2, "with": 5, "case": 10}), 10),
        PseudoQuerySettings(shortest=2, longest=3, common=0.2),
    )
    # Neither "in. pipe" nor "zorb 3/4" nor "pipe with" stands alone.
    assert set(result) == {"3/4 in pipe", "pipe with case"}
    assert result["3/4 in pipe"] == pytest.approx((2 * math.log(2) + math.log(5)) / 3, abs=1e-5)


def test_words_that_many_products_share_are_no_query() -> None:
    common = words(claw=8, hammer=8)
    assert title_queries(product("3", "Claw Hammer"), common, PseudoQuerySettings(common=0.5)) == {}
    assert list(title_queries(product("3", "Claw Hammer"), common, PseudoQuerySettings(common=0.8))) == ["claw hammer"]


def test_brand_colour_type_and_model_number() -> None:
    assert list(field_queries(CATALOG[0], words(dcd771c2=1))) == ["acme drills", "yellow drills", "dcd771c2"]
    assert list(field_queries(CATALOG[0], words(dcd771c2=4))) == ["acme drills", "yellow drills"]


@pytest.mark.parametrize("word", ["12-gauge", "1080p", "100-watt", "3/4-inch", "ab1", "hammer", "12345", "1/2-in"])
def test_sizes_and_words_are_no_model_numbers(word: str) -> None:
    assert field_queries(product("1", f"Drill {word}"), words()) == {}


def test_rare_types_have_their_turn() -> None:
    order = [row["id"] for row in in_turn(CATALOG, np.random.default_rng(0))]
    assert {"1", "2"} < set(order[:3])
    assert sorted(order, key=int) == [str(i) for i in range(1, 11)]


def test_products_without_judgments_alone_and_nothing_to_test_on() -> None:
    table = pseudo_queries(
        pa.Table.from_pylist(CATALOG), {"2"}, PseudoQuerySettings(common=1, per_product=4), {"acme drills"}
    )
    assert table.schema == PSEUDO_SCHEMA
    queries = table["query"].to_pylist()
    assert "2" not in table["product_id"].to_pylist() and "1" in table["product_id"].to_pylist()
    assert "acme drills" not in queries and len(set(queries)) == len(queries)
    assert max(Counter(table["product_id"].to_pylist()).values()) <= 4


def test_the_seed_decides_and_the_cap_holds() -> None:
    catalog = pa.Table.from_pylist(CATALOG)
    assert pseudo_queries(catalog, (), PseudoQuerySettings(queries=3)).equals(
        pseudo_queries(catalog, (), PseudoQuerySettings(queries=3))
    )
    assert len(pseudo_queries(catalog, (), PseudoQuerySettings(queries=3))) == 3
    assert len(pseudo_queries(catalog, {row["id"] for row in CATALOG}, PseudoQuerySettings())) == 0


def test_an_id_and_a_title_are_enough() -> None:
    table = pseudo_queries(pa.table({"id": ["1"], "title": ["Cordless Drill"]}), (), PseudoQuerySettings())
    assert table.to_pylist() == [{"query": "cordless drill", "product_id": "1"}]


def test_a_query_of_attributes_names_all_products_that_have_them() -> None:
    catalog = pa.Table.from_pylist(
        [
            product("1", "a", brand="Acme", product_type="Tools > Drills", color="Red"),
            product("2", "b", brand="ACME", product_type="Tools | drills", color="Red"),
            product("3", "c", brand="Zorb", product_type="Drills", color="Red"),
            product("4", "d", brand="Acme", color="Red"),
        ]
    )
    assert attribute_queries(catalog) == {"acme drills": ["1", "2"], "red drills": ["1", "2", "3"]}
    assert attribute_queries(catalog, least=3) == {"red drills": ["1", "2", "3"]}
    assert attribute_queries(catalog, most=2) == {"acme drills": ["1", "2"]}
    assert attribute_queries(catalog.select(["id", "title"])) == {}
