"""The client's retries, against a server that answers as it is told."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from core.errors import TandemError
from retrieval import client as client_module
from retrieval.client import SearchClient, service_config
from tandem.v1 import search_pb2

OK, REFUSED = grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED


@contextmanager
def serving(ends: Sequence[tuple[grpc.StatusCode, str]]) -> Iterator[tuple[str, list[bytes]]]:
    """Each call ends with the next code, and with that pushback where it is not empty; yields those that came."""
    left: list[tuple[grpc.StatusCode, str]] = list(ends)
    calls: list[bytes] = []

    def search(request: bytes, context: grpc.ServicerContext) -> bytes:
        calls.append(request)
        code, pushback = left.pop(0)
        context.set_trailing_metadata((("grpc-retry-pushback-ms", pushback),) if pushback else ())
        if code is not OK:
            context.abort(code, "")  # a status with an answer would not be retried
        return search_pb2.SearchResponse(request_id="done").SerializeToString()

    server = grpc.server(ThreadPoolExecutor(1))
    method = grpc.unary_unary_rpc_method_handler(search)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("tandem.v1.SearchService", {"Search": method}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}", calls
    finally:
        server.stop(None)


def ask(address: str, timeout: float = 20) -> str:
    with SearchClient(address, timeout) as client:
        try:
            return client.search(search_pb2.SearchRequest(query="x")).request_id
        except TandemError as error:
            return str(error)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waits: list[float] = []
    monkeypatch.setattr(client_module.time, "sleep", waits.append)
    return waits


def test_a_refused_call_is_sent_again_when_the_service_says(slept: list[float]) -> None:
    with serving([(REFUSED, "30"), (REFUSED, "50"), (OK, "")]) as (address, calls):
        assert ask(address) == "done"
    assert slept == [0.03, 0.05] and len(calls) == 3


@pytest.mark.parametrize("pushback", ["", "-1", "30000", "soon"])
def test_a_refused_call_is_not_sent_again_unasked_or_beyond_its_deadline(slept: list[float], pushback: str) -> None:
    with serving([(REFUSED, pushback)]) as (address, calls):
        assert ask(address).startswith("RESOURCE_EXHAUSTED")
    assert not slept and len(calls) == 1


def test_a_call_is_sent_three_times_at_most(slept: list[float]) -> None:
    with serving([(REFUSED, "10")] * 3) as (address, calls):
        assert ask(address).startswith("RESOURCE_EXHAUSTED")
    assert len(calls) == 3


def test_the_policy_for_other_clients_repeats_no_refused_call_and_is_throttled() -> None:
    policy: dict[str, Any] = json.loads(service_config())
    [method] = policy["methodConfig"]
    assert method["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]
    throttling = policy["retryThrottling"]
    with serving([(grpc.StatusCode.UNAVAILABLE, "")] * 60) as (address, calls), SearchClient(address, 20) as client:
        for _ in range(20):
            with pytest.raises(TandemError):
                client.search(search_pb2.SearchRequest(query="x"))
    # Each failure takes a token of those there are; nothing is sent again once half of them are gone.
    assert 20 < len(calls) <= 20 + throttling["maxTokens"] // 2
