"""Grades from facts, and the queries they are given for."""

import gzip
import hashlib
import json
import tomllib
from collections import defaultdict
from pathlib import Path
from random import Random

import pyarrow.parquet as pq
import pytest

from core.errors import FeedError
from lifecycle.sample.judgments import (
    Intent,
    Pool,
    Requirement,
    SampleCatalog,
    count_misses,
    judge_query,
    neighbour_types,
)
from lifecycle.sample.products import iter_products
from lifecycle.sample.queries import Query, make_queries
from lifecycle.sample.shop import POOLS, QUERIES, judgment_table, write_sample
from lifecycle.sample.speech import add_typo
from lifecycle.sample.vocabulary import WORLDS, vocabulary


@pytest.fixture(scope="module")
def shelf() -> SampleCatalog:
    return SampleCatalog(iter_products(3000))


@pytest.fixture(scope="module", params=WORLDS[1:])
def world(request: pytest.FixtureRequest) -> SampleCatalog:
    """The shops that came later; what they share with the first is tested there."""
    return SampleCatalog(iter_products(3000, world=request.param))


@pytest.fixture(scope="module")
def world_queries(world: SampleCatalog) -> list[Query]:
    return make_queries(world, QUERIES, 7)


@pytest.fixture(scope="module")
def queries(shelf: SampleCatalog) -> list[Query]:
    return make_queries(shelf, QUERIES, 7)


def first(shelf: SampleCatalog, key: str) -> int:
    return shelf.by_type[key][0]


def wish(*tags: str, hard: bool = False) -> Requirement:
    return Requirement(frozenset(tags), hard)


def intent_of(shelf: SampleCatalog, row: int, *requirements: Requirement, **more: object) -> Intent:
    key = shelf.products[row].line.kind.key
    siblings, related = neighbour_types(vocabulary(), key)
    return Intent(frozenset([key]), siblings, related, requirements, **more)  # type: ignore[arg-type]


def test_right_type_loses_a_grade_for_each_wish_it_misses(shelf: SampleCatalog) -> None:
    row = first(shelf, "kettle")
    held, missed = wish(next(iter(shelf.tags[row]))), wish("color:none such")
    assert shelf.grade(intent_of(shelf, row), row) == 3
    assert shelf.grade(intent_of(shelf, row, held), row) == 3
    assert shelf.grade(intent_of(shelf, row, held, missed), row) == 2
    assert shelf.grade(intent_of(shelf, row, missed, missed), row) == 1
    assert shelf.grade(intent_of(shelf, row, missed, missed, missed), row) == 1
    assert shelf.grade(intent_of(shelf, row, wish("size:none such", hard=True)), row) == 1


def test_what_is_refused_earns_one_at_most(shelf: SampleCatalog) -> None:
    row = first(shelf, "kettle")
    material = shelf.products[row].line.material
    refused = frozenset([f"material:{material}"])
    assert shelf.grade(intent_of(shelf, row, excluded=refused), row) == 1
    assert shelf.grade(intent_of(shelf, row, wish("color:none such"), excluded=refused), row) == 0


def test_siblings_related_and_strangers(shelf: SampleCatalog) -> None:
    kettle, missed = first(shelf, "kettle"), wish("color:none such")
    plain, one, two = (intent_of(shelf, kettle, *[missed] * count) for count in range(3))
    sibling, related, stranger = first(shelf, "stove_kettle"), first(shelf, "teapot"), first(shelf, "tent")
    assert [shelf.grade(intent, sibling) for intent in (plain, one, two)] == [2, 1, 0]
    assert [shelf.grade(intent, related) for intent in (plain, one, two)] == [1, 1, 0]
    assert shelf.grade(plain, stranger) == 0


@pytest.mark.parametrize(("price", "count"), [(3000, 0), (3001, 1), (4500, 1), (4501, 2)])
def test_a_price_far_over_the_bound_misses_twice(price: int, count: int) -> None:
    assert count_misses(Intent(frozenset(["kettle"]), max_price=3000), price, frozenset()) == count


def test_faux_leather_is_not_leather() -> None:
    bags = [product for product in iter_products(3000) if product.line.material == "faux leather"]
    assert bags and all("material:leather" not in product.tags() for product in bags)


