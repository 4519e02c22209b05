"""Attributes that queries state, by a real lexical index and typed columns of a small shop."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from builders import product
from doubles import make_release

from catalog.columns import Columns, Kind, make_columns
from catalog.segment import make_segment
from catalog.table import ProductTable
from catalog.view import CatalogView
from core.filters import And, Equal, Range
from core.plan import Plan
from core.progress import ignore
from engine.lexical.index import LexicalIndex
from indexer.lexical import index_words
from ranker.features import FEATURE_NAMES
from ranker.final import FinalSpec
from retrieval.pipeline.lexical import LexicalRetriever
from retrieval.pipeline.result import SearchResult
from retrieval.pipeline.search import search
from retrieval.release.loaded import LoadedRelease
from retrieval.server.admission import Permit
from retrieval.understanding.agreement import AGREEMENT_FEATURES, compute_agreement
from retrieval.understanding.attributes import AttributeReader
from retrieval.understanding.result import HARD, OFF, SOFT, PredictedType, StatedAttribute, Understanding
from retrieval.wire.request import Query
from text.synonyms import Synonyms

_PLAN = Plan(candidates=1, lexical_candidates=100, rerank_depth=0)


def rows() -> list[dict[str, Any]]:
    """Ten of each: orange dresses and black ones, orange juice, drills of two brands, one of 18 V, laptops of Apple."""
    result = []
    for i in range(10):
        result += [
            product(f"od{i}", f"orange dress {i}", color="Orange", product_type="Clothes > Dresses", size="M"),
            product(f"bd{i}", f"black dress {i}", color="Black", product_type="Clothes > Dresses", size="42"),
            product(f"oj{i}", f"orange juice {i}", color="Yellow", brand="Granini", product_type="Food > Juice"),
            product(
                f"dr{i}", f"Black and Decker drill {i}", brand="Black and Decker", color="Red", product_type="Drills"
            ),
            product(f"dv{i}", f"drill 18 V {i}", brand="Bosch", color="Black", product_type="Drills"),
            product(f"al{i}", f"apple laptop {i}", brand="Apple", color="Dark Grey", product_type="Laptops"),
            product(f"aj{i}", f"apple juice {i}", brand="Granini", color="Yellow", product_type="Food > Juice"),
        ]
    for i, row in enumerate(result):
        row["price_micros"] = (1 + i // 7) * 1_000_000
    return result


def columns(rows: list[dict[str, Any]]) -> Columns:
    values = {name: [row[name] for row in rows] for name in ("brand", "color", "size")}
    values["price"] = [row["price_micros"] / 1e6 for row in rows]
    values["attributes.Voltage"] = [18.0 if "18 V" in row["title"] else None for row in rows]
    kinds = dict.fromkeys(("brand", "color", "size"), Kind.string) | {"price": Kind.money}
    return make_columns(values, kinds | {"attributes.Voltage": Kind.number}, {"attributes.Voltage": "v"})


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedRelease]:
    folder = tmp_path_factory.mktemp("attributes")
    release = make_release(folder, rows=rows(), ranker=False)
    report = index_words(ProductTable(folder / "products.arrow"), "en", Synonyms(), folder / "lexical", ignore)
    index = LexicalIndex(folder / "lexical", list(report.weights), release.products)
    typed = columns(rows())
    release.view = CatalogView(make_segment(release.columns, columns=typed))
    reader = AttributeReader(index, "en", typed)
    release.words = LexicalRetriever(index, "en", report.weights, attributes=reader)
    yield release
    release.words.close()


async def ask(release: LoadedRelease, text: str, mode: str = SOFT, top_k: int = 10) -> SearchResult:
    return await search(Query(text, top_k=top_k, understanding=mode), _PLAN, release, Permit(), None)


@pytest.mark.parametrize(
    ("text", "field", "value", "words"),
    [
        ("orange dress", "color", "Orange", "orange"),
        ("dress in black", "color", "Black", "black"),
        ("black and decker drill", "brand", "Black and Decker", "black and decker"),
        ("apple laptop", "brand", "Apple", "apple"),
        ("dark grey laptop", "color", "Dark Grey", "dark grey"),
        ("dress size 42", "size", "42", "42"),
        ("drill 18v", "attributes.Voltage", "18 v", "18v"),
    ],
)
async def test_what_is_stated_is_likely(release: LoadedRelease, text: str, field: str, value: str, words: str) -> None:
    [one] = (await ask(release, text)).understanding.attributes
    assert (one.field, one.value, one.words) == (field, value, words) and one.confidence > 0.8


@pytest.mark.parametrize("text", ["orange juice", "apple juice", "dress 42", "drill m", "laptop", "9 v", "zzz", "..."])
async def test_what_names_something_else_is_unlikely(release: LoadedRelease, text: str) -> None:
    assert all(one.confidence < 0.5 for one in (await ask(release, text)).understanding.attributes)


async def test_hard_is_a_condition_and_soft_is_none(release: LoadedRelease) -> None:
    soft, hard, off = [await ask(release, "black drill", mode, 30) for mode in (SOFT, HARD, OFF)]
    colors = {release.view.row(hit.row, ("color",))["color"] for hit in hard.hits}
    assert hard.understanding.filter == Equal("color", "Black") and colors == {"Black"} and len(hard.hits) >= 10
    assert soft.understanding.filter is None and len(soft.hits) > len(hard.hits)
    assert soft.understanding.attributes == hard.understanding.attributes and off.understanding.attributes == ()
    assert [hit.row for hit in soft.hits] == [hit.row for hit in off.hits]


async def test_a_condition_that_no_product_meets_is_left_out(release: LoadedRelease) -> None:
    answer = await ask(release, "orange dress over 500 euro", HARD)
    assert answer.understanding.filter == Equal("color", "Orange") and len(answer.hits) == 10
    answer = await ask(release, "orange dress under 3 euro", HARD)
    assert answer.understanding.filter == And((Range("price", at_most=3.0), Equal("color", "Orange")))
    assert sorted(hit.row for hit in answer.hits) == [0, 7, 14]


async def test_types_are_those_of_what_is_found_first(release: LoadedRelease) -> None:
    first, *others = (await ask(release, "orange juice")).understanding.product_types
    assert first.product_type == "Food > Juice" and first.confidence > 0.5 and len(others) <= 2
    assert first.confidence + sum(one.confidence for one in others) <= 1.001
    assert (await ask(release, "orange juice", OFF)).understanding.product_types == ()


async def test_a_low_price_is_the_lower_quartile_of_the_type(release: LoadedRelease) -> None:
    soft, hard = [await ask(release, "cheap laptop", mode, 30) for mode in (SOFT, HARD)]
    # Laptops cost 1 to 10; a quarter of the way between is 3.25.
    assert soft.understanding.price is not None and soft.understanding.price.most == 3_250_000
    assert {hit.row // 7 for hit in hard.hits} <= {0, 1, 2} and len(hard.hits) >= 3
    assert [hit.row for hit in soft.hits] == [hit.row for hit in (await ask(release, "cheap laptop", OFF, 30)).hits]


async def test_a_long_query_costs_a_bounded_number_of_lookups(release: LoadedRelease) -> None:
    assert release.words is not None
    result = await release.words.attributes("orange black apple " * 150)
    assert len(result) <= 32


async def test_agreement_is_the_share_of_what_is_stated_and_the_type_s_probability(release: LoadedRelease) -> None:
    stated = Understanding(
        attributes=(
            StatedAttribute("color", "Black", "black", 0.9),
            StatedAttribute("attributes.Voltage", "18 v", "18v", 0.3, 18.0),
            StatedAttribute("attributes.Gone", "x", "x", 0.9),
        ),
        product_types=(PredictedType("Drills", 0.7), PredictedType("Laptops", 0.2)),
    )
    # A black dress, a red drill, a black one of 18 V, a grey laptop.
    agreement = compute_agreement(stated, np.array([1, 3, 4, 5]), release.view)
    assert agreement.attributes.tolist() == pytest.approx([0.75, 0, 1, 0])
    assert agreement.product_type.tolist() == pytest.approx([0, 0.7, 0.7, 0.2])
    nothing = compute_agreement(Understanding(), np.array([1, 3]), release.view)
    assert np.isnan(nothing.attributes).all() and np.isnan(nothing.product_type).all()


class ByAgreement:
    """A final score that is how far a product has what the query states."""

    def __init__(self, features: tuple[str, ...]) -> None:
        self.spec = FinalSpec(features=features, dense_weight=1.0, lexical_weight=1.0, rerank_depth=0, encoder="e")

    def scores(self, table: np.ndarray, rescored: bool) -> np.ndarray:
        return np.nan_to_num(table[:, FEATURE_NAMES.index("attribute_agreement")])


async def test_a_final_score_that_learned_from_it_puts_what_is_stated_first(
    release: LoadedRelease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "final", ByAgreement(FEATURE_NAMES))
    answer = await ask(release, "black drill")
    assert {release.view.row(hit.row, ("color",))["color"] for hit in answer.hits} == {"Black"}
    older = tuple(name for name in FEATURE_NAMES if name not in AGREEMENT_FEATURES)
    monkeypatch.setattr(release, "final", ByAgreement(older))
    answer = await ask(release, "black drill")  # nobody reads the features, so they are not computed
    assert {hit.score for hit in answer.hits} == {0}
