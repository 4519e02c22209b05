from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from core.errors import FeedError
from lifecycle.examples.candidates import RetrievedProducts
from lifecycle.examples.mining import NEGATIVES_SCHEMA, Mining, group_by_query, mine
from lifecycle.examples.products import Products
from training.examples import JudgedQueries

TITLES = [
    "Acme red steel mug",  # good for the query
    "ACME  red mug steel",  # the same words
    "Acme red steel mug, 2-Pack",  # 4 of 6 words
    "Acme blue steel mug large",  # 3 of 6 words, but a variant
    "Zorb kettle",
    "Quil hammer",
    "Plent sandals",
    "Brask duvet",
]
PRODUCTS = Products([f"p{i}" for i in range(8)], TITLES, TITLES, ["g", None, None, "g", None, None, "h", None])
JUDGED = JudgedQueries("train", {"red mug": {"p0": 1.0, "p7": 0.5 - 0.1, "p6": 0.0}, "nothing good": {"p5": 0.2}})
ALL = Mining(first=1, last=8, negatives=8, overlap=1.0, similarity=2.0)


def retrieved(*rows: int) -> RetrievedProducts:
    """The same candidates for both queries, with scores falling from 9."""
    places = np.array([rows, rows], np.int64)
    return RetrievedProducts(places, np.tile(np.arange(9, 9 - len(rows), -1), (2, 1)).astype(np.float32))


def mined(settings: Mining, *rows: int, **models: Any) -> list[str]:
    table = mine(JUDGED, PRODUCTS, {"bm25": retrieved(*(rows or range(8)))}, settings, **models).table
    assert table.schema == NEGATIVES_SCHEMA
    assert set(table["query"].to_pylist()) <= {"red mug"}
    return table["product_id"].to_pylist()


def test_twins_by_words_group_and_overlap() -> None:
    left, right = np.array([0, 0, 0, 0, 4, 6]), np.array([1, 2, 3, 4, 5, 6])
    assert PRODUCTS.twins(left, right, 1.0).tolist() == [True, False, True, False, False, True]
    assert PRODUCTS.twins(left, right, 4 / 6).tolist() == [True, True, True, False, False, True]
    assert PRODUCTS.twins(left[:0], right[:0], 0.5).tolist() == []


def test_what_is_judged_above_and_the_positives_twins_are_held_off() -> None:
    assert mined(ALL) == ["p2", "p4", "p5", "p6"]
    assert mined(ALL.model_copy(update={"relevance": 0.45})) == ["p2", "p4", "p5", "p6", "p7"]
    assert mined(ALL.model_copy(update={"overlap": 0.6})) == ["p4", "p5", "p6"]


def test_what_is_as_similar_as_the_positives_is_held_off() -> None:
    def similarity(queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return (0.8 - 0.1 * rows).astype(np.float32)  # p0 0.8, p2 0.6, p4 0.4, p5 0.3

    settings = ALL.model_copy(update={"similarity": 0.45})  # of 0.8: 0.36
    assert mined(settings, similarity=similarity) == ["p5", "p6"]


def test_the_limit_is_that_of_the_mean_positive() -> None:
    judged = JudgedQueries("train", {"q": {"p0": 1.0, "p7": 1.0}})
    scores = np.array([0.9, 0, 0, 0, 0.49, 0.51, 0.2, 0.1], np.float32)  # the mean of 0.9 and 0.1 is 0.5
    settings = ALL.model_copy(update={"similarity": 1.0})
    result = mine(judged, PRODUCTS, {"bm25": retrieved(4, 5, 6)}, settings, lambda _, rows: scores[rows])
    assert result.table["product_id"].to_pylist() == ["p4", "p6"]
    assert result.held_off == {"judged": 0, "twin": 0, "similar": 1}


def test_the_teacher_is_asked_last_and_holds_off_above_its_margin() -> None:
    asked: list[int] = []
    scores = np.array([0.9, 1, 0.81, 1, 0.79, 0.5, 0.95, 1], np.float32)

    def teacher(queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
        asked.extend(rows.tolist())
        return scores[rows]

    assert mined(ALL.model_copy(update={"margin": 0.1}), teacher=teacher) == ["p4", "p5"]
    assert set(asked) == {0, 2, 4, 5, 6}


def test_ranks_are_a_window_and_places_without_product_are_none() -> None:
    settings = ALL.model_copy(update={"first": 2, "last": 3})
    table = mine(JUDGED, PRODUCTS, {"bm25": retrieved(4, 5, -1, 6)}, settings).table
    assert table.to_pylist() == [{"query": "red mug", "product_id": "p5", "source": "bm25", "rank": 2, "score": 8.0}]


def test_a_product_of_two_sources_counts_once_and_each_source_gives_its_share() -> None:
    sources = {"bm25": retrieved(4, 2), "towers": retrieved(5, 4, 6)}
    result = mine(JUDGED, PRODUCTS, sources, ALL.model_copy(update={"negatives": 2}))
    rows = [(row["source"], row["product_id"], row["rank"]) for row in result.table.to_pylist()]
    assert rows == [("bm25", "p4", 1), ("bm25", "p2", 2), ("towers", "p5", 1), ("towers", "p6", 3)]
    assert result.candidates == 4


def test_draws_repeat_by_seed_and_reach_every_candidate() -> None:
    one = [mined(ALL.model_copy(update={"negatives": 1, "seed": seed})) for seed in range(40)]
    again = [mined(ALL.model_copy(update={"negatives": 1, "seed": seed})) for seed in range(40)]
    assert one == again
    assert {name for (name,) in one} == {"p2", "p4", "p5", "p6"}


def test_a_window_that_ends_before_it_begins_is_told() -> None:
    with pytest.raises(ValidationError, match="begin at 20 and end at 10; give last >= first"):
        Mining(first=20, last=10)


def test_without_a_good_product_there_is_nothing_to_mine_for() -> None:
    with pytest.raises(FeedError, match="no query of split train has a good product"):
        mine(JudgedQueries("train", {"q": {"p0": 0.1, "elsewhere": 1.0}}), PRODUCTS, {"bm25": retrieved(1)}, ALL)


def test_the_products_of_a_query_come_by_rank() -> None:
    rows = [("tea", "b", "towers", 12, 0.1), ("mug", "c", "bm25", 11, 0.2), ("tea", "a", "bm25", 11, 0.3)]
    table = pa.table(list(map(list, zip(*rows, strict=True))), schema=NEGATIVES_SCHEMA)
    assert group_by_query(table) == {"tea": ["a", "b"], "mug": ["c"]}
