"""Filters, facets, order, groups and pages over a real port, of a feed that was indexed; and what is refused."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from shops import process, write_rows

from core.filter_text import parse_filter
from core.progress import Silent
from core.releases import ReleaseStore
from indexer.cleaning.mapping import FeedMapping, load_mapping
from indexer.inputs import IndexOptions
from indexer.job import index_feed
from indexer.models import ModelFolders
from retrieval.server.main import run_server
from retrieval.server.settings import ServeSettings
from retrieval.wire.filters import filter_message
from tandem.client import SearchClient
from tandem.v1 import search_pb2, search_pb2_grpc

MAPPING = """
[catalog]
name = "default"
currency = "EUR"
[fields]
id = "id"
title = "title"
brand = "brand"
price = "price"
item_group_id = "group"
[attributes]
include = ["voltage"]
"""
BRANDS = ("Acme", "Bolt", "Core")
SORTED = search_pb2.SearchRequest(query="red drill", top_k=7, sort=[search_pb2.SortKey(field="price")])


def make_rows(changed: str = "") -> list[dict[str, Any]]:
    """Sixty drills, which all match since no more than a hundred are the most similar; every seventh has no price."""
    rows = []
    for i in range(60):
        row = {
            "id": f"p{i}",
            "title": f"{('red', 'blue')[i % 2]} drill {i} {changed}".strip(),
            "brand": BRANDS[i % 3],
            "group": f"g{i // 4}",
            "voltage": f"{12 + 6 * (i % 2)} V",
        }
        rows.append(row | ({"price": f"{(i * 37) % 100}.50 EUR"} if i % 7 else {}))
    return rows


def index(folder: Path, models: ModelFolders, store: ReleaseStore, changed: str = "") -> str:
    """The release of the rows."""
    feed = write_rows(folder / "feed.jsonl", make_rows(changed))
    outcome = index_feed(feed, mapping(folder), models, IndexOptions(), store, Silent())
    return outcome.manifest.release_id


def mapping(folder: Path) -> FeedMapping:
    path = folder / "mapping.toml"
    path.write_text(MAPPING)
    return load_mapping(path)


@pytest.fixture(scope="module")
def towers(encoder_dir: Path) -> ModelFolders:
    return ModelFolders(encoder_dir, None)


@pytest.fixture(scope="module")
def listed(towers: ModelFolders, tmp_path_factory: pytest.TempPathFactory) -> ReleaseStore:
    """Not to be changed."""
    folder = tmp_path_factory.mktemp("listed")
    store = ReleaseStore(folder / "releases")
    index(folder, towers, store)
    return store


@asynccontextmanager
async def serving(store: ReleaseStore) -> AsyncIterator[tuple[str, search_pb2_grpc.SearchServiceStub]]:
    settings = ServeSettings(releases=store.root, address="127.0.0.1:0", grace_seconds=5, poll_seconds=0.05)
    async with run_server(settings) as server, grpc.aio.insecure_channel(server.address) as channel:
        yield server.address, search_pb2_grpc.SearchServiceStub(channel)


async def ask(stub: Any, request: search_pb2.SearchRequest, **changes: Any) -> search_pb2.SearchResponse:
    changed = search_pb2.SearchRequest()
    changed.CopyFrom(request)
    changed.MergeFrom(search_pb2.SearchRequest(**changes))
    return await stub.Search(changed, timeout=30)


async def refusal(stub: Any, request: search_pb2.SearchRequest, **changes: Any) -> str:
    """The message of INVALID_ARGUMENT."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await ask(stub, request, **changes)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    return str(error.value.details())


def ids(*answers: search_pb2.SearchResponse) -> list[str]:
    return [hit.product_id for answer in answers for hit in answer.hits]


async def pages(stub: Any, request: search_pb2.SearchRequest, sizes: Sequence[int]) -> list[search_pb2.SearchResponse]:
    """All pages, of these sizes in turn."""
    answers = [await ask(stub, request, top_k=sizes[0])]
    while token := answers[-1].next_page_token:
        answers.append(await ask(stub, request, top_k=sizes[len(answers) % len(sizes)], page_token=token))
    return answers


def counts(facet: search_pb2.Facet) -> dict[str, int]:
    return {value.value: value.count for value in facet.values}


