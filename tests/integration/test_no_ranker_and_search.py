"""What the server's own tests leave: releases without a ranker, and the command that searches."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from core.plan import Plan
from core.progress import Silent
from core.releases import ReleaseStore
from indexer.job import Models, Options, Outcome, index_feed
from indexer.mapping import Mapping
from lifecycle.rollback import to_release
from retrieval.admission import Admission
from retrieval.loaded import LoadedRelease, open_release
from retrieval.query import Query
from retrieval.search import Answer, search

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


def test_a_release_without_a_ranker_and_back(tmp_path: Path, models: Models) -> None:
    store = ReleaseStore(tmp_path / "releases")
    feed = write_feed(tmp_path / "a.jsonl", "a")
    first = publish(feed, store, models)
    assert first.embedded == 60
    retrieval_only = publish(feed, store, Models(models.encoder, None))
    assert (retrieval_only.embedded, retrieval_only.manifest.model.ranker) == (0, None)
    release = open_release(
        store.path("default", retrieval_only.manifest.release_id),
        store.verify("default", retrieval_only.manifest.release_id),
    )
    answer = asyncio.run(answer_of(release, "red mug"))
    assert [stage.name for stage in answer.stages] == ["encode", "retrieve", "arrange"]
    assert all(hit.relevance is None and hit.score == hit.similarity for hit in answer.hits)
    assert to_release(store, "default", first.manifest.release_id) == store.current("default")


async def answer_of(release: LoadedRelease, text: str) -> Answer:
    with Admission(1).enter() as permit, release.lease():
        return await search(Query(text), Plan(), release, permit, None)


def test_the_search_command_prints_the_answer_as_json(tmp_path: Path, models: Models) -> None:
    store = ReleaseStore(tmp_path / "releases")
    release = publish(write_feed(tmp_path / "a.jsonl", "a"), store, models).manifest.release_id
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    serve = command("serve", "--releases", store.root, "--address", address)
    server = subprocess.Popen(serve, env=environment(), stdout=subprocess.DEVNULL)
    try:
        search_command = command("search", "lamp", "--address", address, "--json", "--timeout", 20)
        found = json.loads(subprocess.run(search_command, env=environment(), capture_output=True, check=True).stdout)
        assert (found["release_id"], len(found["hits"])) == (release, 10)
        assert [score["stage"] for score in found["hits"][0]["stage_scores"]] == ["retrieve", "rescore"]
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
