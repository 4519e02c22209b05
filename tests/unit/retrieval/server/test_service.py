"""The service through a real gRPC server and channel; only the models are doubles."""

import asyncio
import logging
import re
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from services import Service, failure, until

import retrieval.server.main as server_module
from core.errors import TandemError
from core.plan import Plan
from retrieval.release.manager import ReleaseManager
from retrieval.server.deadlines import Deadlines
from retrieval.server.main import run_server
from retrieval.server.service import SearchService
from retrieval.server.settings import ServeSettings
from tandem.client import SearchClient, SearchError, Violation
from tandem.v1 import search_pb2, search_pb2_grpc

SEARCH = "/tandem.v1.SearchService/Search"
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


def ask(channel: grpc.aio.Channel, query: str = "3 shoes", timeout: float = 5, **fields: Any) -> Any:
    metadata = fields.pop("metadata", None)
    request = search_pb2.SearchRequest(query=query, **fields)
    return search_pb2_grpc.SearchServiceStub(channel).Search(request, timeout=timeout, metadata=metadata)


async def test_a_search_answers(tmp_path: Path) -> None:
    service = Service(tmp_path)
    async with service.serve() as (channel, _):
        answer = await ask(channel, top_k=3, catalog="shop", language="en-GB", country="ie")
    assert [hit.product_id for hit in answer.hits] == ["p19", "p18", "p17"]
    assert [hit.rank for hit in answer.hits] == [1, 2, 3]
    assert answer.hits[0].product.price == search_pb2.Money(currency_code="EUR", units=19, nanos=10_000_000)
    assert answer.release_id == service.store.current("shop") and answer.catalog == "shop"
    assert [stage.name for stage in answer.stages] == ["encode", "retrieve", "rescore", "arrange"]
    assert not answer.degraded and answer.overlay_revision == 0
    assert len(answer.request_id) == 32  # made here, since none was sent


async def test_the_request_id_and_the_experiment_come_back(tmp_path: Path) -> None:
    context = search_pb2.ExperimentContext(experiment_id="depth", variant_id="b")
    async with Service(tmp_path).serve() as (channel, _):
        answer = await ask(channel, experiment=context, metadata=(("x-request-id", "mine-7"),))
        other = await ask(channel, metadata=(("x-request-id", "x" * 129),))
    assert answer.request_id == "mine-7" and answer.experiment == context
    assert len(other.request_id) == 32 and not other.HasField("experiment")


async def test_bad_input_names_every_field(tmp_path: Path) -> None:
    service = Service(tmp_path)
    async with service.serve() as (channel, _):
        error, status = await failure(ask(channel, query=" ", top_k=500, language="x" * 200))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    detail = error_details_pb2.BadRequest()
    assert status.message == error.details() and status.details[0].Unpack(detail)
    assert [violation.field for violation in detail.field_violations] == ["query", "top_k", "language"]
    assert service.engine.calls == []


@pytest.mark.parametrize(
    "fields",
    [
        {"product_mask": FieldMask(paths=[f"no_such_field_{i}" for i in range(64)])},
        {"product_mask": FieldMask(paths=["x" * 5000])},
        {"product_mask": FieldMask(paths=["\x01🔥" * 20] * 64), "language": "🔥" * 500, "country": "%" * 500},
        {"product_mask": FieldMask(paths=[""] * 30_000)},
        {"query": "a" + "\u0301\u0323" * 10_000},
        {"language": "🔥" * 128},
        {"country": "\n" * 128},
        {"query": "x" * 65_536},
    ],
)
async def test_what_is_wrong_with_a_hostile_request_fits_into_its_answer(tmp_path: Path, fields: dict) -> None:
    async with Service(tmp_path).serve() as (channel, _):
        error, status = await failure(ask(channel, **fields))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT and status.message == error.details()
    detail = error_details_pb2.BadRequest()
    assert status.details[0].Unpack(detail) and 1 <= len(detail.field_violations) <= 10
    sizes = [len(key) + len(value) for key, value in error.trailing_metadata() or ()]
    assert sum(sizes) * 4 / 3 + len((error.details() or "").encode()) < 4096


