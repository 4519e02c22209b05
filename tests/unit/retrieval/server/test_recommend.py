"""The service of recommendations over a real gRPC server, with doubles for models."""

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2
from services import Service, failure

from tandem.client import AsyncSearchClient
from tandem.v1 import recommend_pb2, recommend_pb2_grpc, search_pb2

SECRET = "shopper-4711"


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path)


def stub(channel: grpc.aio.Channel) -> Any:
    return recommend_pb2_grpc.RecommendServiceStub(channel)


def for_user(*products: str, **fields: Any) -> recommend_pb2.RecommendRequest:
    return recommend_pb2.RecommendRequest(user={"products": [{"product_id": name} for name in products], **fields})  # type: ignore[arg-type]


async def test_an_answer_says_what_it_was_made_from(service: Service) -> None:
    async with service.serve() as (channel, _):
        request = for_user("p3", "nothing")
        request.top_k, request.experiment.experiment_id = 3, "e"
        request.product_mask.paths.append("title")
        answer = await stub(channel).Recommend(request, metadata=(("x-request-id", "r1"),), timeout=10)
    assert answer.request_id == "r1" and answer.catalog == "shop" and answer.release_id == service.release.release_id
    assert answer.path == recommend_pb2.RECOMMENDATION_PATH_ONE_PRODUCT
    assert (answer.products_used, answer.unknown_products) == (1, 1)
    assert list(answer.sources) == ["similar", "popular"]
    assert [hit.rank for hit in answer.hits] == [1, 2, 3] and answer.hits[0].product.title.startswith("title")
    assert {"similar", "popular", "fuse"} <= {one.stage for one in answer.hits[0].stage_scores}
    assert answer.experiment.experiment_id == "e" and not answer.HasField("total")
    assert {"similar", "popular", "fuse", "arrange"} <= {stage.name for stage in answer.stages}


