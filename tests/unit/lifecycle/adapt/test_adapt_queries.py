"""Queries that are made of products: each way of asking, logs, and what is held out."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from core.strings import query_key
from lifecycle.adapt.queries import LOG, WAYS, ShopQuery, _Shop, make_queries, split_queries, title_words
from lifecycle.adapt.settings import AdaptSettings

NAMES = ("brand", "product_type", "color", "size", "material", "attributes", "description")


def product(title: str, **fields: Any) -> dict[str, Any]:
    return dict.fromkeys(NAMES) | {"title": title} | fields


COLOURS, THINGS = ("red", "blue", "green", "black"), ("kettle", "hammer", "lamp", "drill", "spade")
ROWS = [
    product(
        f"Zorb {colour} {thing} for garden ZX{place}{other}00K",
        brand="Zorb", color=colour, product_type=f"Home > {thing.title()}s", attributes=[("finish", "matt black")],
    )
    for place, thing in enumerate(THINGS)
    for other, colour in enumerate(COLOURS)
]  # fmt: skip
SETTINGS = AdaptSettings(queries=200)


def of_way(way: str, rows: list[dict[str, Any]] = ROWS) -> list[ShopQuery]:
    return list(WAYS[way](_Shop.read(rows, "en"), np.random.default_rng(0)))


@pytest.mark.parametrize("way", ["fragment", "words"])
def test_title_queries_hold_words_of_their_product_in_its_order(way: str) -> None:
    queries = of_way(way)
    assert len(queries) >= len(ROWS) / 2
    for query in queries:
        assert query.row is not None
        title = title_words(ROWS[query.row]["title"], "en")
        places = [title.index(word) for word in query.text.split()]
        assert places == sorted(places) and (way == "words" or places == list(range(places[0], places[-1] + 1)))


def test_heads_are_phrases_that_several_titles_share_and_hardly_all() -> None:
    rows = [product(f"steel {thing} number {place}{tail}") for thing in THINGS for place, tail in enumerate("abcdef")]
    texts = {query.text for query in of_way("head", rows + [product("oak chair")] * 70)}
    assert "steel kettle" in texts and "hammer" in texts  # six of a hundred titles
    assert "oak chair" not in texts and "kettle number 0a" not in texts  # seventy, and one
    assert all(query.row is None for query in of_way("head"))


def test_attributes_come_with_the_product_type_or_the_last_word_of_the_title() -> None:
    rows = [product("Acme mug", color="Red", product_type="Kitchen > Mugs"), product("Acme cup", color="Red")] * 2
    texts = {query.text for _ in range(2) for query in of_way("attributes", rows)}
    assert texts <= {"red mugs", "mugs", "red cup"} and texts & {"red mugs", "mugs"}


def test_models_are_asked_for_alone_or_behind_the_brand() -> None:
    queries = of_way("model")
    assert {query.text.split()[-1] for query in queries} == {f"zx{a}{b}00k" for a in range(5) for b in range(4)}
    assert {len(query.text.split()) for query in queries} == {1, 2}
    assert all(
        query.row is not None and query.text.split()[-1] in ROWS[query.row]["title"].lower() for query in queries
    )


def test_typing_errors_and_other_orders_change_the_words() -> None:
    words = {word for row in ROWS for word in title_words(row["title"], "en")}
    assert all(set(query.text.split()) - words for query in of_way("typo"))
    in_order = [title_words(ROWS[query.row]["title"], "en") for query in of_way("reordered") if query.row is not None]
    assert in_order and all(set(query.text.split()) <= words for query in of_way("reordered"))


def test_every_way_has_its_share_and_no_query_comes_twice() -> None:
    made = make_queries(ROWS, "en", {}, SETTINGS)
    counts = Counter(query.way for query in made)
    assert set(counts) <= set(WAYS) and len(counts) >= 6
    assert len({query_key(query.text) for query in made}) == len(made) <= SETTINGS.queries
    assert made == make_queries(ROWS, "en", {}, SETTINGS)
    assert made != make_queries(ROWS, "en", {}, SETTINGS.model_copy(update={"seed": 1}))


def test_the_most_frequent_queries_of_a_log_come_first_and_take_half() -> None:
    log = {f"asked {place}": place for place in range(1, 21)}
    made = make_queries(ROWS, "en", log, AdaptSettings(queries=20))
    assert [query.text for query in made if query.way == LOG] == [f"asked {place}" for place in range(20, 10, -1)]
    assert len(made) == 20 and all(query.row is None for query in made if query.way == LOG)


def test_what_is_held_out_shares_neither_words_nor_products_with_what_is_learned() -> None:
    split = split_queries(make_queries(ROWS, "en", {}, SETTINGS), SETTINGS.model_copy(update={"held_out": 0.4}))

    def words(queries: tuple[ShopQuery, ...]) -> set[tuple[str, ...]]:
        return {tuple(sorted(query_key(query.text).split())) for query in queries}

    def rows(queries: tuple[ShopQuery, ...]) -> set[int]:
        return {query.row for query in queries if query.row is not None}

    assert split.train and split.held_out
    assert not words(split.train) & words(split.held_out)
    assert rows(split.train) and rows(split.held_out) and not rows(split.train) & rows(split.held_out)


def test_a_word_order_is_held_out_with_the_other() -> None:
    queries = [ShopQuery("red steel mug", "words"), ShopQuery("mug red steel", "reordered")]
    for share in (0.2, 0.5, 0.8):
        split = split_queries(queries, AdaptSettings(held_out=share))
        assert sorted(map(len, (split.train, split.held_out))) == [0, 2]


@pytest.mark.parametrize(
    ("title", "language", "words"),
    [
        ("Стальной чайник", "ru", ["стальной", "чайник"]),
        ("غلاية فولاذ", "ar", ["غلاية", "فولاذ"]),
        ("サンダル", "ja", ["サン", "ンダ", "ダル"]),
        ("Plain Mug", "en", ["plain", "mug"]),
    ],
)
def test_titles_of_any_script_have_words(title: str, language: str, words: list[str]) -> None:
    assert title_words(title, language) == words


@pytest.mark.parametrize("rows", [[], [product("Mug")], [product("...")] * 3])
def test_hardly_any_product_makes_hardly_any_query(rows: list[dict[str, Any]]) -> None:
    made = make_queries(rows, "en", {}, SETTINGS)
    assert all(query.text for query in made) and len(made) <= 3
