"""The service of changes through a real gRPC server, change log and client; segments and models are doubles."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.struct_pb2 import Struct
from live_states import HashingModels, PlainSegments, product
from services import Service, failure

from catalog.change_log.file import FileChangeLog
from catalog.changes import Change, ChangeKind, NewEntry
from catalog.versions import ChangeRules
from core.errors import ChangeLogError
from core.manifest import Manifest
from retrieval.live.catalogs import LiveRelease
from retrieval.live.overlay import Overlay
from retrieval.live.rows import ChangeCleaner, CleanedRow
from retrieval.live.segments import SegmentStack
from retrieval.live.state import LiveState
from retrieval.live.writer import ChangeWriter
from retrieval.release.loaded import LoadedRelease
from retrieval.server.calls import MOST_REQUEST_BYTES
from retrieval.server.catalog_service import MOST_CHANGE_BYTES
from tandem.client import AsyncSearchClient, DeleteRequest, FieldsUpdate, ProductDelete, ProductUpsert, UpsertRequest
from tandem.v1 import catalog_pb2, catalog_pb2_grpc, search_pb2, search_pb2_grpc

APPLIED, REJECTED = catalog_pb2.CHANGE_OUTCOME_APPLIED, catalog_pb2.CHANGE_OUTCOME_REJECTED


class LiveService(Service):
    """A service whose release, of products p0 to p19, follows a change log; `log` is the same as another writes it."""

    def __init__(self, folder: Path, most_fresh: int = 100) -> None:
        super().__init__(folder)
        self.models = HashingModels()
        self.most_fresh = most_fresh
        self.log = FileChangeLog(folder / "changes")
        self.elsewhere = FileChangeLog(folder / "changes")

    def open(self, path: Path, manifest: Manifest) -> LoadedRelease:
        release = super().open(path, manifest)
        base, rows = release.view.base, {name: row for row, name in enumerate(release.view.ids())}

        def make() -> LiveState:
            stack = SegmentStack(base, PlainSegments())
            return LiveState(stack, rows.get, self.models, ChangeRules())

        overlay = Overlay(make, self.log, "release r", lambda view: setattr(release, "view", view))
        overlay.catch_up()
        overlay.start()
        writer = ChangeWriter(overlay, self.log, self.models, self.most_fresh)
        release.live = LiveRelease(overlay, writer, ChangeCleaner(release.manifest), self.log)
        return release

    @asynccontextmanager
    async def client(self, **settings: Any) -> AsyncIterator[AsyncSearchClient]:
        async with self.serve(**settings) as (_, server), AsyncSearchClient(server.address, 10) as client:
            yield client

    def products(self) -> dict[str, dict[str, Any]]:
        view = self.release.view
        alive = view.mask(None)
        return {view.id(row): view.row(row) for row in range(view.rows) if alive is None or alive[row]}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[LiveService]:
    service = LiveService(tmp_path)
    yield service
    service.log.close()
    service.elsewhere.close()


def struct(**values: Any) -> Struct:
    made = Struct()
    made.update(values)
    return made


def rows(*values: dict[str, Any]) -> UpsertRequest:
    return UpsertRequest(products=[ProductUpsert(row=struct(**value)) for value in values])


async def test_changes_are_seen_once_they_are_acknowledged(service: LiveService) -> None:
    async with service.client() as client:
        shown = search_pb2.Product(title="Lamp", brand="Lux", availability=search_pb2.AVAILABILITY_BACKORDER)
        shown.price.CopyFrom(search_pb2.Money(currency_code="EUR", units=12, nanos=340_000_000))
        shown.attributes["ram"] = "8 GB"
        request = UpsertRequest(products=[ProductUpsert(product_id="n1", product=shown, popularity=2.5)])
        answer = await client.upsert(request)
        assert (answer.revision, answer.catalog, [one.outcome for one in answer.results]) == (1, "shop", [APPLIED])
        product = service.products()["n1"]
        assert (product["title"], product["brand"], product["availability"]) == ("Lamp", "Lux", "backorder")
        assert (product["price_micros"], product["currency"], product["popularity"]) == (12_340_000, "EUR", 2.5)
        assert product["attributes"] == [("ram", "8 GB")]

        updated = await client.update_fields(
            catalog_pb2.UpdateFieldsRequest(
                products=[
                    FieldsUpdate(product_id="n1", fields=struct(price="9.99", **{"attributes.ram": None})),
                    FieldsUpdate(product_id="p3", fields=struct(availability="sold out")),
                    FieldsUpdate(product_id="gone", fields=struct(price=1)),
                ]
            )
        )
        assert [catalog_pb2.ChangeOutcome.Name(one.outcome)[15:] for one in updated.results] == [
            "APPLIED",
            "APPLIED",
            "MISSING",
        ]
        products = service.products()
        assert products["n1"]["price_micros"] == 9_990_000 and products["n1"]["attributes"] is None
        assert products["p3"]["availability"] == "out_of_stock"

        deleted = await client.delete(DeleteRequest(products=[ProductDelete(product_id=name) for name in ("n1", "p0")]))
        assert deleted.revision == 3 and not {"n1", "p0"} & set(service.products())
        found = await client.search(search_pb2.SearchRequest(query="3 shoes", least_revision=3))
        assert found.overlay_revision == 3


async def test_a_row_that_is_no_product_is_reported_and_the_others_are_taken(service: LiveService) -> None:
    async with service.client() as client:
        request = rows({"id": "n1", "title": "Lamp", "price": "ask"}, {"id": "n2", "title": " "}, {"title": "no id"})
        request.products.append(ProductUpsert(row=struct(id="n3", title="Desk"), version=7))
        answer = await client.upsert(request)
        outcomes = [(one.product_id, one.outcome, one.reason) for one in answer.results]
        assert outcomes[0][:2] == ("n1", APPLIED) and [one.partition(":")[0] for one in answer.results[0].dropped] == [
            "price"
        ]
        assert outcomes[1:] == [("n2", REJECTED, "no_title"), ("", REJECTED, outcomes[2][2]), ("n3", APPLIED, "")]
        nothing = await client.upsert(rows({"id": "n2", "title": " "}))
        assert nothing.revision == 0 and nothing.results[0].detail
        assert service.log.bounds() == (1, 1), "nothing of it is written"


async def test_a_request_sent_again_is_applied_once_and_has_the_same_answer(service: LiveService) -> None:
    async with service.client() as client:
        request = rows({"id": "n1", "title": "Lamp"}, {"id": "n2", "title": " "})
        request.request_id = "mine-1"
        first = await client.upsert(request)
        await client.delete(DeleteRequest(products=[ProductDelete(product_id="n1")]))
        assert await client.upsert(request) == first and first.revision == 1
        assert "n1" not in service.products() and service.log.bounds() == (1, 2)
        other = rows({"id": "n1", "title": "Lamp"}, {"id": "n5", "title": "Bed"})
        other.request_id = "mine-1"
        error, _ = await failure(client._catalog_stub.Upsert(other, timeout=10))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT and "used for another request" in (
            error.details() or ""
        )


async def test_a_search_waits_for_the_revision_that_it_asks_for(service: LiveService) -> None:
    async with service.serve() as (channel, _):
        stub = search_pb2_grpc.SearchServiceStub(channel)
        entry = NewEntry(1, "", (Change(ChangeKind.delete, "p1"),))
        written = await asyncio.to_thread(service.elsewhere.append, [entry])
        answer = await stub.Search(search_pb2.SearchRequest(query="3 shoes", least_revision=1), timeout=10)
        assert answer.overlay_revision == written[0].revision == 1
        error, _ = await failure(stub.Search(search_pb2.SearchRequest(query="3 shoes", least_revision=99), timeout=10))
        assert error.code() is grpc.StatusCode.UNAVAILABLE and "revision 99 is not here yet" in (error.details() or "")


async def test_a_search_waits_until_the_process_has_applied_the_revision(service: LiveService) -> None:
    applying, go_on = threading.Event(), threading.Event()
    embed = service.models.embed

    def embed_later(texts: Sequence[str]) -> np.ndarray:
        applying.set()
        assert go_on.wait(20)
        return embed(texts)

    service.models.embed = embed_later  # type: ignore[method-assign]
    async with service.serve() as (channel, _):
        stub = search_pb2_grpc.SearchServiceStub(channel)
        change = Change(ChangeKind.upsert, "n1", 0, product("n1", "Lamp"))
        await asyncio.to_thread(service.elsewhere.append, [NewEntry(1, "", (change,))])
        assert await asyncio.to_thread(applying.wait, 20)
        request = search_pb2.SearchRequest(query="3 shoes", least_revision=1)
        waiting = asyncio.ensure_future(stub.Search(request, timeout=10))
        before = await stub.Search(search_pb2.SearchRequest(query="3 shoes"), timeout=10)
        assert before.overlay_revision == 0 and not waiting.done()
        go_on.set()
        assert (await waiting).overlay_revision == 1


async def test_fresh_products_have_a_bound_with_a_warning_before_it(tmp_path: Path) -> None:
    service = LiveService(tmp_path, most_fresh=5)
    async with service.client() as client:
        assert not (await client.upsert(rows(*({"id": f"n{i}", "title": "Lamp"} for i in range(3))))).warnings
        [warning] = (await client.upsert(rows({"id": "n3", "title": "Lamp"}))).warnings
        assert "4 fresh products of at most 5" in warning
        request = rows(*({"id": f"n{i}", "title": "Desk"} for i in range(10, 12)))
        error, _ = await failure(client._catalog_stub.Upsert(request, timeout=10))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and "tandem index" in (error.details() or "")
        await client.update_fields(
            catalog_pb2.UpdateFieldsRequest(products=[FieldsUpdate(product_id="p1", fields=struct(price=3))])
        )
        await client.delete(DeleteRequest(products=[ProductDelete(product_id="n0"), ProductDelete(product_id="n1")]))
        assert (await client.upsert(request)).revision == 5
    service.log.close()
    service.elsewhere.close()


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (UpsertRequest(), "products"),
        (UpsertRequest(products=[ProductUpsert(row=Struct())] * 501), "products"),
        (UpsertRequest(products=[ProductUpsert(product_id="a")]), "products[0]"),
        (UpsertRequest(products=[ProductUpsert(row=Struct(), version=-1)]), "products[0].version"),
        (UpsertRequest(products=[ProductUpsert(product_id="a" * 2000, row=Struct())]), "products[0].product_id"),
        (UpsertRequest(catalog="c" * 200, products=[ProductUpsert(row=Struct())]), "catalog"),
        (UpsertRequest(request_id="a\nb", products=[ProductUpsert(row=Struct())]), "request_id"),
    ],
)
async def test_what_cannot_be_read_is_refused_with_the_field_at_fault(
    service: LiveService, request_: UpsertRequest, field: str
) -> None:
    async with service.client() as client:
        error, status = await failure(client._catalog_stub.Upsert(request_, timeout=10))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert (error.details() or "").startswith(f"{field}: ") and status is not None


async def test_requests_of_changes_may_be_larger_than_searches_and_have_a_bound(service: LiveService) -> None:
    async with service.client() as client:
        large = rows({"id": "n1", "title": "Lamp", "description": "x" * (2 * MOST_REQUEST_BYTES)})
        assert (await client.upsert(large)).results[0].outcome == APPLIED
        larger = rows({"id": "n1", "title": "Lamp", "description": "x" * MOST_CHANGE_BYTES})
        error, _ = await failure(client._catalog_stub.Upsert(larger, timeout=10))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT and "send at most 1,048,576" in (error.details() or "")


async def test_a_stream_is_applied_in_its_order(service: LiveService) -> None:
    async with service.serve() as (channel, _):
        stub = catalog_pb2_grpc.CatalogServiceStub(channel)

        async def requests() -> AsyncIterator[catalog_pb2.ChangeRequest]:
            for number in range(60):
                upsert = rows({"id": f"n{number % 3}", "title": f"Lamp {number}"})
                yield catalog_pb2.ChangeRequest(key=str(number), upsert=upsert)
            yield catalog_pb2.ChangeRequest(key="nothing")
            yield catalog_pb2.ChangeRequest(key="bad", upsert=UpsertRequest())
            yield catalog_pb2.ChangeRequest(key="last", delete=DeleteRequest(products=[ProductDelete(product_id="n0")]))

        answers = [answer async for answer in stub.Change(requests(), timeout=30)]
        assert [answer.key for answer in answers] == [*map(str, range(60)), "nothing", "bad", "last"]
        assert [answer.sequence for answer in answers] == list(range(1, 64))
        revisions = [answer.upsert.revision for answer in answers[:60]]
        assert revisions == sorted(revisions) and len(set(revisions)) == 60
        assert [answer.error.code for answer in answers[60:62]] == [3, 3]
        assert answers[62].delete.results[0].outcome == APPLIED
        products = service.products()
        assert "n0" not in products
        assert (products["n1"]["title"], products["n2"]["title"]) == ("Lamp 58", "Lamp 59")


async def test_a_log_that_cannot_be_written_fails_the_change_and_nothing_else(
    service: LiveService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(entries: Any) -> Any:
        raise ChangeLogError("No space left on device")

    async with service.client() as client:
        monkeypatch.setattr(service.log, "append", full)
        error, _ = await failure(client._catalog_stub.Upsert(rows({"id": "n1", "title": "Lamp"}), timeout=10))
        assert error.code() is grpc.StatusCode.UNAVAILABLE and "request_id" in (error.details() or "")
        assert (await client.search(search_pb2.SearchRequest(query="3 shoes"))).hits
        monkeypatch.undo()
        assert (await client.upsert(rows({"id": "n1", "title": "Lamp"}))).revision == 1


async def test_changes_whose_callers_left_before_they_were_begun_are_not_written(service: LiveService) -> None:
    """Those that are being written are: their callers send them again under the same name."""
    begun, go_on = threading.Event(), threading.Event()

    def read(name: str) -> list[CleanedRow]:
        if name == "a":
            begun.set()
            assert go_on.wait(20)
        change = Change(ChangeKind.delete, name)
        return [CleanedRow(name, change)]

    async with service.client():
        assert service.release.live is not None
        writer = service.release.live.writer
        tasks = {"a": asyncio.ensure_future(writer.write(partial(read, "a"), "a"))}
        while not begun.is_set():
            await asyncio.sleep(0.001)
        tasks |= {name: asyncio.ensure_future(writer.write(partial(read, name), name)) for name in ("b", "c")}
        await asyncio.sleep(0)
        tasks["a"].cancel()
        tasks["b"].cancel()
        await asyncio.sleep(0)
        go_on.set()
        assert (await tasks["c"]).revision == 2
    assert [entry.request_id for entry in service.elsewhere.read(0, 10)] == ["a", "c"]
