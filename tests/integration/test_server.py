"""A feed indexed with real models and served on a real port: searching, swapping, refusing."""

import asyncio
from pathlib import Path

import grpc
import numpy as np
import pytest
from shops import index, publish_damaged, write_feed

from catalog.product import product_text
from catalog.table import ProductTable
from core.releases import ReleaseStore
from encoder.bi_encoder import BiEncoder
from engine.onnx.session import OnnxModel
from indexer.models import ModelFolders
from ranker.ranker import Ranker
from retrieval.server.main import run_server
from retrieval.server.settings import ServeSettings
from tandem.v1 import search_pb2, search_pb2_grpc

QUERIES = ("red kettle", "boots for hiking", "lamp", "something to drill with", "green bed sheet")


def settings(store: ReleaseStore) -> ServeSettings:
    return ServeSettings(releases=store.root, address="127.0.0.1:0", poll_seconds=0.1, grace_seconds=5)


def ask(channel: grpc.aio.Channel, query: str, top_k: int = 10) -> search_pb2.SearchResponse:
    stub = search_pb2_grpc.SearchServiceStub(channel)
    return stub.Search(search_pb2.SearchRequest(query=query, top_k=top_k), timeout=30)


async def served(channel: grpc.aio.Channel, release: str) -> None:
    """Waits until the release answers."""
    async with asyncio.timeout(30):
        while (await ask(channel, "lamp")).release_id != release:
            await asyncio.sleep(0.02)


async def test_answers_are_those_of_the_models_run_by_hand(store: ReleaseStore, models: ModelFolders) -> None:
    assert models.ranker is not None
    async with run_server(settings(store)) as server, grpc.aio.insecure_channel(server.address) as channel:
        answer = await ask(channel, "red kettle", 30)
    assert not answer.degraded and len(answer.hits) == 30
    tower, ranker = BiEncoder.open(models.encoder), Ranker.open(models.ranker)
    release = store.current("default")
    assert release is not None
    columns = ProductTable(store.path("default", release) / "products.arrow")
    texts = [product_text(columns.row(row)) for row in range(len(columns))]
    [query] = OnnxModel(tower.model_path("query")).run(tower.tokenize_queries(["red kettle"]))
    items = OnnxModel(tower.model_path("item")).run(tower.tokenize_items(texts))
    cross = OnnxModel(ranker.model_path)
    words = ranker.tokenize_query("red kettle")
    similarities = items @ query
    for hit in answer.hits:
        row = columns.ids().index(hit.product_id)
        stages = {stage.stage: stage.score for stage in hit.stage_scores}
        similarity, relevance = stages["retrieve"], stages["rescore"]
        assert similarity == pytest.approx(float(similarities[row]), abs=3e-3)  # vectors are kept in half precision
        tokens, segments = ranker.pack(words, ranker.tokenize_products([texts[row]])[0])
        [expected] = ranker.scores(cross.run([tokens], [segments]), similarities[row : row + 1])
        assert relevance == pytest.approx(float(expected), abs=1e-3)
        assert hit.score == stages["mix"]
    assert [hit.score for hit in answer.hits] == sorted((hit.score for hit in answer.hits), reverse=True)
    best = min(answer.hits, key=lambda hit: hit.stage_scores[0].rank)
    assert best.product.title == "red kettle"
    assert best.product.price == search_pb2.Money(currency_code="EUR", units=0, nanos=990_000_000)
    assert np.linalg.norm(query) == pytest.approx(1, abs=1e-3)


async def test_releases_swap_under_load_without_a_failed_or_mixed_answer(
    store: ReleaseStore, models: ModelFolders, tmp_path: Path
) -> None:
    first = store.current("default")
    assert first is not None
    prefixes = {first: "a-"}
    answers: list[search_pb2.SearchResponse] = []
    stop = asyncio.Event()

    async def client(address: str, number: int) -> None:
        async with grpc.aio.insecure_channel(address) as channel:
            while not stop.is_set():
                answers.append(await ask(channel, QUERIES[(number + len(answers)) % len(QUERIES)]))

    async with run_server(settings(store)) as server, grpc.aio.insecure_channel(server.address) as channel:
        clients = [asyncio.create_task(client(server.address, number)) for number in range(8)]
        for prefix in ("b-", "c-"):
            feed = write_feed(tmp_path / "feed.jsonl", prefix)
            outcome = await asyncio.to_thread(index, feed, models, store)
            prefixes[outcome.manifest.release_id] = prefix
            await served(channel, outcome.manifest.release_id)
        stop.set()
        await asyncio.gather(*clients)  # a failed call would raise here
    assert {answer.release_id for answer in answers} == set(prefixes)
    for answer in answers:
        assert len(answer.hits) == 10
        assert {hit.product_id[:2] for hit in answer.hits} == {prefixes[answer.release_id]}


async def test_a_damaged_release_is_refused_and_the_old_one_stays(
    store: ReleaseStore, models: ModelFolders, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = store.current("default")
    assert old is not None
    async with run_server(settings(store)) as server, grpc.aio.insecure_channel(server.address) as channel:
        bad = publish_damaged(store, store.manifest("default", old))
        async with asyncio.timeout(30):
            while "refused" not in caplog.text:
                await asyncio.sleep(0.02)
        assert f"release {bad} refused, {old} stays" in caplog.text
        assert "index.faiss differs from its manifest" in caplog.text
        assert (await ask(channel, "lamp")).release_id == old
        outcome = await asyncio.to_thread(index, write_feed(tmp_path / "b.jsonl", "b-"), models, store)
        await served(channel, outcome.manifest.release_id)