async def test_a_page_of_results_agrees_with_the_feed(listed: ReleaseStore) -> None:
    request = search_pb2.SearchRequest(
        query="red drill",
        filter=filter_message(parse_filter('brand IN ("Acme", "Bolt") AND price < 60 AND attributes.voltage = 18')),
        facets=[
            search_pb2.FacetRequest(field="brand"),
            search_pb2.FacetRequest(field="brand", exclude_own_filter=True),
            search_pb2.FacetRequest(field="price", borders=[0, 30, 60]),
            search_pb2.FacetRequest(field="attributes.voltage"),
        ],
        sort=[search_pb2.SortKey(field="price", descending=True)],
    )
    rows = [row | {"cost": float(row["price"].split()[0])} for row in make_rows() if "price" in row]
    bounded = [row for row in rows if row["cost"] < 60 and row["voltage"] == "18 V"]
    passing = [row for row in bounded if row["brand"] != "Core"]
    ordered = [row["id"] for row in sorted(passing, key=lambda row: -row["cost"])]
    async with serving(listed) as (_, stub):
        answers = await pages(stub, request, [3, 5])
    assert ids(*answers) == ordered and [hit.rank for answer in answers for hit in answer.hits][-1] == len(ordered)
    for answer in answers:  # no page says anything else
        assert (answer.total.value, answer.total.relation) == (len(passing), search_pb2.TOTAL_RELATION_EXACT)
        assert answer.filter.passing == len(passing) and not answer.HasField("groups")
        own, every, price, voltage = answer.facets
        assert counts(own) == Counter(row["brand"] for row in passing)
        assert counts(every) == Counter(row["brand"] for row in bounded)
        assert [(one.at_least, one.below, one.count) for one in price.ranges] == [
            (0, 30, sum(row["cost"] < 30 for row in passing)),
            (30, 60, sum(row["cost"] >= 30 for row in passing)),
        ]
        assert price.statistics.most == max(row["cost"] for row in passing)
        assert [(one.at_least, one.count) for one in voltage.ranges] == [(18, len(passing))]
    assert answers[-1].next_page_token == "" and len(answers) > 1


async def test_groups_are_paged_with_their_sizes_and_variants(listed: ReleaseStore) -> None:
    request = search_pb2.SearchRequest(
        query="red drill",
        group_by=search_pb2.GroupBy(variants=2),
        facets=[search_pb2.FacetRequest(field="brand")],
        filter=filter_message(parse_filter("attributes.voltage = 12 OR brand = Acme")),
    )
    passing = [row for row in make_rows() if row["voltage"] == "12 V" or row["brand"] == "Acme"]
    sizes = Counter(row["group"] for row in passing)
    group_of = {row["id"]: row["group"] for row in passing}
    async with serving(listed) as (_, stub):
        answers = await pages(stub, request, [4])
    shown = [hit for answer in answers for hit in answer.hits]
    assert Counter(hit.group.value for hit in shown) == Counter(set(sizes))
    for hit in shown:
        members = {hit.product_id, *(variant.product_id for variant in hit.group.variants)}
        assert hit.group.size == sizes[hit.group.value] and len(members) == min(hit.group.size, 3)
        assert {group_of[member] for member in members} == {hit.group.value}
    assert {(answer.total.value, answer.groups.value) for answer in answers} == {(len(passing), len(sizes))}
    brands = {brand: len({row["group"] for row in passing if row["brand"] == brand}) for brand in BRANDS}
    assert counts(answers[0].facets[0]) == brands


async def test_a_list_by_relevance_is_paged_whole(listed: ReleaseStore) -> None:
    request = search_pb2.SearchRequest(
        query="red drill",
        total=search_pb2.TOTAL_MODE_EXACT,
        diversity=search_pb2.Diversity(strength=0.3, caps=[search_pb2.Cap(field="brand", most=5)]),
    )
    async with serving(listed) as (_, stub):
        answers = await pages(stub, request, [10, 1, 25])
        first = await ask(stub, request, top_k=50)
    assert sorted(ids(*answers)) == sorted(row["id"] for row in make_rows())
    assert ids(*answers)[:50] == ids(first)
    brands = Counter(BRANDS[int(name[1:]) % 3] for name in ids(first)[:15])
    assert brands == dict.fromkeys(BRANDS, 5)


