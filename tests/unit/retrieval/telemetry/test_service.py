"""What a service of doubles shows of the calls that it answers: counts, spans, lines."""

import io
import json
import re
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from collectors import attributes, collector
from scrapes import scrape
from services import Service, until

from benchmarks.common import free_address
from core.errors import TandemError
from core.filters import Equal
from retrieval.profiles.settings import OFF
from retrieval.server.settings import ServeSettings
from retrieval.telemetry import optional, telemetry
from retrieval.telemetry.request_log import RequestLog
from tandem.v1 import search_pb2, search_pb2_grpc

_TRACE, _PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
_SAMPLED = ("traceparent", f"00-{_TRACE}-{_PARENT}-01")
_UNSAMPLED = ("traceparent", f"00-{_TRACE}-{_PARENT}-00")


def query(text: str = "3 boots", **more: Any) -> search_pb2.SearchRequest:
    return search_pb2.SearchRequest(query=text, top_k=5, **more)


async def test_answers_without_a_stage_are_counted_by_reason(tmp_path: Path) -> None:
    address = free_address()
    async with Service(tmp_path, broken=("rescore",)).serve(metrics_address=address) as (channel, _):
        stub = search_pb2_grpc.SearchServiceStub(channel)
        for _ in range(3):
            answer = await stub.Search(query())
            assert [entry.reason for entry in answer.degraded] == [search_pb2.DEGRADATION_REASON_RERANK_FAILED]
        samples = scrape(address)
    assert samples["tandem_degraded_total"] == {("RERANK_FAILED",): 3}
    assert samples["tandem_calls_total"] == {("OK", "tandem.v1.SearchService/Search"): 3}
    assert samples["tandem_stage_duration_seconds_count"]["rescore",] == 3
    assert samples["tandem_candidates_count"] == {("retrieve",): 3}
    assert "shop" not in samples["tandem_top_score_count"], "a degraded score is of another scale"


async def test_a_searched_share_is_probed(tmp_path: Path) -> None:
    address = free_address()
    async with Service(tmp_path).serve(metrics_address=address, probe_share=1.0) as (channel, _):
        await search_pb2_grpc.SearchServiceStub(channel).Search(query())
        await until(lambda: bool(scrape(address)["tandem_recall_probes_total"]))
        samples = scrape(address)
    assert samples["tandem_recall_probes_total"] == {("done",): 1}
    assert samples["tandem_recall_ratio_sum"] == {("shop", "all"): 1} == samples["tandem_recall_ratio_count"]


async def test_a_sampled_call_is_a_span_with_one_for_each_stage(tmp_path: Path) -> None:
    with collector() as received:
        before = time.time_ns()
        async with Service(tmp_path, delays={"rescore": 0.02}).serve(trace_endpoint=received.url) as (channel, _):
            stub = search_pb2_grpc.SearchServiceStub(channel)
            answer = await stub.Search(query("3 secret words"), metadata=(_SAMPLED, ("x-request-id", "r-1")))
            await stub.Search(query(), metadata=(_UNSAMPLED,))
            await stub.Search(query())
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.Search(query(catalog="none"), metadata=(("traceparent", f"00-{_TRACE[::-1]}-{_PARENT}-01"),))
        after = time.time_ns()
    calls = [span for span in received.spans if span.name == "tandem.v1.SearchService/Search"]
    assert sorted(attributes(span)["rpc.grpc.status_code"] for span in calls) == [0, 5]
    [call] = [span for span in calls if attributes(span)["rpc.grpc.status_code"] == 0]
    assert call.trace_id.hex() == _TRACE and call.parent_span_id.hex() == _PARENT
    assert attributes(call)["tandem.request_id"] == "r-1" and attributes(call)["tandem.release"] == answer.release_id
    stages = [span for span in received.spans if span.parent_span_id == call.span_id]
    assert [span.name for span in sorted(stages, key=lambda span: span.start_time_unix_nano)] == [
        stage.name for stage in answer.stages
    ]
    for span in stages:
        assert before < call.start_time_unix_nano <= span.start_time_unix_nano + 2_000_000
        assert span.end_time_unix_nano <= call.end_time_unix_nano + 2_000_000 < after + 4_000_000
    rescore = received.named("rescore")
    assert rescore.end_time_unix_nano - rescore.start_time_unix_nano >= 20_000_000
    assert all(b"secret" not in span.SerializeToString() for span in received.spans)


async def test_a_share_of_other_calls_is_traced_if_asked(tmp_path: Path) -> None:
    with collector() as received:
        async with Service(tmp_path).serve(trace_endpoint=received.url, trace_share=1.0) as (channel, _):
            stub = search_pb2_grpc.SearchServiceStub(channel)
            await stub.Search(query())
            await stub.Search(query(), metadata=(_UNSAMPLED,))
    assert len([span for span in received.spans if not span.parent_span_id]) == 1