async def test_a_long_catalog_name_and_many_catalogs_are_told_in_short(tmp_path: Path) -> None:
    service = Service(tmp_path)
    for i in range(12):
        service.publish(f"shop-{i}")
    async with service.serve() as (channel, _):
        error, _ = await failure(ask(channel, catalog="🔥" * 128))
        assert error.code() is grpc.StatusCode.NOT_FOUND and "and 3 more" in (error.details() or "")
        error, status = await failure(ask(channel))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT and "and 3 more" in status.message


async def test_a_request_is_not_looked_at_without_a_place(tmp_path: Path) -> None:
    service = Service(tmp_path, {"encode": 0.3})
    async with service.serve(max_in_flight=1) as (channel, _):
        first = asyncio.ensure_future(ask(channel))
        await until(lambda: len(service.engine.calls) == 1)
        error, _ = await failure(ask(channel, query="", top_k=-1))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await first


async def test_an_unexpected_exception_is_internal(tmp_path: Path, monkeypatch: Any) -> None:
    async def broken(*_: Any) -> None:
        raise ValueError(f"secret of {tmp_path}")

    async with Service(tmp_path).serve() as (channel, _):
        monkeypatch.setattr("retrieval.server.service.search", broken)
        error, _ = await failure(ask(channel, metadata=(("x-request-id", "mine-7"),)))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "mine-7" in (error.details() or "") and "secret" not in (error.details() or "")


async def test_another_market_is_bad_input(tmp_path: Path) -> None:
    async with Service(tmp_path).serve() as (channel, _):
        error, status = await failure(ask(channel, language="de", country="AT"))
    detail = error_details_pb2.BadRequest()
    assert status.details[0].Unpack(detail) and error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [violation.field for violation in detail.field_violations] == ["language", "country"]


@pytest.mark.parametrize("data", [b"\x0a\x02\xff\xfe", b"\x0a\x7fshort", b"\xff\xff\xff\xff"])
async def test_bytes_that_are_no_request_are_bad_input(tmp_path: Path, data: bytes) -> None:
    async with Service(tmp_path).serve() as (channel, _):
        raw = channel.unary_unary(SEARCH, request_serializer=bytes, response_deserializer=bytes)
        error, status = await failure(raw(data, timeout=5))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT and "UTF-8" in (error.details() or "")
    assert status.details[0].Is(error_details_pb2.BadRequest.DESCRIPTOR)


async def test_one_too_many_is_refused_at_once_with_a_delay(tmp_path: Path) -> None:
    service = Service(tmp_path, {"encode": 0.3})
    async with service.serve(max_in_flight=2) as (channel, _):
        first = [asyncio.ensure_future(ask(channel)) for _ in range(2)]
        await until(lambda: len(service.engine.calls) == 2)
        error, status = await failure(ask(channel))
        assert not any(call.done() for call in first)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        detail = error_details_pb2.RetryInfo()
        assert status.details[0].Unpack(detail)
        assert 0 < detail.retry_delay.ToNanoseconds() <= 5 * 10**9
        await asyncio.gather(*first)
        await ask(channel)  # there is room again


async def test_a_deadline_too_near_for_retrieval_is_exceeded(tmp_path: Path) -> None:
    service = Service(tmp_path, {"retrieve": 30})
    async with service.serve(default_deadline=0.1) as (channel, _):
        error, _ = await failure(ask(channel, timeout=0.1))
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        # Without a deadline of its own a call gets the default one, and the service says so itself.
        raw = search_pb2_grpc.SearchServiceStub(channel).Search(search_pb2.SearchRequest(query="x"))
        async with asyncio.timeout(4):  # far beyond the default of 0.1, far below the 30 seconds of retrieval
            error, _ = await failure(raw)
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert error.details() == "no answer was ready within the deadline; give the call more time or ask for less"


@pytest.mark.parametrize(("remaining", "usable"), [(None, 0.995), (0.02, 0.018), (0.2, 0.195), (1000.0, 59.995)])
async def test_the_service_is_done_before_its_callers_time_is(remaining: float | None, usable: float) -> None:
    """By a tenth, 5 ms at most, for calls and answers are on their way for a while."""

    class Caller:
        def time_remaining(self) -> float | None:
            return remaining

    now = asyncio.get_running_loop().time()
    assert Deadlines(1.0, 60.0)._deadline(Caller()) - now == pytest.approx(usable, abs=0.002)  # type: ignore[arg-type]