async def test_wrong_requests_are_refused_with_all_fields_and_without_the_shopper(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    async with service.serve() as (channel, _):
        error, status = await failure(stub(channel).Recommend(for_user("", user_id=SECRET * 99, strength=2)))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT and SECRET not in str(error)
        detail = error_details_pb2.BadRequest()
        packed: any_pb2.Any = status.details[0]
        packed.Unpack(detail)
        fields = [violation.field for violation in detail.field_violations]
        assert fields == ["user.user_id", "user.strength", "user.products[0].product_id"]
        for bad, words in ((b"\xff\xff", "is not a RecommendRequest"), (b"\x0a" * 70_000, "65,536")):
            call = channel.unary_unary("/tandem.v1.RecommendService/Recommend")(bad, timeout=10)
            error, _ = await failure(call)
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT and words in str(error.details())
        error, _ = await failure(stub(channel).Recommend(recommend_pb2.RecommendRequest(catalog="other")))
        assert error.code() is grpc.StatusCode.NOT_FOUND
        error, _ = await failure(stub(channel).Recommend(recommend_pb2.RecommendRequest(language="de")))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert SECRET not in caplog.text


async def test_ten_thousand_products_are_refused_in_clear_words(service: Service) -> None:
    async with service.serve() as (channel, _):
        error, _ = await failure(stub(channel).Recommend(for_user(*(f"p{i}" for i in range(10_000))), timeout=10))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT and "65,536" in str(error.details())
        error, _ = await failure(stub(channel).Recommend(for_user(*["p"] * 10_000), timeout=10))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT and "1,000" in str(error.details())
        answer = await stub(channel).Recommend(for_user(*(f"p{i}" for i in range(1000))), timeout=10)
        assert answer.products_used + answer.unknown_products == 50  # the latest that are read


async def test_fields_of_later_versions_are_ignored(service: Service) -> None:
    async with service.serve() as (channel, _):
        call = channel.unary_unary("/tandem.v1.RecommendService/Recommend")
        data = await call(for_user("p1").SerializeToString() + b"\xfa\x3f\x03abc", timeout=10)
        assert recommend_pb2.RecommendResponse.FromString(data).hits


async def test_recommendations_take_places_among_searches(service: Service) -> None:
    service.delays = {"vectors": 30.0}
    async with service.serve(max_in_flight=1) as (channel, _):
        held = stub(channel).Recommend(for_user("p1"), timeout=20)

        async with asyncio.timeout(10):
            while not service.engine.calls:
                await asyncio.sleep(0.002)
        error, _ = await failure(stub(channel).Recommend(for_user("p1"), timeout=10))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        held.cancel()


async def test_a_fault_is_internal_with_the_request_id_and_without_its_text(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from retrieval.pipeline.recommend_sources import PopularSource

    async def fail(self: Any) -> Any:
        raise RuntimeError("secret text")

    async with service.serve() as (channel, _):
        monkeypatch.setattr(PopularSource, "find", fail)
        call = stub(channel).Recommend(for_user("p1", user_id=SECRET), metadata=(("x-request-id", "r9"),), timeout=10)
        error, _ = await failure(call)
    assert error.code() is grpc.StatusCode.INTERNAL and "r9" in str(error.details())
    assert "secret text" not in str(error.details()) and caplog.text.count("request r9 failed") == 1
    assert SECRET not in caplog.text


async def test_a_profile_is_remembered_used_and_forgotten(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with service.serve() as (channel, server), AsyncSearchClient(server.address) as client:
        unknown = await client.recommend(for_user(user_id=SECRET))
        assert unknown.path == recommend_pb2.RECOMMENDATION_PATH_UNKNOWN_USER
        await client.recommend(for_user("p3", user_id=SECRET, remember=True))
        await client.recommend(for_user("p9", user_id=SECRET))  # not remembered
        known = await client.recommend(for_user(user_id=SECRET))
        assert known.path == recommend_pb2.RECOMMENDATION_PATH_ONE_PRODUCT and known.products_used == 1
        search = search_pb2.SearchRequest(query="1 cup", user={"user_id": SECRET, "products": [{"product_id": "p4"}]})  # type: ignore[arg-type]
        search.user.remember = True
        answer = await client.search(search)
        assert answer.personalisation.strength == 0 and answer.personalisation.reason == "the plan allows no shift"
        assert (await client.recommend(for_user(user_id=SECRET))).products_used == 2
        assert (await client.forget_user(SECRET)).profiles_deleted == 1
        assert (await client.forget_user(SECRET)).profiles_deleted == 0
        again = await client.recommend(for_user(user_id=SECRET))
        assert again.path == recommend_pb2.RECOMMENDATION_PATH_UNKNOWN_USER
        assert not (await client.search(search_pb2.SearchRequest(query="1 cup"))).HasField("personalisation")
        error, _ = await failure(stub(channel).ForgetUser(recommend_pb2.ForgetUserRequest()))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert SECRET not in caplog.text


async def test_without_profiles_nothing_is_remembered_and_nobody_forgotten(service: Service) -> None:
    async with service.serve(profiles="off") as (channel, _):
        await stub(channel).Recommend(for_user("p3", user_id=SECRET, remember=True), timeout=10)
        answer = await stub(channel).Recommend(for_user(user_id=SECRET), timeout=10)
        assert answer.path == recommend_pb2.RECOMMENDATION_PATH_UNKNOWN_USER and not answer.degraded
        error, _ = await failure(stub(channel).ForgetUser(recommend_pb2.ForgetUserRequest(user_id=SECRET)))
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION and SECRET not in str(error)


async def test_a_store_that_cannot_be_opened_degrades_and_stops_nothing(service: Service, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with service.serve(profile_folder=tmp_path / "file") as (channel, _):
        answer = await stub(channel).Recommend(for_user("p3", user_id=SECRET), timeout=10)
        assert [entry.reason for entry in answer.degraded] == [search_pb2.DEGRADATION_REASON_PROFILE_FAILED]
        assert answer.path == recommend_pb2.RECOMMENDATION_PATH_ONE_PRODUCT
        error, _ = await failure(stub(channel).ForgetUser(recommend_pb2.ForgetUserRequest(user_id=SECRET)))
        assert error.code() is grpc.StatusCode.UNAVAILABLE and str(tmp_path) not in str(error.details())


async def test_events_of_long_ago_are_not_kept(service: Service) -> None:
    request = for_user("p3", user_id=SECRET, remember=True)
    request.user.products[0].time.seconds = int(time.time()) - 10 * 86_400
    async with service.serve(profile_days=9.0) as (channel, _):
        await stub(channel).Recommend(request, timeout=10)
        answer = await stub(channel).Recommend(for_user(user_id=SECRET), timeout=10)
    assert answer.path == recommend_pb2.RECOMMENDATION_PATH_UNKNOWN_USER


async def test_a_further_page_remembers_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from recommendations import make_shop

    service = Service(tmp_path)
    shop = make_shop(tmp_path / "scratch")  # with typed columns, which pages need
    async with service.serve() as (channel, _):
        monkeypatch.setattr(service.release, "view", shop.view)
        monkeypatch.setattr(service.release, "recommender", shop.recommender)
        monkeypatch.setattr(service.release, "engine", shop.engine)
        first = for_user("p3", user_id=SECRET, remember=True)
        first.total = search_pb2.TOTAL_MODE_EXACT
        answer = await stub(channel).Recommend(first, timeout=10)
        second = for_user("p4", "p5", user_id=SECRET, remember=True)
        second.total, second.page_token = first.total, answer.next_page_token
        page = await stub(channel).Recommend(second, timeout=10)
        assert page.hits[0].rank == 11 and not page.sources
        assert (await stub(channel).Recommend(for_user(user_id=SECRET), timeout=10)).products_used == 1
