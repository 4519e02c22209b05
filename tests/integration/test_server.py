"""A feed indexed with real models and served on a real port: searching, swapping, refusing, rolling back, ending."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest

from core.columns import Columns
from core.manifest import Manifest
from core.product import product_text
from core.progress import Silent
from core.releases import ReleaseStore
from encoder.tower import SPEC_FILE, Tower
from engine.onnx import OnnxModel
from indexer.job import Models, Options, Outcome, index_feed
from indexer.mapping import Mapping
from lifecycle.rollback import to_model
from ranker.ranker import Ranker
from retrieval.client import SearchClient
from retrieval.server import running
from retrieval.settings import ServeSettings
from tandem.v1 import search_pb2, search_pb2_grpc

ROOT = Path(__file__).resolve().parents[2]
COLORS = ("red", "blue", "green", "black", "white")
THINGS = ("kettle", "garden hose", "hiking boots", "desk lamp", "cordless drill", "bed sheet")
QUERIES = ("red kettle", "boots for hiking", "lamp", "something to drill with", "green bed sheet")


def write_feed(path: Path, prefix: str, changed: int = 0) -> Path:
    """Thirty products whose ids begin with the prefix; the first `changed` of them have another title."""
    rows = []
    for i in range(len(COLORS) * len(THINGS)):
        color, thing = COLORS[i % len(COLORS)], THINGS[i // len(COLORS)]
        title = f"{color} {thing}" + (" new edition" if i < changed else "")
        rows.append({"id": f"{prefix}{i}", "title": title, "price": f"{i}.99 EUR", "availability": "in stock"})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def index(feed: Path, models: Models, store: ReleaseStore) -> Outcome:
    return index_feed(feed, Mapping(), models, Options(), store, Silent())


@pytest.fixture(scope="session")
def models(encoder_dir: Path, ranker_dir: Path) -> Models:
    return Models(encoder_dir, ranker_dir)


@pytest.fixture(scope="session")
def indexed(models: Models, tmp_path_factory: pytest.TempPathFactory) -> ReleaseStore:
    """One release of products a-0 to a-29. Not to be changed: take `store` for that."""
    folder = tmp_path_factory.mktemp("indexed")
    store = ReleaseStore(folder / "releases")
    index(write_feed(folder / "a.jsonl", "a-"), models, store)
    return store


@pytest.fixture
def store(indexed: ReleaseStore, tmp_path: Path) -> ReleaseStore:
    """A copy to publish into."""
    shutil.copytree(indexed.root, tmp_path / "releases")
    return ReleaseStore(tmp_path / "releases")


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


async def test_answers_are_those_of_the_models_run_by_hand(store: ReleaseStore, models: Models) -> None:
    assert models.ranker is not None
    async with running(settings(store)) as server, grpc.aio.insecure_channel(server.address) as channel:
        answer = await ask(channel, "red kettle", 30)
    assert not answer.degraded and len(answer.hits) == 30
    tower, ranker = Tower.open(models.encoder), Ranker.open(models.ranker)
    release = store.current("default")
    assert release is not None
    columns = Columns(store.path("default", release) / "products.arrow")
    texts = [product_text(columns.row(row)) for row in range(len(columns))]
    [query] = OnnxModel(tower.model_path("query")).run(tower.tokenize_queries(["red kettle"]))
    items = OnnxModel(tower.model_path("item")).run(tower.tokenize_items(texts))
    cross = OnnxModel(ranker.model_path)
    words = ranker.tokenize_query("red kettle")
    similarities = items @ query
    for hit in answer.hits:
        row = columns.ids().index(hit.product_id)
        similarity, relevance = (stage.score for stage in hit.stage_scores)
        assert similarity == pytest.approx(float(similarities[row]), abs=3e-3)  # vectors are kept in half precision
        tokens, segments = ranker.pack(words, ranker.tokenize_products([texts[row]])[0])
        [expected] = ranker.scores(cross.run([tokens], [segments]), similarities[row : row + 1])
        assert relevance == pytest.approx(float(expected), abs=1e-3)
        assert hit.score == relevance
    assert [hit.score for hit in answer.hits] == sorted((hit.score for hit in answer.hits), reverse=True)
    best = min(answer.hits, key=lambda hit: hit.stage_scores[0].rank)
    assert best.product.title == "red kettle"
    assert best.product.price == search_pb2.Money(currency_code="EUR", units=0, nanos=990_000_000)
    assert np.linalg.norm(query) == pytest.approx(1, abs=1e-3)


async def test_releases_swap_under_load_without_a_failed_or_mixed_answer(
    store: ReleaseStore, models: Models, tmp_path: Path
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

    async with running(settings(store)) as server, grpc.aio.insecure_channel(server.address) as channel:
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


def publish_damaged(store: ReleaseStore, good: Manifest) -> str:
    """Publishes the same release again under another name, with one byte of its index changed."""
    bad = good.model_copy(update={"release_id": good.release_id[:-8] + "deadbeef"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "point", lambda *_: None)  # not before it is damaged
        store.publish(bad)
    path = store.path(bad.catalog, bad.release_id) / "index.faiss"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(data)
    store.point(bad.catalog, bad.release_id)
    return bad.release_id


async def test_a_damaged_release_is_refused_and_the_old_one_stays(
    store: ReleaseStore, models: Models, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = store.current("default")
    assert old is not None
    async with running(settings(store)) as server, grpc.aio.insecure_channel(server.address) as channel:
        bad = publish_damaged(store, store.manifest("default", old))
        async with asyncio.timeout(30):
            while "refused" not in caplog.text:
                await asyncio.sleep(0.02)
        assert f"release {bad} refused, {old} stays" in caplog.text
        assert "index.faiss differs from its manifest" in caplog.text
        assert (await ask(channel, "lamp")).release_id == old
        outcome = await asyncio.to_thread(index, write_feed(tmp_path / "b.jsonl", "b-"), models, store)
        await served(channel, outcome.manifest.release_id)


def test_only_what_changed_is_embedded(store: ReleaseStore, models: Models, tmp_path: Path) -> None:
    feed = write_feed(tmp_path / "a.jsonl", "a-")
    same = index(feed, models, store)
    assert same.embedded is None and same.manifest.release_id == store.current("default")
    changed = index(write_feed(feed, "a-", changed=3), models, store)
    assert changed.embedded == 3
    back = index(write_feed(feed, "b-"), models, store)
    assert back.embedded == 0  # other ids, but the texts were all seen
    assert [manifest.snapshot.products for manifest in store.manifests("default")] == [30, 30, 30]


def test_a_damaged_release_in_service_is_made_again(store: ReleaseStore, models: Models, tmp_path: Path) -> None:
    feed = write_feed(tmp_path / "a.jsonl", "a-")
    old = store.current("default")
    assert old is not None
    bad = publish_damaged(store, store.manifest("default", old))
    mended = index(feed, models, store)
    assert mended.embedded == 0 and mended.manifest.release_id not in (old, bad)
    assert store.verify("default", mended.manifest.release_id) == mended.manifest


def test_an_earlier_model_set_comes_back_without_its_old_products(
    store: ReleaseStore, models: Models, tmp_path: Path
) -> None:
    old = store.manifests("default")[0]
    other = tmp_path / "encoder"
    shutil.copytree(models.encoder, other)
    spec = json.loads((other / SPEC_FILE).read_text())
    (other / SPEC_FILE).write_text(json.dumps(spec | {"max_item_tokens": spec["max_item_tokens"] - 1}))
    new = index(write_feed(tmp_path / "b.jsonl", "b-", changed=2), Models(other, None), store)
    assert new.embedded == 30  # another model: everything
    assert new.manifest.model.model_id != old.model.model_id
    back = to_model(store, "default", old.model.model_id, Silent())
    assert back.embedded == 2  # the old model had seen the rest
    assert back.manifest.model == old.model
    assert back.manifest.snapshot.catalog_id == new.manifest.snapshot.catalog_id
    assert store.current("default") == back.manifest.release_id
    columns = Columns(store.path("default", back.manifest.release_id) / "products.arrow")
    assert {product[:2] for product in columns.ids()} == {"b-"}
    store.verify("default", back.manifest.release_id)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "lifecycle.cli", *map(str, arguments)]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'protos'}"}


@contextmanager
def process(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command(*arguments), text=True, env=environment(), **pipes) as running_process:
        try:
            yield running_process
        finally:
            running_process.kill()


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_until_a_signal_and_ends_well(indexed: ReleaseStore, sign: signal.Signals) -> None:
    with process("serve", "--releases", indexed.root, "--address", "127.0.0.1:0") as server:
        assert server.stdout is not None and server.stderr is not None
        words = server.stdout.readline().split()
        assert words[:4] == ["tandem:", "serving", "release", indexed.current("default")]
        with SearchClient(words[-1], 30) as client:
            client.wait()
            assert len(client.search(search_pb2.SearchRequest(query="lamp", top_k=3)).hits) == 3
        server.send_signal(sign)
        assert server.wait(20) == 0
        assert "Traceback" not in server.stderr.read()


def test_an_address_that_cannot_be_served_is_told_on_one_line(indexed: ReleaseStore) -> None:
    def serve(address: str) -> tuple[int, list[str]]:
        arguments = command("serve", "--releases", indexed.root, "--address", address)
        result = subprocess.run(arguments, capture_output=True, text=True, env=environment(), timeout=60)
        return result.returncode, result.stderr.splitlines()

    status, lines = serve("127.0.0.1:99999999")
    assert status == 2 and len(lines) == 1 and lines[0].startswith("tandem: setting address:")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        status, lines = serve(address)
    assert status == 2
    told = [line for line in lines if line.startswith("tandem: ")]
    assert told == [f"tandem: cannot listen on {address}: the port is taken or not allowed; choose another"]
    assert not [line for line in lines if "Traceback" in line]