async def test_a_call_that_is_late_already_is_not_begun(tmp_path: Path) -> None:
    class Caller:
        def time_remaining(self) -> float:
            return 0.001

        request_id = "r"

        async def abort(self, code: grpc.StatusCode, *_: Any) -> None:
            raise ValueError(code)

    service = Service(tmp_path)
    async with service.serve() as (_, server):
        search = SearchService(server.manager, Plan(), Deadlines(1.0, 60.0)).search
        with pytest.raises(ValueError, match="DEADLINE_EXCEEDED"):
            # Not even its fields are looked at, which are at fault.
            await search(search_pb2.SearchRequest(top_k=-1), Caller())  # type: ignore[arg-type]
        assert not service.engine.calls


async def test_no_call_takes_longer_than_the_longest_deadline(tmp_path: Path) -> None:
    service = Service(tmp_path, {"retrieve": 30})
    async with service.serve(longest_deadline=0.1) as (channel, _):
        async with asyncio.timeout(10):
            error, _ = await failure(ask(channel, timeout=60))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_deadline_near_rescoring_degrades_the_answer(tmp_path: Path) -> None:
    # The service's own deadline: a client's may pass on a busy machine while the answer is on its way.
    service = Service(tmp_path, {"rescore": 30})
    async with service.serve(default_deadline=1.0) as (channel, _):
        answer = await ask(channel, timeout=None, top_k=2)
        assert [entry.reason for entry in answer.degraded] == [search_pb2.DEGRADATION_REASON_RERANK_FAILED]
        assert [hit.product_id for hit in answer.hits] == ["p3", "p4"]
        service.release.rerank_cost.calibrate(1, 1000)
        answer = await ask(channel, timeout=None, top_k=2)
        assert [entry.reason for entry in answer.degraded] == [search_pb2.DEGRADATION_REASON_RERANK_SKIPPED]


async def test_catalogs_by_name(tmp_path: Path) -> None:
    service = Service(tmp_path)
    service.publish("other")
    async with service.serve() as (channel, _):
        assert (await ask(channel, catalog="other")).catalog == "other"
        error, _ = await failure(ask(channel, catalog="third"))
        assert error.code() is grpc.StatusCode.NOT_FOUND and "there is other, shop" in (error.details() or "")
        error, status = await failure(ask(channel))
        detail = error_details_pb2.BadRequest()
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT and status.details[0].Unpack(detail)
        assert [violation.field for violation in detail.field_violations] == ["catalog"]


