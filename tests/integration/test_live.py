"""Products change while they are served: real models, index, words, columns and log, one and two processes."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.struct_pb2 import Struct
from shops import index, write_feed

from core.releases import ReleaseStore
from indexer.models import ModelFolders
from retrieval.server.main import run_server
from retrieval.server.settings import ServeSettings
from tandem.client import AsyncSearchClient, DeleteRequest, FieldsUpdate, ProductDelete, ProductUpsert, UpsertRequest
from tandem.v1 import catalog_pb2, search_pb2


@asynccontextmanager
async def serving(store: ReleaseStore, **settings: Any) -> AsyncIterator[AsyncSearchClient]:
    chosen = ServeSettings(
        releases=store.root, address="127.0.0.1:0", poll_seconds=0.1, grace_seconds=5, default_deadline=20, **settings
    )
    async with run_server(chosen) as server, AsyncSearchClient(server.address, 30) as client:
        yield client


def row(**values: Any) -> ProductUpsert:
    struct = Struct()
    struct.update(values)
    return ProductUpsert(row=struct)


async def ask(client: AsyncSearchClient, query: str, **fields: Any) -> search_pb2.SearchResponse:
    return await client.search(search_pb2.SearchRequest(query=query, **fields))


def ids(answer: search_pb2.SearchResponse) -> list[str]:
    return [hit.product_id for hit in answer.hits]


def equal(field: str, text: str) -> search_pb2.Filter:
    return search_pb2.Filter(equal=search_pb2.EqualCondition(field=field, value=search_pb2.FilterValue(text=text)))


async def test_a_fresh_product_is_found_by_words_by_meaning_filtered_counted_and_rescored(store: ReleaseStore) -> None:
    async with serving(store) as client:
        new = row(id="new-1", title="zorblax espresso machine", price="75 EUR", availability="preorder")
        answer = await client.upsert(UpsertRequest(products=[new]))
        revision = answer.revision
        by_word = await ask(client, "zorblax", least_revision=revision)
        assert by_word.overlay_revision == revision and ids(by_word)[0] == "new-1" and not by_word.degraded
        stages = {stage.stage for stage in by_word.hits[0].stage_scores}
        assert {"retrieve", "lexical", "rescore"} <= stages
        by_meaning = await ask(client, "coffee maker", top_k=3)
        assert ids(by_meaning)[0] == "new-1"
        filtered = await ask(
            client,
            "espresso machine",
            filter=equal("availability", "preorder"),
            facets=[search_pb2.FacetRequest(field="availability")],
            total=search_pb2.TOTAL_MODE_EXACT,
        )
        assert ids(filtered) == ["new-1"] and filtered.filter.passing == 1 and filtered.total.value == 1
        sorted_ = await ask(client, "espresso machine lamp", sort=[search_pb2.SortKey(field="price", descending=True)])
        assert ids(sorted_)[0] == "new-1"


async def test_prices_change_and_products_go_at_once(store: ReleaseStore) -> None:
    async with serving(store) as client:
        before = await ask(client, "red kettle", top_k=30)
        assert len(before.hits) == 30
        first = ids(before)[0]
        fields = Struct()
        fields.update({"price": "777 EUR", "availability": "out of stock"})
        await client.update_fields(
            catalog_pb2.UpdateFieldsRequest(products=[FieldsUpdate(product_id=first, fields=fields)])
        )
        after = await ask(client, "red kettle", top_k=30)
        assert ids(after) == ids(before) and after.hits[0].product.price.units == 777
        gone = await ask(client, "red kettle", top_k=30, filter=equal("availability", "in_stock"))
        assert first not in ids(gone) and gone.filter.passing == 29
        await client.delete(DeleteRequest(products=[ProductDelete(product_id=first)]))
        left = await ask(client, "red kettle", top_k=30, total=search_pb2.TOTAL_MODE_EXACT)
        assert first not in ids(left) and len(left.hits) == 29
        replaced = ids(left)[0]
        await client.upsert(UpsertRequest(products=[row(id=replaced, title="violet umbrella")]))
        assert ids(await ask(client, "violet umbrella"))[0] == replaced
        assert replaced not in ids(await ask(client, "red kettle", top_k=5))


async def test_changes_outlast_a_restart_and_reach_other_processes(store: ReleaseStore) -> None:
    async with serving(store) as client, serving(store) as other:
        upsert = UpsertRequest(products=[row(id="new-1", title="zorblax espresso machine")])
        revision = (await client.upsert(upsert)).revision
        seen = await ask(other, "zorblax", least_revision=revision)
        assert ids(seen)[0] == "new-1"
        deleted = await other.delete(DeleteRequest(products=[ProductDelete(product_id="new-1")]))
        assert "new-1" not in ids(await ask(client, "zorblax", least_revision=deleted.revision, top_k=30))
        revision = (await other.upsert(upsert)).revision
    async with serving(store) as again:
        answer = await ask(again, "zorblax")
        assert answer.overlay_revision == revision and ids(answer)[0] == "new-1"


async def test_pages_go_on_while_products_change(store: ReleaseStore) -> None:
    async with serving(store) as client, serving(store) as other:
        request = {"top_k": 7, "total": search_pb2.TOTAL_MODE_EXACT, "filter": equal("availability", "in_stock")}
        await client.upsert(
            UpsertRequest(products=[row(id="new-1", title="red kettle deluxe", availability="in stock")])
        )
        first = await ask(client, "red kettle", **request)
        listed = ids(first)
        assert "new-1" in listed
        # One that was listed changes its text, one that was not is removed, and another process answers.
        moved = UpsertRequest(products=[row(id="new-1", title="red kettle deluxe two", availability="in stock")])
        revision = (await client.upsert(moved)).revision
        token = first.next_page_token
        while token:
            page = await ask(other, "red kettle", **request, page_token=token, least_revision=revision)
            listed += ids(page)
            token = page.next_page_token
        assert len(listed) == len(set(listed)) == 31


async def test_a_new_release_keeps_what_came_since(store: ReleaseStore, tmp_path: Path) -> None:
    async with serving(store) as client:
        await client.upsert(UpsertRequest(products=[row(id="new-1", title="zorblax espresso machine")]))
        manifest = store.in_service("default")
        assert manifest is not None
        number = int(manifest.release_id[-8:], 16)
        name = f"{manifest.release_id[:-8]}{(number + 1) % (1 << 32):08x}"
        copy = manifest.model_copy(update={"release_id": name, "sequence": manifest.sequence + 1})
        store.publish(copy)
        async with asyncio.timeout(30):
            while (await ask(client, "zorblax")).release_id != name:
                await asyncio.sleep(0.02)
        assert ids(await ask(client, "zorblax"))[0] == "new-1"


async def test_an_index_job_folds_what_changed_while_it_is_served(models: ModelFolders, tmp_path: Path) -> None:
    store = ReleaseStore(tmp_path / "releases")
    feed = write_feed(tmp_path / "feed.jsonl", "a-")
    first = index(feed, models, store).manifest.release_id
    async with serving(store) as client:
        fields = Struct()
        fields.update({"price": "777 EUR", "attributes.voltage": "230 V"})
        await client.upsert(UpsertRequest(products=[row(id="new-1", title="zorblax espresso machine")]))
        await client.update_fields(
            catalog_pb2.UpdateFieldsRequest(products=[FieldsUpdate(product_id="a-1", fields=fields)])
        )
        revision = (await client.delete(DeleteRequest(products=[ProductDelete(product_id="a-0")]))).revision
        manifest = (await asyncio.to_thread(index, feed, models, store)).manifest
        assert manifest.release_id != first and manifest.snapshot.products == 30
        assert manifest.snapshot.changes is not None and manifest.snapshot.changes.revision == revision
        async with asyncio.timeout(30):
            while (await ask(client, "zorblax")).release_id != manifest.release_id:
                await asyncio.sleep(0.02)
        answer = await ask(client, "zorblax", top_k=30)
        assert answer.overlay_revision == revision and ids(answer)[0] == "new-1" and "a-0" not in ids(answer)
        everything = FieldMask(paths=["*"])
        [updated] = [
            hit.product
            for hit in (await ask(client, "kettle", top_k=30, product_mask=everything)).hits
            if hit.product_id == "a-1"
        ]
        assert updated.price.units == 777 and updated.attributes["voltage"] == "230 V"
        later = await client.upsert(UpsertRequest(products=[row(id="new-2", title="zorblax grinder")]))
        assert later.revision == revision + 1 and {"new-1", "new-2"} <= set(ids(await ask(client, "zorblax")))
        # Back to the release before: its products, and all changes since over them.
        store.point("default", first)
        async with asyncio.timeout(30):
            while (answer := await ask(client, "zorblax", top_k=40)).release_id != first:
                await asyncio.sleep(0.02)
        assert answer.overlay_revision == later.revision
        assert {"new-1", "new-2"} <= set(ids(answer)) and "a-0" not in ids(answer) and len(ids(answer)) == 31


async def test_several_machines_follow_one_log_in_redis(store: ReleaseStore, redis_url: str, tmp_path: Path) -> None:
    elsewhere = ReleaseStore(tmp_path / "elsewhere")
    shutil.copytree(store.root, elsewhere.root)
    log = f"{redis_url.rpartition('/')[0]}/5"
    async with serving(store, change_log=log) as client, serving(elsewhere, change_log=log) as other:
        revision = (
            await client.upsert(UpsertRequest(products=[row(id="new-1", title="zorblax espresso machine")]))
        ).revision
        assert ids(await ask(other, "zorblax", least_revision=revision))[0] == "new-1"
        deleted = await other.delete(DeleteRequest(products=[ProductDelete(product_id="new-1")]))
        assert "new-1" not in ids(await ask(client, "zorblax", least_revision=deleted.revision, top_k=40))
    assert not (store.folder("default") / "changes").exists()


async def test_a_release_whose_log_is_gone_is_served_with_what_it_has(
    models: ModelFolders, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = ReleaseStore(tmp_path / "releases")
    feed = write_feed(tmp_path / "feed.jsonl", "a-")
    index(feed, models, store)
    async with serving(store) as client:
        await client.upsert(UpsertRequest(products=[row(id="new-1", title="zorblax espresso machine")]))
    index(feed, models, store)
    shutil.rmtree(store.folder("default") / "changes")
    async with serving(store) as client:
        answer = await ask(client, "zorblax")
        assert ids(answer)[0] == "new-1" and answer.overlay_revision == 0
        later = await client.upsert(UpsertRequest(products=[row(id="new-2", title="zorblax grinder")]))
        assert later.revision == 1 and {"new-1", "new-2"} <= set(ids(await ask(client, "zorblax")))
    assert "the change log that it was made with is gone" in caplog.text
    async with serving(store) as again:
        assert {"new-1", "new-2"} <= set(ids(await ask(again, "zorblax")))
