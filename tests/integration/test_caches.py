"""Caches on a real port: no stale answer after a swap, and hits that survive one."""

import asyncio
from pathlib import Path

import grpc
import pytest
import torch
from shops import index, write_feed

from core.releases import ReleaseStore
from indexer.models import ModelFolders
from ranker.train.export import export_model, load_ranker
from retrieval.server.main import RunningServer, run_server
from retrieval.server.settings import ServeSettings
from tandem.v1 import search_pb2, search_pb2_grpc

QUERY = "red kettle"


def settings(store: ReleaseStore, **changes: int) -> ServeSettings:
    return ServeSettings(
        releases=store.root, address="127.0.0.1:0", poll_seconds=0.1, grace_seconds=5, **changes  # type: ignore[arg-type]
    )  # fmt: skip


async def ask(server: RunningServer) -> search_pb2.SearchResponse:
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = search_pb2_grpc.SearchServiceStub(channel)
        return await stub.Search(search_pb2.SearchRequest(query=QUERY, top_k=30), timeout=30)


def opposite_ranker(folder: Path) -> Path:
    """The untrained cross-encoder with its last layer's signs turned."""
    model = load_ranker(None)
    with torch.no_grad():
        for parameter in model.model.classifier.parameters():
            parameter.mul_(-1)
    export_model(model, "opposite", folder)
    return folder


async def swapped(server: RunningServer, release: str) -> None:
    """Waits until the release is in service, without asking it anything."""
    async with asyncio.timeout(30):
        while server.manager.get("").release_id != release:
            await asyncio.sleep(0.02)


def scores(answer: search_pb2.SearchResponse) -> dict[str, dict[str, float]]:
    """By the product's number, what each stage said."""
    return {
        hit.product_id.partition("-")[2]: {stated.stage: stated.score for stated in hit.stage_scores}
        for hit in answer.hits
    }


async def test_hits_survive_a_swap_to_the_same_models_and_changed_products_are_scored_anew(
    store: ReleaseStore, models: ModelFolders, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "tandem")
    async with run_server(settings(store)) as server:
        before = await ask(server)
        assert server.caches.scores.counts.misses == 30
        again = await ask(server)
        result = server.caches.candidates.counts
        assert result.misses == result.hits > 0
        assert scores(again) == scores(before) and server.caches.scores.counts.hits == 30
        outcome = await asyncio.to_thread(index, write_feed(tmp_path / "b.jsonl", "b-", changed=3), models, store)
        await swapped(server, outcome.manifest.release_id)
        after = await ask(server)
        assert after.release_id == outcome.manifest.release_id
        assert {hit.product_id[:2] for hit in after.hits} == {"b-"}
        assert result.misses == 2 * result.hits  # another index finds its own
        assert server.caches.scores.counts.misses == 33 and server.caches.vectors.counts.misses == 1
    old, new = scores(before), scores(after)
    assert {number for number in old if old[number]["rescore"] != new[number]["rescore"]} == {"0", "1", "2"}
    assert "rerank scores: 0.633 of 90 found, 33 kept" in caplog.text  # 30 and 27 of three times 30


async def test_another_ranker_gives_its_own_scores_after_a_swap(
    store: ReleaseStore, models: ModelFolders, tmp_path: Path
) -> None:
    changed = ModelFolders(models.encoder, opposite_ranker(tmp_path / "ranker"))
    async with run_server(settings(store)) as server:
        before = await ask(server)
        outcome = await asyncio.to_thread(index, write_feed(tmp_path / "a.jsonl", "a-"), changed, store)
        await swapped(server, outcome.manifest.release_id)
        cached = await ask(server)
    async with run_server(settings(store, query_cache_bytes=0, candidate_cache_bytes=0, score_cache_bytes=0)) as server:
        plain = await ask(server)
        assert server.caches.scores.counts.hits == 0
    assert cached.release_id == plain.release_id
    old, new, alone = scores(before), scores(cached), scores(plain)
    for number, stated in alone.items():
        assert new[number]["rescore"] == pytest.approx(stated["rescore"], abs=1e-3) != old[number]["rescore"]
        assert new[number]["retrieve"] == old[number]["retrieve"]  # the tower is the same
