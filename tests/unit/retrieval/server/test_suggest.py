"""Suggest through a real gRPC server and channel."""

import asyncio
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from services import Service, failure
from suggestions import suggestion_index

from core.manifest import Manifest
from retrieval.release.loaded import LoadedRelease
from retrieval.suggest.suggester import Suggester
from tandem.client import AsyncSearchClient, SearchClient, SearchError
from tandem.v1 import search_pb2, search_pb2_grpc

KIND = search_pb2.SuggestionKind
LOG = {"kitchen faucet": 90.0, "kitchen sink": 40.0}


class Suggesting(Service):
    """Its releases suggest; those of catalog "old" were made without suggestions."""

    def open(self, path: Path, manifest: Manifest) -> LoadedRelease:
        release = super().open(path, manifest)
        if manifest.catalog != "old":
            release.suggester = Suggester(suggestion_index(path / "suggestions-made", LOG), "en")
        return release


def ask(channel: grpc.aio.Channel, **fields: object) -> search_pb2.SuggestResponse:
    return search_pb2_grpc.SearchServiceStub(channel).Suggest(search_pb2.SuggestRequest(**fields), timeout=5)


async def test_a_prefix_is_completed(tmp_path: Path) -> None:
    service = Suggesting(tmp_path)
    async with service.serve() as (channel, _):
        answer = await ask(channel, prefix="Kit", limit=1, catalog="shop")
        corrected = await ask(channel, prefix="kichten s")
    assert answer.suggestions == [
        search_pb2.Suggestion(text="kitchen faucet", kind=KIND.SUGGESTION_KIND_QUERY, count=90)
    ]
    assert answer.release_id == service.store.current("shop") and answer.catalog == "shop"
    assert not answer.corrected_prefix and len(answer.request_id) == 32
    assert corrected.suggestions[0].text == "kitchen sink" and corrected.corrected_prefix == "kitchen s"


async def test_failures_are_those_of_the_model(tmp_path: Path) -> None:
    service = Suggesting(tmp_path)
    service.publish("old")
    async with service.serve() as (channel, _):
        unnamed, status = await failure(ask(channel, prefix="kit"))
        detail = error_details_pb2.BadRequest()
        status.details[0].Unpack(detail)
        unknown, _ = await failure(ask(channel, prefix="kit", catalog="none"))
        old, _ = await failure(ask(channel, prefix="kit", catalog="old"))
        long, _ = await failure(ask(channel, prefix="k" * 129, catalog="shop"))
    assert unnamed.code() is grpc.StatusCode.INVALID_ARGUMENT and detail.field_violations[0].field == "catalog"
    assert unknown.code() is grpc.StatusCode.NOT_FOUND
    assert old.code() is grpc.StatusCode.FAILED_PRECONDITION and "index it again" in (old.details() or "")
    assert long.code() is grpc.StatusCode.INVALID_ARGUMENT and "at most 128" in (long.details() or "")


@pytest.mark.parametrize(
    "prefix", ["\x00", "\u202e\u2066", "e" + "\u0301" * 127, "\u53a8" * 128, "\u0e49" * 128, "\U0001f6d2"]
)
async def test_hostile_prefixes_are_answered(tmp_path: Path, prefix: str) -> None:
    async with Suggesting(tmp_path).serve() as (channel, _):
        answer = await ask(channel, prefix=prefix)
    assert not answer.suggestions or prefix.isprintable() is False


async def test_a_search_in_every_place_holds_up_no_suggestion(tmp_path: Path) -> None:
    service = Suggesting(tmp_path, delays={"encode": 30})
    async with service.serve(max_in_flight=1) as (channel, _):
        search = search_pb2_grpc.SearchServiceStub(channel).Search(
            search_pb2.SearchRequest(query="3 shoes"), timeout=60
        )
        while not service.engine.calls:
            await ask(channel, prefix="kit")
        assert (await ask(channel, prefix="kit")).suggestions
        search.cancel()


async def test_both_clients_ask(tmp_path: Path) -> None:
    request = search_pb2.SuggestRequest(prefix="kit")
    async with Suggesting(tmp_path).serve() as (_, server):
        async with AsyncSearchClient(server.address) as client:
            first = await client.suggest(request, request_id="mine")

        def ask_by_thread() -> search_pb2.SuggestResponse:
            with SearchClient(server.address) as client:
                with pytest.raises(SearchError, match="INVALID_ARGUMENT: limit"):
                    client.suggest(search_pb2.SuggestRequest(limit=99))
                return client.suggest(request, request_id="mine")

        assert await asyncio.to_thread(ask_by_thread) == first and first.request_id == "mine"