def test_neighbours_are_mutual() -> None:
    voc = vocabulary()
    for key in voc.types:
        siblings, related = neighbour_types(voc, key)
        assert all(key in neighbour_types(voc, other)[0] for other in siblings)
        assert siblings.isdisjoint(related)


def test_pools_keep_their_caps_and_judge_nothing_twice(shelf: SampleCatalog) -> None:
    intent = intent_of(shelf, first(shelf, "mug"))
    judged = judge_query(shelf, intent, "mug", Pool(12, 8, 6, 6, 4), Random(1))
    counts = [[grade for _, grade in judged].count(grade) for grade in range(4)]
    assert counts[3] == 12 and counts[2] <= 8 and counts[1] == 6 and 4 <= counts[0] <= 10
    assert len({row for row, _ in judged}) == len(judged)
    assert all(shelf.grade(intent, row) == grade for row, grade in judged)


def test_queries_fill_their_splits_and_test_templates_are_unseen(queries: list[Query]) -> None:
    templates: dict[str, set[str]] = defaultdict(set)
    for query in queries:
        templates[query.split].add(query.template.removesuffix(" (mistyped)"))
    assert {split: sum(query.split == split for query in queries) for split in QUERIES} == QUERIES
    assert templates["test"].isdisjoint(templates["train"] | templates["valid"])
    assert len(templates["test"]) > 60 and len(templates["train"]) > 100
    assert len({query.text.casefold() for query in queries}) == len(queries)


def test_queries_are_filled_in_and_come_in_many_ways(queries: list[Query]) -> None:
    assert not [query.text for query in queries if "{" in query.text or "  " in query.text or "none" in query.text]
    intents = [query.intent for query in queries]
    assert sum(bool(intent.excluded) for intent in intents) > 60
    assert sum(intent.max_price is not None for intent in intents) > 30
    assert (
        sum(any("feature:" in tag for wish in intent.requirements for tag in wish.accept) for intent in intents) > 100
    )
    assert sum("(mistyped)" in query.template for query in queries) > 40
    assert sum("{" not in query.template for query in queries) > 100  # vague wishes


def test_every_query_has_an_answer_and_a_zero(shelf: SampleCatalog, queries: list[Query]) -> None:
    rng = Random(0)
    for query in queries:
        grades = [grade for _, grade in judge_query(shelf, query.intent, query.text, POOLS[query.split], rng)]
        assert 3 in grades and 0 in grades, query.text


def test_a_refusal_bites(shelf: SampleCatalog, queries: list[Query]) -> None:
    """For every negation some product of the type holds what is refused, and grades 1 at most."""
    for query in queries:
        if query.intent.excluded:
            rows = [row for key in query.intent.types for row in shelf.by_type[key]]
            hit = [row for row in rows if not query.intent.excluded.isdisjoint(shelf.tags[row])]
            assert hit and all(shelf.grade(query.intent, row) <= 1 for row in hit), query.text


def test_a_slip_changes_one_word_a_little() -> None:
    rng = Random(5)
    for _ in range(200):
        typed = add_typo("red electric kettle", rng)
        assert typed.startswith("red ") and abs(len(typed) - len("red electric kettle")) <= 1
    assert add_typo("red mug", rng) == "red mug"


