"""Recommendations from a real release over a real socket: FAISS, ONNX Runtime, SQLite, the command."""

import asyncio
import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct
from shops import command, environment

from core.releases import ReleaseStore
from retrieval.server.main import run_server
from retrieval.server.settings import ServeSettings
from tandem.client import (
    AsyncSearchClient,
    DeleteRequest,
    ProductDelete,
    ProductUpsert,
    RecommendRequest,
    SearchError,
    UpsertRequest,
)
from tandem.v1 import recommend_pb2, search_pb2

SECRET = "shopper-4711"


def settings(store: ReleaseStore, **changes: Any) -> ServeSettings:
    return ServeSettings(releases=store.root, address="127.0.0.1:0", grace_seconds=5, **changes)


def run(*arguments: str) -> str:
    done = subprocess.run(command(*arguments), capture_output=True, text=True, env=environment(), timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def titles(answer: recommend_pb2.RecommendResponse) -> list[str]:
    return [hit.product.title for hit in answer.hits]


async def test_similar_products_are_alike_and_pages_have_all_of_them_once(store: ReleaseStore) -> None:
    async with run_server(settings(store)) as server, AsyncSearchClient(server.address, timeout=20) as client:
        request = RecommendRequest(product={"product_id": "a-0"}, top_k=4, total="TOTAL_MODE_EXACT")  # type: ignore[arg-type]
        answer = await client.recommend(request)
        assert all("kettle" in title for title in titles(answer)) and len(answer.hits) == 4
        assert answer.path == recommend_pb2.RECOMMENDATION_PATH_NEW_PRODUCT and answer.total.value == 29
        seen = [hit.product_id for hit in answer.hits]
        while answer.next_page_token:
            request.page_token, request.top_k = answer.next_page_token, 10
            answer = await client.recommend(request)
            seen += [hit.product_id for hit in answer.hits]
        assert sorted(seen) == sorted(f"a-{i}" for i in range(1, 30))


async def test_a_filter_a_facet_and_a_price_hold_for_a_history(store: ReleaseStore) -> None:
    async with run_server(settings(store)) as server, AsyncSearchClient(server.address, timeout=20) as client:
        request = RecommendRequest(user={"products": [{"product_id": "a-5"}, {"product_id": "a-6"}]})  # type: ignore[arg-type]
        answer = await client.recommend(request)
        assert sum("hose" in title for title in titles(answer)) == 5 and len(answer.hits) == 10
        request.filter.range.field = "price"
        request.filter.range.below.number = 5
        request.facets.add(field="availability")
        cheap = await client.recommend(request)
        assert {hit.product_id for hit in cheap.hits} == {f"a-{i}" for i in range(5)}
        assert cheap.total.value == 5 and cheap.facets[0].values[0].count == 5
        request.filter.range.field = "weight"
        with pytest.raises(SearchError, match="weight"):
            await client.recommend(request)


async def test_processes_share_profiles_and_nothing_is_left_of_who_is_forgotten(
    store: ReleaseStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    async with (
        run_server(settings(store)) as one,
        run_server(settings(store)) as other,
        AsyncSearchClient(one.address, timeout=20) as first,
        AsyncSearchClient(other.address, timeout=20) as second,
    ):
        request = RecommendRequest(
            user={"user_id": SECRET, "remember": True, "products": [{"product_id": "a-7"}, {"product_id": "secret-8"}]}  # type: ignore[arg-type]
        )
        await first.recommend(request)
        answer = await second.recommend(RecommendRequest(user={"user_id": SECRET}))  # type: ignore[arg-type]
        assert (answer.products_used, answer.unknown_products) == (1, 1)
        assert b"secret-8" in every_byte(store.root / "profiles") and SECRET.encode() not in every_byte(store.root)
        assert (await second.forget_user(SECRET)).profiles_deleted == 1
        answer = await first.recommend(RecommendRequest(user={"user_id": SECRET}))  # type: ignore[arg-type]
        assert answer.path == recommend_pb2.RECOMMENDATION_PATH_UNKNOWN_USER
        left = every_byte(store.root / "profiles")
        assert b"secret-8" not in left and b"a-7" not in left
        for caches in (one.caches, other.caches):
            assert not len(caches.vectors) and not len(caches.candidates) and not len(caches.scores)
    assert SECRET not in caplog.text and "secret-8" not in caplog.text


async def test_profiles_in_redis_serve_all_machines_with_one_key(store: ReleaseStore, redis_url: str) -> None:
    shared = {"profiles": redis_url, "profile_key": "a secret of all machines"}
    async with run_server(settings(store, **shared)) as server, AsyncSearchClient(server.address, timeout=20) as client:
        user = {"user_id": SECRET, "remember": True, "products": [{"product_id": "a-7"}]}
        await client.recommend(RecommendRequest(user=user))  # type: ignore[arg-type]
    assert not (store.root / "profiles").exists()
    async with run_server(settings(store, **shared)) as server, AsyncSearchClient(server.address, timeout=20) as client:
        assert (await client.recommend(RecommendRequest(user={"user_id": SECRET}))).products_used == 1  # type: ignore[arg-type]
        assert (await client.forget_user(SECRET)).profiles_deleted == 1


async def test_the_command_prints_a_list_or_one_line_of_what_is_wrong(store: ReleaseStore) -> None:
    async with run_server(settings(store)) as server:
        at = ("--address", server.address)
        table = await asyncio.to_thread(run, "recommend", *at, "--product", "a-0")
        assert "red kettle" not in table and "blue kettle" in table and "sources: similar, popular" in table
        printed = await asyncio.to_thread(run, "recommend", *at, "--recent", "a-5:view", "--top-k", "2", "--json")
        assert (
            json.loads(printed)["path"] == "RECOMMENDATION_PATH_ONE_PRODUCT" and len(json.loads(printed)["hits"]) == 2
        )
        wrong = command("recommend", *at, "--product", "a-0", "--user", "u")
        failed = await asyncio.to_thread(subprocess.run, wrong, capture_output=True, text=True, env=environment())
        assert failed.returncode == 2 and failed.stderr.count("\n") == 1 and "--product goes without" in failed.stderr


async def test_behaviour_is_loaded_into_the_profiles_that_a_service_reads(store: ReleaseStore, tmp_path: Path) -> None:
    when = datetime.now(UTC).isoformat()
    (tmp_path / "log.csv").write_text(f"user_id,product_id,time\n{SECRET},a-7,{when}\n{SECRET},a-8,{when}\n")
    printed = await asyncio.to_thread(
        run, "profiles", "import", str(tmp_path / "log.csv"), "--releases", str(store.root)
    )
    assert printed == "2 rows read, 2 events of 1 shoppers kept\n"
    async with run_server(settings(store)) as server, AsyncSearchClient(server.address, timeout=20) as client:
        answer = await client.recommend(RecommendRequest(user={"user_id": SECRET}))  # type: ignore[arg-type]
    assert answer.products_used == 2 and sum("hose" in title for title in titles(answer)) >= 4


async def test_a_search_states_that_it_was_not_personalised(store: ReleaseStore) -> None:
    wanted = search_pb2.SearchRequest(query="kettle", user={"products": [{"product_id": "a-5"}]})  # type: ignore[arg-type]
    shifted = settings(store, plan={"personalisation": 0.5})
    async with run_server(shifted) as server, AsyncSearchClient(server.address, timeout=20) as client:
        answer = await client.search(wanted)
        plain = await client.search(search_pb2.SearchRequest(query="kettle"))
    assert answer.personalisation.strength == 0 and answer.personalisation.reason == "the release has no user tower"
    assert [hit.product_id for hit in answer.hits] == [hit.product_id for hit in plain.hits]


async def test_what_was_changed_a_moment_ago_is_recommended_or_gone(store: ReleaseStore) -> None:
    asked = settings(store, plan={"exploration": 0.5}, default_deadline=20)
    async with run_server(asked) as server, AsyncSearchClient(server.address, timeout=30) as client:
        row = Struct()
        row.update({"id": "new-1", "title": "violet kettle", "price": "7 EUR"})
        changed = await client.upsert(UpsertRequest(products=[ProductUpsert(row=row)]))
        beside = RecommendRequest(product={"product_id": "new-1"}, least_revision=changed.revision)  # type: ignore[arg-type]
        answer = await client.recommend(beside)
        assert answer.overlay_revision == changed.revision
        assert answer.path == recommend_pb2.RECOMMENDATION_PATH_NEW_PRODUCT
        assert sum("kettle" in title for title in titles(answer)[:6]) >= 4
        shopper = RecommendRequest(user={"products": [{"product_id": "a-0"}]}, top_k=5)  # type: ignore[arg-type]
        answer = await client.recommend(shopper)
        assert "violet kettle" in titles(answer)
        one = RecommendRequest(product={"product_id": "a-29"}, top_k=5)  # type: ignore[arg-type]
        kept = [await client.recommend(one, request_id=str(number)) for number in range(4)]
        assert {slot.product_id for answer in kept for slot in answer.exploration} == {"new-1"}
        gone = await client.delete(DeleteRequest(products=[ProductDelete(product_id="new-1")]))
        shopper.least_revision = beside.least_revision = gone.revision
        assert "violet kettle" not in titles(await client.recommend(shopper))
        assert (await client.recommend(beside)).path == recommend_pb2.RECOMMENDATION_PATH_UNKNOWN_PRODUCT


async def test_health_and_reflection_know_the_service(store: ReleaseStore) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    async with run_server(settings(store)) as server, grpc.aio.insecure_channel(server.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        status = await stub.Check(health_pb2.HealthCheckRequest(service="tandem.v1.RecommendService"), timeout=10)
        assert status.status == health_pb2.HealthCheckResponse.SERVING


def every_byte(folder: Path) -> bytes:
    """Of all files below."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