async def test_a_failed_engine_is_unavailable(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with Service(tmp_path, broken=("encode",)).serve() as (channel, _):
        with caplog.at_level(logging.ERROR, "tandem.requests"):
            error, _ = await failure(ask(channel))
    message = error.details() or ""
    assert error.code() is grpc.StatusCode.UNAVAILABLE and message.startswith("the engine failed; try again")
    assert "broken" not in message  # what an engine says may hold paths and addresses
    [record] = [record for record in caplog.records if "engine failed: encode is broken" in record.getMessage()]
    assert record.getMessage().split(":")[0].split()[1] in message


async def test_why_an_answer_is_degraded_is_logged_once_and_not_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Service(tmp_path, broken=("rescore",)).serve() as (channel, _):
        answers = [await ask(channel, f"{i} shoes") for i in range(3)]
    for answer in answers:
        [entry] = answer.degraded
        assert entry.reason == search_pb2.DEGRADATION_REASON_RERANK_FAILED
        assert entry.detail.endswith(" candidates failed") and "broken" not in entry.detail
    [record] = [record for record in caplog.records if "rescore is broken" in record.getMessage()]
    assert answers[0].request_id in record.getMessage()


async def test_a_service_whose_releases_are_gone_is_unavailable(tmp_path: Path) -> None:
    async with Service(tmp_path).serve() as (channel, server):
        server.manager.close()
        error, _ = await failure(ask(channel))
    assert error.code() is grpc.StatusCode.UNAVAILABLE and "no release is loaded yet" in (error.details() or "")


async def test_a_cancelled_call_is_dropped_and_gives_its_place_back(tmp_path: Path) -> None:
    service = Service(tmp_path, {"encode": 30})
    async with service.serve(max_in_flight=1) as (channel, _):
        call = ask(channel)
        await until(lambda: service.engine.calls == [("encode", 1)])
        call.cancel()
        service.engine.delays = {}
        async with asyncio.timeout(5):
            while True:
                try:
                    await ask(channel)
                    break
                except grpc.aio.AioRpcError as error:
                    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        # Of the cancelled call nothing but its encoding was ever asked for.
        assert [name for name, _ in service.engine.calls].count("retrieve") == 1
        with service.release.lease():
            assert service.release._leases == 1


async def test_health_turns_and_calls_in_flight_end_on_drain(tmp_path: Path) -> None:
    service = Service(tmp_path, {"encode": 0.3})
    manager = ReleaseManager(service.store, 60, service.open)
    settings = ServeSettings(address="127.0.0.1:0", releases=service.store.root, grace_seconds=5)
    manager = run_server(settings, manager)
    server = await manager.__aenter__()
    service.engine.delays = service.delays
    async with grpc.aio.insecure_channel(server.address) as channel:
        checks = health_pb2_grpc.HealthStub(channel)
        for name in ("", "tandem.v1.SearchService"):
            assert (await checks.Check(health_pb2.HealthCheckRequest(service=name))).status == SERVING
        watch = checks.Watch(health_pb2.HealthCheckRequest(service="tandem.v1.SearchService"))
        assert (await watch.read()).status == SERVING
        slow = asyncio.ensure_future(ask(channel))
        await until(lambda: ("encode", 1) in service.engine.calls[9:])
        stopping = asyncio.create_task(manager.__aexit__(None, None, None))
        assert (await watch.read()).status == NOT_SERVING
        watch.cancel()
        late = asyncio.ensure_future(ask(channel))  # sent before its client can know
        await asyncio.sleep(0.2)
        error, _ = await failure(ask(channel))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert len((await slow).hits) == len((await late).hits) == 10
        await stopping
    assert service.engine.closed


async def test_open_streams_do_not_hold_up_a_drain(tmp_path: Path) -> None:
    async with asyncio.timeout(20), AsyncExitStack() as stack:
        serving = AsyncExitStack()
        _, server = await serving.enter_async_context(Service(tmp_path).serve(grace_seconds=60))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(server.address))
        checks = health_pb2_grpc.HealthStub(channel)
        gone, watch = (checks.Watch(health_pb2.HealthCheckRequest()) for _ in range(2))
        assert (await gone.read()).status == (await watch.read()).status == SERVING
        gone.cancel()  # must not keep the other from being told
        unknown = checks.Watch(health_pb2.HealthCheckRequest(service="other"))
        assert (await unknown.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        looking = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
        await looking.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        assert (await looking.read()).HasField("list_services_response")
        await serving.aclose()
        assert (await watch.read()).status == NOT_SERVING
        assert await watch.read() is await looking.read() is grpc.aio.EOF


async def test_the_health_of_an_unknown_service_is_not_found(tmp_path: Path) -> None:
    async with Service(tmp_path).serve() as (channel, _):
        error, _ = await failure(
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service="other"))
        )
    assert error.code() is grpc.StatusCode.NOT_FOUND


async def test_reflection_lists_the_service_and_describes_it(tmp_path: Path) -> None:
    async with Service(tmp_path).serve() as (channel, _):
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        asked = [
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol="tandem.v1.SearchService"),
        ]
        answers = [answer async for answer in stub.ServerReflectionInfo(iter(asked))]
    names = {service.name for service in answers[0].list_services_response.service}
    assert {"tandem.v1.SearchService", "grpc.health.v1.Health"} <= names
    assert {"grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"} <= names
    files = b"".join(answers[1].file_descriptor_response.file_descriptor_proto)
    assert b"SearchRequest" in files


