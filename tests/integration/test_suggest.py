"""Suggestions made by the index job, kept by the next ones, and served."""

import asyncio
import json
import subprocess
from pathlib import Path

import grpc
from shops import command, environment, write_feed

from core.progress import Silent
from core.releases import ReleaseStore
from indexer.cleaning.mapping import FeedMapping
from indexer.inputs import IndexOptions
from indexer.job import apply_models, index_feed
from indexer.models import ModelFolders
from indexer.suggestions import past_queries
from retrieval.server.main import run_server
from retrieval.server.settings import ServeSettings
from tandem.v1 import search_pb2, search_pb2_grpc

LOG = {"garden hose reel": 40, "garden chair": 7}


def kept(store: ReleaseStore) -> dict[str, int]:
    served = store.in_service("default")
    assert served is not None and served.snapshot.suggestions is not None
    return past_queries(store.path("default", served.release_id) / "suggestions", served.snapshot.suggestions)


def test_past_queries_stay_until_others_come(models: ModelFolders, tmp_path: Path) -> None:
    store, feed = ReleaseStore(tmp_path / "releases"), write_feed(tmp_path / "a.jsonl", "a-")

    def index(options: IndexOptions) -> dict[str, int]:
        assert index_feed(feed, FeedMapping(), models, options, store, Silent()).embedded is not None
        return kept(store)

    assert index(IndexOptions(queries=LOG)) == LOG
    assert index(IndexOptions(max_rejected=0.3)) == LOG
    apply_models("default", ModelFolders(models.encoder, None), IndexOptions(), store, Silent())
    assert kept(store) == LOG
    assert index(IndexOptions(queries={"lamp": 1})) == {"lamp": 1}
    assert index(IndexOptions(queries={})) == {}


async def test_a_release_suggests_what_it_was_made_of(models: ModelFolders, tmp_path: Path) -> None:
    store, feed = ReleaseStore(tmp_path / "releases"), write_feed(tmp_path / "a.jsonl", "a-")
    index_feed(feed, FeedMapping(), models, IndexOptions(queries=LOG), store, Silent())
    settings = ServeSettings(releases=store.root, address="127.0.0.1:0", grace_seconds=5)
    async with run_server(settings) as server, grpc.aio.insecure_channel(server.address) as channel:
        stub = search_pb2_grpc.SearchServiceStub(channel)
        answer = await stub.Suggest(search_pb2.SuggestRequest(prefix="gar"), timeout=10)
        printed = await asyncio.to_thread(run, "suggest", "gardne ho", "--address", server.address, "--json")
        table = await asyncio.to_thread(run, "suggest", "gardne ho", "--address", server.address)
    texts = [one.text for one in answer.suggestions]
    assert texts[:2] == ["garden hose reel", "garden chair"] and "red garden hose" in texts
    suggested = json.loads(printed)
    assert suggested["corrected_prefix"] == "garden ho"
    first = {"text": "garden hose reel", "kind": "SUGGESTION_KIND_QUERY", "count": "40"}
    assert suggested["suggestions"][0] == first
    assert "garden hose reel" in table and "completed as “garden ho”" in table


def run(*arguments: str) -> str:
    result = subprocess.run(command(*arguments), capture_output=True, text=True, env=environment(), timeout=60)
    assert result.returncode == 0, result.stderr
    return result.stdout
