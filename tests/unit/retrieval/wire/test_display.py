"""Answers are bounded: what products show gives way, and hits, ids and scores never do."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from builders import product
from doubles import make_release
from google.protobuf.field_mask_pb2 import FieldMask

from retrieval.pipeline.result import FeatureContribution, Hit, SearchResult, StageScore
from retrieval.release.loaded import LoadedRelease
from retrieval.wire import response as wire
from retrieval.wire import turns as turns_module
from retrieval.wire.request import read_query
from tandem.v1 import search_pb2

MOST = 1 << 20
TRUNCATED = search_pb2.DEGRADATION_REASON_RESPONSE_TRUNCATED
STAGES = ("retrieve", "lexical", "fuse", "rescore", "final")


def release_of(folder: Path, count: int, **fields: Any) -> LoadedRelease:
    return make_release(folder, [product(f"p{i}" * 40, f"title {i}", **fields) for i in range(count)])


def answer_of(release: LoadedRelease, count: int, reasons: int = 0) -> SearchResult:
    stated = tuple(StageScore(stage, 0.5, 1) for stage in STAGES)
    reported = tuple(FeatureContribution(f"feature {i}", 1.0, 0.5) for i in range(reasons))
    return SearchResult(release.view, hits=[Hit(row, 1 - row / 1000, stated, reported) for row in range(count)])


def respond(release: LoadedRelease, answer: SearchResult, paths: list[str]) -> search_pb2.SearchResponse:
    request = search_pb2.SearchRequest(query="x", product_mask=FieldMask(paths=paths))
    return asyncio.run(wire.response(request, read_query(request), answer, release, "id"))


@pytest.mark.parametrize("count", [20, 200])
def test_an_answer_of_rich_products_is_cut_from_its_end(tmp_path: Path, count: int) -> None:
    attributes = [(f"name {i}", "é" * 250) for i in range(200)]  # a hundred kilobytes a product
    release = release_of(tmp_path, count, description="d" * 9000, attributes=attributes, brand="Acme")
    message = respond(release, answer_of(release, count, reasons=20), ["*"])
    assert MOST * 0.75 < len(message.SerializeToString()) <= MOST
    assert [hit.product_id for hit in message.hits] == [f"p{i}" * 40 for i in range(count)]
    assert all(len(hit.stage_scores) == 5 and len(hit.reasons) == 20 for hit in message.hits)
    assert all(hit.product.title == f"title {i}" and hit.product.brand for i, hit in enumerate(message.hits))
    long = [bool(hit.product.description) for hit in message.hits]
    assert long == [len(hit.product.attributes) == 200 for hit in message.hits]
    whole = sum(long)
    assert 0 < whole < 12 and long == [True] * whole + [False] * (count - whole)
    [degraded] = message.degraded
    assert degraded.reason == TRUNCATED
    assert degraded.detail.startswith(f"{count - whole} of {count} products show less than was asked for: ")


def test_even_short_fields_give_way_where_there_is_no_room(tmp_path: Path) -> None:
    release = release_of(tmp_path, 200, image_link="é" * 8000, link="i" * 4096)  # 20 kB each
    message = respond(release, answer_of(release, 200), ["image_link", "link", "title"])
    assert len(message.SerializeToString()) <= MOST and len(message.hits) == 200
    shown = [bool(hit.product.title) for hit in message.hits]
    assert shown == [True] * sum(shown) + [False] * (200 - sum(shown)) and sum(shown) > 40
    assert all(hit.HasField("product") for hit in message.hits)
    assert message.degraded[0].reason == TRUNCATED


def test_one_product_has_bounds_of_its_own(tmp_path: Path) -> None:
    attributes = [("a" * 2000, "b"), ("c", "é" * 2000), *((f"n{i}", "v") for i in range(300))]
    rows = [product("rich", "t" * 20_000, description="靴" * 9000, attributes=attributes), product("plain")]
    release = make_release(tmp_path, rows)
    message = respond(release, answer_of(release, 2), ["*"])
    rich = message.hits[0].product
    assert len(rich.attributes) == 200 and rich.attributes["a" * 1024] == "b" and rich.attributes["c"] == "é" * 512
    assert rich.title == "t" * 16_384 and rich.description == "靴" * 5461
    [degraded] = message.degraded
    assert degraded.reason == TRUNCATED and degraded.detail.startswith("1 of 2 products show less")


def test_an_answer_within_all_bounds_is_whole(tmp_path: Path) -> None:
    attributes = [(f"n{i}", "v" * 500) for i in range(200)]
    release = release_of(tmp_path, 5, description="d" * 10_000, attributes=attributes)
    message = respond(release, answer_of(release, 5), ["*"])
    assert not message.degraded and all(len(hit.product.attributes) == 200 for hit in message.hits)


def test_a_large_answer_is_built_in_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between any two products others have the event loop, if a piece took as long as a turn may last."""
    monkeypatch.setattr(turns_module, "_LONGEST", 0)
    release = release_of(tmp_path, 100, attributes=[("a", "b")])
    request = search_pb2.SearchRequest(query="x", product_mask=FieldMask(paths=["*"]))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async def both() -> None:
        task = asyncio.create_task(others())
        await asyncio.sleep(0)
        await wire.response(request, read_query(request), answer_of(release, 100), release, "id")
        task.cancel()

    asyncio.run(both())
    assert turns >= 300  # ids and scores, short fields, long fields