async def test_reflection_v1_describes_itself_and_the_service(tmp_path: Path) -> None:
    """As a client of v1 sees it, which knows none of the names of v1alpha."""
    request = reflection_pb2.ServerReflectionRequest  # the same bytes in both versions
    symbols = ("grpc.reflection.v1.ServerReflection", "tandem.v1.SearchService", "no.such.Service")
    async with Service(tmp_path).serve() as (channel, _):
        ask_v1 = channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            request_serializer=request.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        asked = [request(file_containing_symbol=symbol) for symbol in symbols]
        asked += [request(file_by_filename="grpc/reflection/v1/reflection.proto"), request(list_services="")]
        own, service, missing, named, listed = [answer async for answer in ask_v1(iter(asked))]
    pool = descriptor_pool.DescriptorPool()
    for file in {*own.file_descriptor_response.file_descriptor_proto}:
        pool.AddSerializedFile(file)
    method = pool.FindServiceByName("grpc.reflection.v1.ServerReflection").methods_by_name["ServerReflectionInfo"]
    assert method.input_type.full_name == "grpc.reflection.v1.ServerReflectionRequest"
    assert method.output_type.full_name == "grpc.reflection.v1.ServerReflectionResponse"
    assert b"alpha" not in b"".join(own.file_descriptor_response.file_descriptor_proto)
    assert own.file_descriptor_response == named.file_descriptor_response
    assert b"SearchRequest" in b"".join(service.file_descriptor_response.file_descriptor_proto)
    assert missing.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    names = {one.name for one in listed.list_services_response.service}
    assert {"tandem.v1.SearchService", "tandem.v1.RecommendService", "grpc.health.v1.Health"} < names