async def test_a_receiver_that_is_not_there_holds_up_no_call(tmp_path: Path) -> None:
    nowhere = f"http://{free_address()}"
    async with Service(tmp_path).serve(trace_endpoint=nowhere) as (channel, _):
        stub = search_pb2_grpc.SearchServiceStub(channel)
        for _ in range(20):
            await stub.Search(query(), metadata=(_SAMPLED,), timeout=5)


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(optional, "import_module", missing)
    with pytest.raises(TandemError, match=r"metrics_address needs the extra `metrics`: install 'tandem-"):
        telemetry.open_telemetry(ServeSettings(metrics_address="127.0.0.1:1"), None)
    with pytest.raises(TandemError, match="trace_endpoint needs the extra `tracing`"):
        telemetry.open_telemetry(ServeSettings(trace_endpoint="http://127.0.0.1:1"), None)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What the request log of services writes."""
    file = io.StringIO()
    monkeypatch.setattr(telemetry, "RequestLog", lambda *how: RequestLog(*how, file=file))
    return file


async def test_a_line_says_what_was_asked_and_what_answered(tmp_path: Path, lines: io.StringIO) -> None:
    async with Service(tmp_path, broken=("rescore",)).serve(request_log=1.0) as (channel, _):
        stub = search_pb2_grpc.SearchServiceStub(channel)
        experiment = search_pb2.ExperimentContext(experiment_id="e-1", variant_id="b")
        request = query("3 boots for ann@example.com", experiment=experiment)
        request.user.user_id = "ann@example.com"
        answer = await stub.Search(request, metadata=(("x-request-id", "r-1"),))
    [line] = map(json.loads, lines.getvalue().splitlines())
    assert "example.com" not in lines.getvalue()
    assert line["query"].startswith("3 boots for ") and re.fullmatch("[0-9a-f]{32}", line["user"])
    assert line["request_id"] == "r-1" and line["method"] == "Search" and line["catalog"] == "shop"
    assert line["release"] == answer.release_id and line["revision"] == answer.overlay_revision == 0
    assert line["experiment_id"] == "e-1" and line["variant_id"] == "b"
    assert line["hits"] == [hit.product_id for hit in answer.hits] and line["degraded"] == ["RERANK_FAILED"]
    assert list(line["stages_ms"]) == [stage.name for stage in answer.stages]
    assert 0 < sum(line["stages_ms"].values()) < line["milliseconds"] < 60_000
    assert line["candidates"]["retrieve"] == 20


async def test_requests_of_experiments_are_logged_and_others_by_their_share(tmp_path: Path, lines: io.StringIO) -> None:
    async with Service(tmp_path).serve(profiles=OFF) as (channel, _):
        stub = search_pb2_grpc.SearchServiceStub(channel)
        await stub.Search(query())
        await stub.Search(query(experiment=search_pb2.ExperimentContext(variant_id="b")))
    [line] = map(json.loads, lines.getvalue().splitlines())
    assert line["variant_id"] == "b" and "user" not in line
    drawn = RequestLog(0.3, draw=lambda: 0.29), RequestLog(0.3, draw=lambda: 0.3), RequestLog(0.0, draw=lambda: 0.0)
    assert [log.wants(("", "")) for log in drawn] == [True, False, False]


def test_whatever_a_caller_may_have_typed_is_masked() -> None:
    file = io.StringIO()
    log = RequestLog(1.0, None, file=file)
    log.write({"filter": Equal("brand", "bob@example.com"), "experiment_id": "eve@example.com", "country": "DE"})
    log.close()
    line = json.loads(file.getvalue())
    assert "example.com" not in file.getvalue() and line["filter"].startswith("brand = ") and line["country"] == "DE"


def test_a_log_that_nobody_takes_lines_from_holds_up_nobody() -> None:
    reads = threading.Event()

    class Slow(io.StringIO):
        def write(self, text: str) -> int:
            reads.wait(30)
            return super().write(text)

    dropped: list[int] = []
    log = RequestLog(1.0, None, lambda: dropped.append(1), Slow())

    def write() -> None:
        for _ in range(1200):
            log.write({"query": "boots"})

    writing = threading.Thread(target=write, daemon=True)
    writing.start()
    writing.join(20)
    written = not writing.is_alive()
    reads.set()
    log.close(20)
    assert written and 190 <= len(dropped) <= 200


def test_a_log_that_nobody_reads_drops_lines_and_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stuck(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    dropped: list[int] = []
    log = RequestLog(1.0, None, lambda: dropped.append(1), Stuck())
    for _ in range(3):
        log.write({"query": "boots"})
    log.close()
    assert len(dropped) == 3
    monkeypatch.setattr("text.masking.mask_personal", lambda *_: 1 / 0)
    broken = io.StringIO()
    log = RequestLog(1.0, None, lambda: dropped.append(1), broken)
    log.write({"query": "ann@example.com"})
    log.close()
    assert len(dropped) == 4 and not broken.getvalue(), "what cannot be masked is not written"
