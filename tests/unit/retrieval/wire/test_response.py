import asyncio
from pathlib import Path

import pytest
from builders import product
from doubles import make_release
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from retrieval.pipeline.result import Degradation, Hit, SearchResult, StageReport, StageScore, WordContribution
from retrieval.release.loaded import LoadedRelease
from retrieval.rules.effects import RuleReport
from retrieval.wire import response as wire
from retrieval.wire.display import money
from retrieval.wire.request import PRODUCT_FIELDS, read_query
from tandem.v1 import search_pb2


def respond(release: LoadedRelease, paths: list[str], row: int = 0, **request: object) -> search_pb2.SearchResponse:
    message = search_pb2.SearchRequest(query="x", product_mask=FieldMask(paths=paths), **request)
    answer = SearchResult(
        release.view,
        hits=[
            Hit(row, 0.75, (StageScore("retrieve", 0.5, 2), StageScore("rescore", 0.75, 1))),
            Hit(row + 1, -0.6, (StageScore("retrieve", 0.4, 0), StageScore("lexical", 7.5, 1))),
        ],
        stages=[StageReport("encode", 1, 1, 0.0015), StageReport("retrieve", 40, 20, 61.25)],
        degraded=[Degradation("RERANK_REDUCED", "why")],
    )
    return asyncio.run(wire.response(message, read_query(message), answer, release, "id-1"))


@pytest.mark.parametrize(
    ("micros", "units", "nanos"),
    [(0, 0, 0), (1, 0, 1000), (19_990_000, 19, 990_000_000), (10**15, 10**9, 0), (2**53 + 1, 9007199254, 740_993_000)],
)
def test_money_is_exact(micros: int, units: int, nanos: int) -> None:
    assert money(micros, "EUR") == search_pb2.Money(currency_code="EUR", units=units, nanos=nanos)


def test_rules_and_words_are_in_the_response(release: LoadedRelease) -> None:
    request = search_pb2.SearchRequest(query="x")
    answer = SearchResult(
        release.view,
        hits=[Hit(1, 0.5, (), words=(WordContribution("red", True, 1.5), WordContribution("mug", False, -0.25)))],
        rules=(RuleReport("sale", "pin", "p1 at 1"),),
        redirect="/sale",
    )
    message = asyncio.run(wire.response(request, read_query(request), answer, release, "id-1"))
    assert list(message.rules) == [search_pb2.RuleEffect(rule_id="sale", action="pin", detail="p1 at 1")]
    assert message.redirect == "/sale"
    assert list(message.hits[0].words) == [
        search_pb2.WordContribution(word="red", from_query=True, contribution=1.5),
        search_pb2.WordContribution(word="mug", contribution=-0.25),
    ]


def test_the_whole_response(release: LoadedRelease) -> None:
    message = respond(release, ["title", "price"], row=2)
    assert message == search_pb2.SearchResponse(
        request_id="id-1",
        release_id=release.release_id,
        catalog="shop",
        hits=[
            search_pb2.Hit(
                product_id="p2",
                rank=1,
                score=0.75,
                stage_scores=[
                    search_pb2.StageScore(stage="retrieve", score=0.5, rank=2),
                    search_pb2.StageScore(stage="rescore", score=0.75, rank=1),
                ],
                product=search_pb2.Product(
                    title="title 2", price=search_pb2.Money(currency_code="EUR", units=2, nanos=10_000_000)
                ),
            ),
            search_pb2.Hit(
                product_id="p3",
                rank=2,
                score=-0.6,
                stage_scores=[
                    search_pb2.StageScore(stage="retrieve", score=0.4, rank=0),
                    search_pb2.StageScore(stage="lexical", score=7.5, rank=1),
                ],
                product=search_pb2.Product(
                    title="title 3", price=search_pb2.Money(currency_code="EUR", units=3, nanos=10_000_000)
                ),
            ),
        ],
        overlay_revision=0,
        stages=[
            search_pb2.Stage(name="encode", duration=Duration(nanos=1_500_000), candidates_in=1, candidates_out=1),
            search_pb2.Stage(
                name="retrieve", duration=Duration(seconds=61, nanos=250_000_000), candidates_in=40, candidates_out=20
            ),
        ],
        degraded=[search_pb2.Degradation(reason="DEGRADATION_REASON_RERANK_REDUCED", detail="why")],
    )


@pytest.mark.parametrize("name", PRODUCT_FIELDS)
def test_the_mask_shows_one_field_alone(tmp_path: Path, name: str) -> None:
    full = {field: "value" for field in PRODUCT_FIELDS if field not in ("title", "price", "availability", "attributes")}
    row = product(
        "1", "T", price_micros=5, currency="EUR", availability="in_stock", attributes=[("a", "b"), ("c", "")], **full
    )
    shown = respond(make_release(tmp_path, rows=[row, row]), [name]).hits[0].product
    assert [field.name for field, _ in shown.ListFields()] == [name]
    if name == "attributes":
        assert dict(shown.attributes) == {"a": "b", "c": ""}
    elif name not in ("title", "price", "availability"):
        assert getattr(shown, name) == "value"


def test_the_default_mask_leaves_out_the_long_fields_and_a_star_shows_them(release: LoadedRelease) -> None:
    usual = respond(release, []).hits[0].product
    assert usual.title == "title 0" and not usual.description and not usual.attributes
    whole = respond(release, ["*"]).hits[0].product
    assert whole.description == "description 0" and dict(whole.attributes) == {"weight": "0 g"}


@pytest.mark.parametrize(
    ("word", "value"),
    [("in_stock", 1), ("out_of_stock", 2), ("preorder", 3), ("backorder", 4), (None, 0)],
)
def test_availability(tmp_path: Path, word: str | None, value: int) -> None:
    row = product("1", availability=word)
    assert respond(make_release(tmp_path, rows=[row, row]), ["availability"]).hits[0].product.availability == value


def test_what_the_feed_did_not_say_is_absent(tmp_path: Path) -> None:
    shown = respond(make_release(tmp_path, rows=[product("1"), product("2")]), ["*"]).hits[0].product
    assert [field.name for field, _ in shown.ListFields()] == ["title"]
    assert not shown.HasField("price")


def test_the_experiment_is_returned_when_given(release: LoadedRelease) -> None:
    context = search_pb2.ExperimentContext(experiment_id="e", variant_id="v")
    assert respond(release, [], experiment=context).experiment == context
    assert not respond(release, []).HasField("experiment")