async def test_a_plain_request_is_neither_counted_nor_paged(listed: ReleaseStore) -> None:
    async with serving(listed) as (_, stub):
        plain = await ask(stub, search_pb2.SearchRequest(query="red drill", top_k=3))
        filtered = await ask(
            stub, search_pb2.SearchRequest(query="red drill", filter=filter_message(parse_filter("brand = Acme")))
        )
    for answer in (plain, filtered):
        assert not answer.HasField("total") and not answer.HasField("groups")
        assert not answer.next_page_token and not answer.facets
    assert not plain.HasField("filter") and filtered.filter.passing == 20
    assert filtered.filter.execution in ("scan", "masked")


MISFITS: list[tuple[dict[str, Any], str]] = [
    ({"facets": [{"field": "brnad"}]}, "facets[0].field: 'brnad' is no field of this catalog; did you mean"),
    ({"facets": [{"field": "brand", "borders": [1, 2]}]}, "facets[0].borders: 'brand' is no number"),
    ({"facets": [{"field": "brand", "interval": 2}]}, "facets[0].interval: 'brand' is no number"),
    ({"sort": [{"field": "prise"}]}, "sort[1].field: 'prise' is no field"),
    ({"sort": [{"field": "product_type"}]}, "sort[1].field: 'product_type' has several values"),
    ({"group_by": {"field": "x"}}, "group_by.field: 'x' is no field"),
    ({"filter": filter_message(parse_filter("price = cheap"))}, "filter.equal.value: 'price' holds amounts"),
    ({"page_token": "AQ"}, "page_token: is not a token that this service made"),
]


async def test_what_does_not_fit_the_catalog_is_named(listed: ReleaseStore) -> None:
    async with serving(listed) as (_, stub):
        for changes, message in MISFITS:
            assert (await refusal(stub, SORTED, **changes)).startswith(message)
        caps = search_pb2.Diversity(caps=[search_pb2.Cap(field="y", most=1)])
        message = await refusal(stub, search_pb2.SearchRequest(query="x", diversity=caps))
        assert message.startswith("diversity.caps[0].field: 'y' is no field")


async def test_a_token_is_of_one_request(listed: ReleaseStore) -> None:
    async with serving(listed) as (_, stub):
        first = await ask(stub, SORTED)
        token = first.next_page_token
        allowed = [{"top_k": 3}, {"product_mask": {"paths": ["title"]}}, {"explain": True}]
        for changes in allowed:
            page = await ask(stub, SORTED, page_token=token, **changes)
            assert page.hits[0].rank == 8 and ids(page)[0] not in ids(first)
        for changes in ({"query": "blue drill"}, {"sort": [{"field": "brand"}]}, {"match": "MATCH_MODE_ALL"}):
            message = await refusal(stub, SORTED, page_token=token, **changes)
            assert (
                message == "page_token: is of another request; change nothing but top_k and product_mask between pages"
            )
        for broken in (token[:-2], token[1:], token.swapcase(), token + "AAAA"):
            assert "is not a token that this service made" in await refusal(stub, SORTED, page_token=broken)


async def test_a_token_of_a_release_that_was_replaced_is_refused(towers: ModelFolders, tmp_path: Path) -> None:
    store = ReleaseStore(tmp_path / "releases")
    index(tmp_path, towers, store)
    async with serving(store) as (_, stub):
        token = (await ask(stub, SORTED)).next_page_token
        release = index(tmp_path, towers, store, "new")
        async with asyncio.timeout(30):
            while (answer := await ask(stub, SORTED)).release_id != release:
                await asyncio.sleep(0.01)
        message = await refusal(stub, SORTED, page_token=token)
        assert message == "page_token: is of a release that is no longer served; begin again with the first page"
        assert (await ask(stub, SORTED, page_token=answer.next_page_token)).hits


async def test_services_of_one_release_take_each_other_s_tokens(listed: ReleaseStore) -> None:
    request = search_pb2.SearchRequest(query="red drill", top_k=5, total=search_pb2.TOTAL_MODE_EXACT)
    async with serving(listed) as (_, stub):
        first = await ask(stub, request)
        second = await ask(stub, request, page_token=first.next_page_token)
    with process("serve", "--releases", listed.root, "--address", "127.0.0.1:0", "--processes", 2) as server:
        assert server.stdout is not None
        address = server.stdout.readline().split()[-1]
        request.page_token = first.next_page_token
        for _ in range(8):  # a connection for each, so that both processes answer
            with SearchClient(address, 20.0) as client:
                page = client.search(request)
            assert ids(page) == ids(second) and page.next_page_token == second.next_page_token
