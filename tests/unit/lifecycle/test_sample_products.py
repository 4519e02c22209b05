"""The sample shop's products: distinct, deterministic, believable in what can be counted."""

import subprocess
import sys
from collections import Counter
from itertools import islice

import pytest

from lifecycle.sample.products import SampleProduct, ean13, iter_products
from lifecycle.sample.speech import pluralise, query_forms, with_article
from lifecycle.sample.vocabulary import WORLDS, ProductType, Vocabulary, tables, vocabulary
from lifecycle.sample.wording import model_name

VOC = vocabulary()
TYPES = [
    pytest.param(vocabulary(world), kind, id=f"{world}-{kind.key}")
    for world in WORLDS
    for kind in vocabulary(world).types.values()
]


@pytest.fixture(scope="module")
def shop() -> list[SampleProduct]:
    return list(iter_products(3000, seed=7))


def test_a_smaller_count_is_a_prefix_and_another_seed_another_shop(shop: list[SampleProduct]) -> None:
    rows = [product.row() for product in shop[:500]]
    assert [product.row() for product in iter_products(500, seed=7)] == rows
    assert [product.row() for product in iter_products(500, seed=8)] != rows


def test_the_stream_does_not_depend_on_the_hash_seed() -> None:
    code = (
        "from lifecycle.sample.products import iter_products as p; print([(x.row(), sorted(x.tags())) for x in p(300)])"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
                       capture_output=True, check=True).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert runs[0] == runs[1] and len(runs[0]) > 10_000


def test_ids_and_titles_are_distinct_over_200_000_products() -> None:
    ids, titles = set(), set()
    for product in iter_products(200_000, seed=3):
        ids.add(product.id)
        titles.add(product.title)
    assert len(ids) == len(titles) == 200_000


def test_nothing_is_made_before_it_is_asked_for() -> None:
    assert len(list(islice(iter_products(10**12), 5))) == 5


@pytest.mark.parametrize(
    ("digits", "code"),
    # 4006381333931 and 9780201379624 are textbook EAN-13 codes; 2000000000008 checks by hand: 10 - 2 * 1.
    [(400638133393, "4006381333931"), (978020137962, "9780201379624"), (200000000000, "2000000000008")],
)
def test_ean13_check_digit(digits: int, code: str) -> None:
    assert ean13(digits) == code


def test_the_shop_has_types_brands_variants_and_a_long_tail(shop: list[SampleProduct]) -> None:
    types = Counter(product.line.kind.key for product in shop)
    groups = Counter(product.line.number for product in shop)
    stock = Counter(product.availability for product in shop)
    counts = sorted(types.values(), reverse=True)
    assert len(types) == len(VOC.types) >= 60
    assert len({product.line.brand.name for product in shop}) >= 50
    assert counts[0] > 10 * counts[-10]  # a head and a tail
    assert sum(size for size in groups.values() if size > 1) > 1500
    assert 0.8 < stock["in_stock"] / 3000 < 0.92 and set(stock) == {
        "in_stock", "out_of_stock", "backorder", "preorder",
    }  # fmt: skip
    assert 100 < sum(product.line.description is None for product in shop) < 700


def test_variants_of_a_group_differ_in_colour_or_size_alone(shop: list[SampleProduct]) -> None:
    groups: dict[str, list[dict[str, str]]] = {}
    for product in shop:
        row = product.row()
        groups.setdefault(row["item_group_id"], []).append(row)
    for rows in groups.values():
        assert len({(row.get("color"), row.get("size")) for row in rows}) == len(rows)
        assert len({(row["brand"], row.get("material"), row["product_type"]) for row in rows}) == 1


def test_rows_tell_the_facts(shop: list[SampleProduct]) -> None:
    """Every feature that judgments count can be read in the feed, as such or in the house's own word."""
    for product in shop:
        row, line = product.row(), product.line
        for feature in line.features:
            term = line.brand.terms.get(feature)
            assert term in row["attr_technology"].split(", ") if term else row[f"attr_{feature}"] == "yes"
        for facet, value in line.facets.items():
            assert row[f"attr_{facet}"] == value
        assert row["price"] == f"{product.price / 100:.2f} EUR" and product.price > 0
        assert set(line.features).isdisjoint(line.denied)


def test_conflicts_are_kept(shop: list[SampleProduct]) -> None:
    for product in shop:
        line = product.line
        holds = {*VOC.material_words(line.material), *line.facets.values(), line.audience}
        for name, never in line.kind.conflicts.items():
            if name in line.features or name == line.use:
                assert holds.isdisjoint(never), product.title
    assert not any(
        product.color
        for product in shop
        if product.line.material and "wood" in VOC.material_words(product.line.material)
    )