@pytest.mark.parametrize(
    "method",
    ["/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"]
    + [f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo" for version in ("v1", "v1alpha")],
)
async def test_bytes_that_health_and_reflection_cannot_read_are_bad_input(
    tmp_path: Path, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Sent and answered as streams of one: it is the same on the wire."""
    async with Service(tmp_path).serve() as (channel, _):
        call = channel.stream_stream(method, request_serializer=bytes)(iter([b"\x0a\x02\xff\xfe"]), timeout=5)
        error, _ = await failure(call.read())
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT and "UTF-8" in (error.details() or "")
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("service", ["x" * 60_000, "\x00\n" * 900, "🔥" * 900])
async def test_a_health_status_quotes_little_of_a_long_name(tmp_path: Path, service: str) -> None:
    async with Service(tmp_path).serve() as (channel, _):
        check = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service))
        error, _ = await failure(check)
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert "is not served here" in (error.details() or "") and len(error.details() or "") < 250


async def test_frequent_pings_are_welcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a gateway that pings each ten seconds, at ten times the speed: once a second is the most its library does."""
    settings = [ServeSettings(address="127.0.0.1:0", processes=count) for count in (1, 2)]
    least = [dict(server_module._options(each))["grpc.http2.min_ping_interval_without_data_ms"] for each in settings]
    assert max(least) <= 5_000  # some ping each five
    monkeypatch.setattr(server_module, "_PING_MILLISECONDS", least[0] // 10)
    options = [
        ("grpc.keepalive_time_ms", 1000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]
    async with (
        Service(tmp_path).serve() as (_, server),
        grpc.aio.insecure_channel(server.address, options=options) as channel,
    ):
        # The third of too many pings would end it.
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=4.2)
        assert (await watch.read()).status == SERVING
        error, _ = await failure(watch.read())
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED  # the watch's own end, and not "too many pings"


async def test_an_unknown_method_is_unimplemented(tmp_path: Path) -> None:
    async with Service(tmp_path).serve() as (channel, _):
        name = SEARCH.replace("Search", "Find")
        other = channel.unary_unary(name, request_serializer=bytes, response_deserializer=bytes)
        error, _ = await failure(other(b"", timeout=5))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_taken_port_and_an_empty_folder_are_told(tmp_path: Path) -> None:
    service = Service(tmp_path)
    async with service.serve() as (_, server):
        settings = ServeSettings(address=server.address, releases=service.store.root)
        (tmp_path / "again").mkdir()
        again = ReleaseManager(service.store, 60, Service(tmp_path / "again").open)
        with pytest.raises(TandemError, match=f"cannot listen on {server.address}"):
            async with run_server(settings, again):
                pass
    with pytest.raises(TandemError, match="no release can be served from"):
        async with run_server(ServeSettings(releases=tmp_path / "none")):
            pass


async def test_the_client_answers_and_tells_reasons_on_one_line(tmp_path: Path) -> None:
    def talk(address: str) -> list[Any]:
        with SearchClient(address) as client:
            client.wait()
            results: list[Any] = [client.search(search_pb2.SearchRequest(query="3 shoes", top_k=2)).hits[0].product_id]
            for request in (search_pb2.SearchRequest(), search_pb2.SearchRequest(query="x", catalog="none")):
                with pytest.raises(SearchError) as error:
                    client.search(request)
                results.append(error.value)
            return results

    async with Service(tmp_path).serve() as (_, server):
        result, empty, unknown = await asyncio.to_thread(talk, server.address)
    assert result == "p19"
    assert str(empty) == "INVALID_ARGUMENT: query: is empty; send the shopper's words"
    assert empty.violations == (Violation("query", "is empty; send the shopper's words"),)
    assert unknown.code is grpc.StatusCode.NOT_FOUND and not unknown.violations
    assert str(unknown) == "NOT_FOUND: catalog 'none' is not served here; there is shop"


async def test_a_unix_socket_is_served_by_one_process_alone(tmp_path: Path) -> None:
    def talk(address: str) -> str:
        with SearchClient(address) as client:
            client.wait()
            return client.search(search_pb2.SearchRequest(query="3 shoes", top_k=1)).hits[0].product_id

    address = f"unix:{tmp_path}/t.sock"
    service = Service(tmp_path)
    async with service.serve(address=address) as (_, server):
        assert server.address == address
        assert await asyncio.to_thread(talk, address) == "p19"
        (tmp_path / "again").mkdir()
        again = ReleaseManager(service.store, 60, Service(tmp_path / "again").open)
        with pytest.raises(TandemError, match="a service does already"):
            async with run_server(ServeSettings(address=address, releases=service.store.root), again):
                pass
        assert await asyncio.to_thread(talk, address) == "p19"
    (tmp_path / "third").mkdir()
    settings = ServeSettings(address=f"unix:{tmp_path}/no/t.sock", releases=service.store.root)
    with pytest.raises(TandemError, match="its folder is missing or not writable"):
        async with run_server(settings, ReleaseManager(service.store, 60, Service(tmp_path / "third").open)):
            pass


async def test_the_client_answers_within_a_short_timeout(tmp_path: Path) -> None:
    def talk(address: str) -> str:
        with SearchClient(address, timeout=0.9) as client:
            return client.search(search_pb2.SearchRequest(query="3 shoes", top_k=1)).hits[0].product_id

    async with Service(tmp_path).serve() as (_, server):
        assert await asyncio.to_thread(talk, server.address) == "p19"


async def test_the_client_tells_when_to_try_again(tmp_path: Path) -> None:
    service = Service(tmp_path, {"encode": 1.5})

    def talk(address: str) -> str:
        with SearchClient(address) as client, pytest.raises(SearchError) as error:
            client.search(search_pb2.SearchRequest(query="x"))
        return str(error.value)

    async with service.serve(max_in_flight=1, default_deadline=5) as (channel, server):
        first = asyncio.ensure_future(ask(channel))
        await until(lambda: service.engine.calls == [("encode", 1)])
        reported = await asyncio.to_thread(talk, server.address)
        await first
    assert re.match(r"RESOURCE_EXHAUSTED: 1 requests are in flight already; .* \(retry after \d+ ms\)$", reported)


@pytest.mark.parametrize("details", [b"\xff\xff", status_pb2.Status(code=5, message="other").SerializeToString()])
async def test_the_client_tells_the_reason_beside_details_that_make_no_sense(details: bytes) -> None:
    async def refuse(request: bytes, context: Any) -> None:
        await context.abort(grpc.StatusCode.NOT_FOUND, "no\nsuch", (("grpc-status-details-bin", details),))

    def talk(address: str) -> str:
        with SearchClient(address) as client, pytest.raises(SearchError) as error:
            client.search(search_pb2.SearchRequest(query="x"))
        return str(error.value)

    server = grpc.aio.server()
    methods = {"Search": grpc.unary_unary_rpc_method_handler(refuse)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("tandem.v1.SearchService", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    reported = await asyncio.to_thread(talk, f"127.0.0.1:{port}")
    await server.stop(None)
    assert reported == "NOT_FOUND: no such"


async def test_nobody_at_the_address_is_told(unused_tcp_port: int) -> None:
    def talk() -> str:
        with SearchClient(f"127.0.0.1:{unused_tcp_port}", 20.0) as client, pytest.raises(SearchError) as error:
            client.search(search_pb2.SearchRequest(query="x"))
        return str(error.value)

    reported = await asyncio.to_thread(talk)
    assert reported == f"nothing answers at 127.0.0.1:{unused_tcp_port}: start it with `tandem serve`"
