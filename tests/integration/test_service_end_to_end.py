"""A feed becomes a release, a client gets a reranked list, and a new release comes in while clients ask."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import grpc
import pytest

from core.progress import Silent
from core.releases import ReleaseStore
from indexer.job import Models, Options, Outcome, index_feed
from indexer.mapping import Mapping
from lifecycle.rollback import to_model, to_release
from retrieval.server import running
from retrieval.settings import ServeSettings
from tandem.v1 import search_pb2, search_pb2_grpc

THINGS = (
    "steel kettle",
    "hiking boots",
    "usb cable",
    "cotton sheet",
    "cordless drill",
    "red mug",
    "dog bed",
    "desk lamp",
)


def write_feed(path: Path, prefix: str, count: int = 60) -> Path:
    rows = [
        {"id": f"{prefix}{i}", "title": f"{THINGS[i % len(THINGS)]} model {i}", "price": f"{i + 1}.50 EUR"}
        for i in range(count)
    ]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def publish(feed: Path, store: ReleaseStore, models: Models) -> Outcome:
    return index_feed(feed, Mapping(), models, Options(), store, Silent())


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "lifecycle.cli", *map(str, arguments)]


def environment() -> dict[str, str]:
    root = Path(__file__).resolve().parents[2]
    return os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{root / 'protos'}"}


@pytest.fixture
def models(encoder_dir: Path, ranker_dir: Path) -> Models:
    return Models(encoder_dir, ranker_dir)


async def test_search_answers_while_releases_are_swapped(tmp_path: Path, models: Models) -> None:
    store = ReleaseStore(tmp_path / "releases")
    first = publish(write_feed(tmp_path / "a.jsonl", "a"), store, models).manifest.release_id
    settings = ServeSettings(releases=store.root, address="127.0.0.1:0", poll_seconds=0.1, default_deadline=20)
    seen: set[str] = set()
    async with running(settings) as server, grpc.aio.insecure_channel(server.address) as channel:
        stub = search_pb2_grpc.SearchServiceStub(channel)
        stop = asyncio.Event()

        async def client() -> None:
            while not stop.is_set():
                answer = await stub.Search(search_pb2.SearchRequest(query="red mug", top_k=5), timeout=20)
                prefix = {hit.product_id[0] for hit in answer.hits}
                assert prefix == ({"a"} if answer.release_id == first else {"b"})
                assert "mug" in answer.hits[0].product.title or answer.hits[0].stage_scores[1].stage == "rescore"
                assert [stage.name for stage in answer.stages] == ["encode", "retrieve", "rescore", "arrange"]
                assert not answer.degraded
                seen.add(answer.release_id)

        clients = [asyncio.create_task(client()) for _ in range(8)]
        await asyncio.sleep(0.5)
        second = (
            await asyncio.to_thread(publish, write_feed(tmp_path / "b.jsonl", "b"), store, models)
        ).manifest.release_id
        until = time.monotonic() + 30
        while second not in seen and time.monotonic() < until:
            await asyncio.sleep(0.1)
        stop.set()
        await asyncio.gather(*clients)
    assert seen == {first, second}


async def test_a_broken_release_is_refused_and_the_old_one_stays(tmp_path: Path, models: Models) -> None:
    store = ReleaseStore(tmp_path / "releases")
    first = publish(write_feed(tmp_path / "a.jsonl", "a"), store, models).manifest
    settings = ServeSettings(releases=store.root, address="127.0.0.1:0", poll_seconds=600)
    async with running(settings) as server:
        second = publish(write_feed(tmp_path / "b.jsonl", "b"), store, models).manifest
        columns = store.path("default", second.release_id) / "products.arrow"
        data = bytearray(columns.read_bytes())
        data[len(data) // 2] ^= 1
        columns.unlink()
        columns.write_bytes(data)
        await server.holder.refresh()
        assert server.holder.get("").release_id == first.release_id


def test_nothing_changed_publishes_nothing_and_rollbacks_return(tmp_path: Path, models: Models) -> None:
    store = ReleaseStore(tmp_path / "releases")
    feed = write_feed(tmp_path / "a.jsonl", "a")
    first = publish(feed, store, models)
    assert first.embedded == 60
    assert publish(feed, store, models).embedded is None
    retrieval_only = publish(feed, store, Models(models.encoder, None))
    assert retrieval_only.embedded == 0
    second = publish(write_feed(feed, "a", 64), store, Models(models.encoder, None))
    assert second.embedded == 4
    with_ranker = to_model(store, "default", first.manifest.model.model_id, Silent())
    assert (with_ranker.manifest.snapshot.products, with_ranker.manifest.model.ranker is not None) == (64, True)
    assert with_ranker.manifest.snapshot.catalog_id == second.manifest.snapshot.catalog_id
    assert to_release(store, "default", first.manifest.release_id) == store.current("default")


def test_a_killed_index_job_goes_on_where_it_was(tmp_path: Path, encoder_dir: Path) -> None:
    feed = write_feed(tmp_path / "a.jsonl", "a", 9000)
    arguments = command("index", "--catalog", feed, "--encoder", encoder_dir, "--releases", tmp_path / "releases")
    process = subprocess.Popen(arguments, env=environment(), stdout=subprocess.DEVNULL)
    segments = tmp_path / "releases/catalogs/default/work/embeddings"
    until = time.monotonic() + 120
    while not list(segments.glob("*/segment-*.npz")) and time.monotonic() < until:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    process.kill()
    process.wait()
    store = ReleaseStore(tmp_path / "releases")
    assert store.current("default") is None
    outcome = publish(feed, store, Models(encoder_dir, None))
    assert outcome.embedded is not None and 0 < outcome.embedded < 9000
    assert store.verify("default", outcome.manifest.release_id).snapshot.products == 9000


def test_the_command_serves_searches_and_drains(tmp_path: Path, models: Models) -> None:
    store = ReleaseStore(tmp_path / "releases")
    publish(write_feed(tmp_path / "a.jsonl", "a"), store, models)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    serve = command("serve", "--releases", store.root, "--address", address)
    server = subprocess.Popen(serve, env=environment(), stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        assert "tandem: serving release" in server.stdout.readline()
        search = command("search", "lamp", "--address", address, "--json", "--timeout", 20)
        found = json.loads(subprocess.run(search, env=environment(), capture_output=True, check=True).stdout)
        assert len(found["hits"]) == 10
        taken = subprocess.run(serve, env=environment(), capture_output=True, text=True, check=False)
        assert taken.returncode == 2
        assert f"cannot listen on {address}" in taken.stderr.strip().splitlines()[-1]
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