def test_the_files_fit_together(tmp_path: Path) -> None:
    report = write_sample(tmp_path, products=1500)
    with gzip.open(report.catalog, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    table = pq.read_table(report.judgments)
    assert len(rows) == report.products == 1500 and table.num_rows == report.judged
    assert set(table["product_id"].to_pylist()) <= {row["id"] for row in rows}
    assert set(table["grade"].to_pylist()) == {0.0, 1.0, 2.0, 3.0}
    assert sum(report.queries.values()) == len(set(table["query"].to_pylist()))
    pairs = list(zip(table["query"].to_pylist(), table["product_id"].to_pylist(), strict=True))
    assert len(set(pairs)) == len(pairs)


def test_the_first_world_stays_as_it_is() -> None:
    """Measurements of earlier versions are of these rows: the digests were taken before there were other worlds."""
    products = list(iter_products(1200, 5))
    catalog = SampleCatalog(products)
    table = judgment_table(catalog, make_queries(catalog, QUERIES, 5), 5)
    feed = "".join(json.dumps(product.row(), ensure_ascii=False) + "\n" for product in products)
    judged = json.dumps(table.to_pylist(), ensure_ascii=False)
    assert [hashlib.sha256(text.encode()).hexdigest() for text in (feed, judged)] == [
        "c01343df418660669fd1967fa7946f66c88db8d7e980926f54f9349be553f1de",
        "ee8afbebb3d971e2440bebd6379818a84ca911a1d8da680783c8e546cac1a566",
    ]


def test_other_worlds_fill_their_splits_by_templates_of_their_own(
    world: SampleCatalog, world_queries: list[Query]
) -> None:
    templates: dict[str, set[str]] = defaultdict(set)
    for query in world_queries:
        templates[query.split].add(query.template.removesuffix(" (mistyped)"))
    assert {split: sum(query.split == split for query in world_queries) for split in QUERIES} == QUERIES
    assert templates["test"].isdisjoint(templates["train"] | templates["valid"])
    assert len(templates["test"]) > 60 and len(templates["train"]) > 100
    assert not [query.text for query in world_queries if "{" in query.text or "  " in query.text]


def test_every_query_of_other_worlds_has_an_answer_and_a_zero(world: SampleCatalog, world_queries: list[Query]) -> None:
    rng = Random(0)
    for query in world_queries:
        grades = [grade for _, grade in judge_query(world, query.intent, query.text, POOLS[query.split], rng)]
        assert 3 in grades and 0 in grades, query.text


def test_words_alone_do_not_answer_other_worlds(world: SampleCatalog, world_queries: list[Query]) -> None:
    """Of the best products of a third of the queries, at least, most rows hold less than half of the words."""

    def words(text: str) -> set[str]:
        return set("".join(sign if sign.isalnum() else " " for sign in text.lower()).split())

    def far(query: Query) -> bool:
        wanted = {word for word in words(query.text) if len(word) > 2}
        rows = world.rows_by_grade(query.intent)[3]
        shares = [
            len(wanted & words(" ".join(map(str, world.products[row].row().values())))) / max(len(wanted), 1)
            for row in rows[:20]
        ]
        return sum(share < 0.5 for share in shares) > len(shares) / 2

    share = sum(far(query) for query in world_queries) / len(world_queries)
    assert 1 / 3 < share < 0.9


def test_part_numbers_are_asked_as_people_type_them() -> None:
    """The product is the answer, other sizes of its line come close, and other products of the type are bad."""
    shop = SampleCatalog(iter_products(2000, world="trade"))
    with_parts = [query for query in make_queries(shop, QUERIES, 3) if "{part}" in query.template]
    assert len(with_parts) > 40
    for query in with_parts:
        rows = shop.rows_by_grade(query.intent)
        [best] = rows[3]
        part = shop.products[best].part_number
        assert part and part.replace("-", "").lower() in query.text.lower().replace("-", "").replace(" ", "").replace(
            "/", ""
        )
        lines = {shop.products[row].line.number for row in rows[2]}
        assert lines <= {shop.products[best].line.number} or query.intent.siblings


@pytest.mark.parametrize("name", WORLDS)
def test_the_files_of_a_world_are_the_same_for_the_same_seed(name: str, tmp_path: Path) -> None:
    reports = [write_sample(tmp_path / folder, 1200, 5, name) for folder in ("a", "b")]
    for one, two in zip(*[(report.catalog, report.mapping, report.judgments) for report in reports], strict=True):
        assert one.read_bytes() == two.read_bytes()
    mapping = tomllib.loads(reports[0].mapping.read_text("utf-8"))
    assert mapping["catalog"] == vocabulary(name).world.catalog
    columns = {column for product in iter_products(1200, 5, name) for column in product.row()}
    assert set(mapping["fields"].values()) <= columns


def test_a_tiny_shop_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="1000 or more"):
        write_sample(tmp_path, products=50)
    assert not list(tmp_path.iterdir())