@pytest.mark.parametrize(("voc", "kind"), TYPES)
def test_vocabulary_refers_to_what_exists(voc: Vocabulary, kind: ProductType) -> None:
    assert len(kind.brands) >= 2
    assert {*kind.siblings, *kind.related} <= set(voc.types) - {kind.key}
    assert {*kind.features, *kind.always} <= set(voc.features)
    assert set(kind.uses) <= set(voc.uses) and set(kind.materials) <= set(voc.materials)
    assert set(kind.headline) <= set(kind.facets) and kind.price[0] < kind.price[1]
    assert kind.palette is None or set(voc.palettes[kind.palette]) <= set(voc.colors)
    assert set(kind.conflicts) <= {*kind.features, *kind.always, *kind.uses}
    known = {word for material in kind.materials for word in voc.material_words(material)}
    known |= {value for values in kind.facets.values() for value in values} | set(kind.audiences)
    assert {word for words in kind.conflicts.values() for word in words} <= known


@pytest.mark.parametrize("world", WORLDS)
def test_words_belong_to_one_type_and_features_have_phrases_for_both_splits(world: str) -> None:
    voc = vocabulary(world)
    for names in (
        [noun for kind in voc.types.values() for noun in kind.nouns],
        [word for kind in voc.types.values() for word in (*kind.words, *kind.slang)],
    ):
        assert not [name for name, count in Counter(names).items() if count > 1]
    for feature in voc.features.values():
        for phrases in filter(None, (feature.phrases, feature.without)):
            assert len(phrases) == len(set(phrases)) >= 2 and all("{}" in phrase for phrase in phrases)
    values = {value for kind in voc.types.values() for values in kind.facets.values() for value in values}
    sizes = {size for kind in voc.types.values() for size in kind.sizes}
    assert set(voc.forms) <= values | sizes
    assert {term for brand in voc.brands.values() for term in brand.terms} <= set(voc.features)
    for need in tables("needs", world).values():
        assert {*need["types"], *need["near"]} <= set(voc.types)


def test_worlds_share_no_family_no_name_and_no_brand() -> None:
    """Nothing learned of one shop's words is known of another's."""
    vocabularies = [vocabulary(world) for world in WORLDS]
    for kinds in (
        [{kind.path.split(" > ")[0] for kind in voc.types.values()} for voc in vocabularies],
        [{noun for kind in voc.types.values() for noun in kind.nouns} for voc in vocabularies],
        [set(voc.types) for voc in vocabularies],
        [set(voc.brands) for voc in vocabularies],
    ):
        for place, names in enumerate(kinds):
            assert all(names.isdisjoint(others) for others in kinds[place + 1 :])


@pytest.mark.parametrize("world", WORLDS)
def test_products_of_every_world_are_distinct_and_have_its_currency(world: str) -> None:
    products = list(iter_products(3000, world=world))
    rows = [product.row() for product in products]
    for name in ("id", "title", "gtin"):
        assert len({row[name] for row in rows}) == 3000
    assert len({product.line.kind.key for product in products}) == len(vocabulary(world).types) >= 60
    assert all(len(vocabulary(world).types[product.line.kind.key].brands) >= 2 for product in products)
    parts = {product.part_number for product in products}
    assert parts == {None} if world != "trade" else len(parts) == 3000


def test_a_part_number_is_in_the_feed_and_known_to_judgments() -> None:
    product = next(iter_products(1, world="trade"))
    assert product.part_number and product.row()["attr_part_number"] == product.part_number
    assert f"part:{product.part_number}" in product.tags()


def test_model_names_never_repeat() -> None:
    kettle = VOC.types["kettle"]
    for brand in kettle.brands:
        assert len({model_name(VOC, brand, kettle, nth) for nth in range(5000)}) == 5000


def test_speech() -> None:
    assert [pluralise(word) for word in ("kettle", "knitted scarf", "diary", "dress", "jeans", "dog food")] == [
        "kettles", "knitted scarves", "diaries", "dresses", "jeans", "dog food",
    ]  # fmt: skip
    assert query_forms("1.7 L")[:2] == ["1.7l", "1.7 litre"] and query_forms("EU 42")[0] == "size 42"
    assert query_forms("90 x 200 cm")[:2] == ["90x200", "90 by 200"] and query_forms("oval") == ["oval"]
    assert query_forms("M8 x 40 mm") == ["M8x40", "M8 by 40", "m8 x 40 mm", "M8x40mm"]
    assert with_article("electric kettle", "electric kettle") == "an electric kettle"
    assert with_article("trainers", "trainers") == "trainers"
