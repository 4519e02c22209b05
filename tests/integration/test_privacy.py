"""Personal data in all that callers send: none of it is in what the service writes."""

import signal
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from collectors import collector
from scrapes import scrape_text
from shops import process

from benchmarks.common import free_address
from core.releases import ReleaseStore
from tandem.v1 import (
    catalog_pb2,
    catalog_pb2_grpc,
    recommend_pb2,
    recommend_pb2_grpc,
    search_pb2,
    search_pb2_grpc,
)

EMAIL, CARD, PHONE = "ann.lee@example.com", "4111111111111111", "+442079460018"
IBAN, ID = "DE89370400440532013000", "078-05-1120"
SHOPPER = "shopper-of-the-test-77"
SEEDED = (EMAIL, CARD, PHONE, IBAN, ID, SHOPPER)


def seeded_files(folder: Path) -> list[str]:
    """Files that hold seeded data as it was sent, with what they hold."""
    result = []
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            result += [f"{path.name}: {each}" for each in SEEDED if each.encode() in data]
    return result


def calls_of(channel: grpc.Channel) -> list[tuple[Any, Any]]:
    """Methods and requests, sound and wrong, with seeded data wherever a caller can put it."""
    search = search_pb2_grpc.SearchServiceStub(channel)
    recommend = recommend_pb2_grpc.RecommendServiceStub(channel)
    catalog = catalog_pb2_grpc.CatalogServiceStub(channel)
    requests: list[tuple[Any, Any]] = []
    for value in (EMAIL, CARD, PHONE, IBAN, ID):
        query = search_pb2.SearchRequest(query=f"red kettle {value}", top_k=3)
        query.user.user_id, query.user.remember = SHOPPER, True
        query.user.products.add(product_id="a-1", action=search_pb2.USER_ACTION_VIEW)
        query.user.segments["group"] = value
        wrong = search_pb2.SearchRequest(query=value, catalog=value, page_token=value, top_k=-1)
        filtered = search_pb2.SearchRequest(query="red kettle")
        filtered.filter.equal.field, filtered.filter.equal.value.text = "brand", value
        requests += [
            (search.Search, query),
            (search.Search, wrong),
            (search.Search, search_pb2.SearchRequest(query="kettle", catalog=value)),
            (search.Search, filtered),
            (search.Suggest, search_pb2.SuggestRequest(prefix=value)),
            (catalog.Delete, catalog_pb2.DeleteRequest(catalog=value)),
        ]
    listed = recommend_pb2.RecommendRequest(top_k=3)
    listed.user.user_id = SHOPPER
    requests += [
        (recommend.Recommend, listed),
        (recommend.ForgetUser, recommend_pb2.ForgetUserRequest(user_id=SHOPPER)),
    ]
    return requests


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_nothing_personal_is_written_down(log_format: str, store: ReleaseStore, tmp_path: Path) -> None:
    metrics, codes = free_address(), set()
    with collector() as traces:
        arguments = ("serve", "--releases", store.root, "--address", "127.0.0.1:0", "--config", tmp_path / "serve.toml")
        (tmp_path / "serve.toml").write_text(
            f'metrics_address = "{metrics}"\nlog_format = "{log_format}"\nrequest_log = 1.0\n'
            f'trace_endpoint = "{traces.url}"\nprobe_share = 1.0\n'
        )
        with process(*arguments) as server:
            assert server.stdout is not None and server.stderr is not None
            address = server.stdout.readline().split()[-1]
            with grpc.insecure_channel(address) as channel:
                for number, (method, request) in enumerate(calls_of(channel)):
                    metadata = (
                        ("x-request-id", (EMAIL, CARD, f"r-{number}")[number % 3]),
                        ("traceparent", f"00-{number + 1:032x}-{number + 1:016x}-01"),
                    )
                    call = method.with_call
                    try:
                        call(request, timeout=20, metadata=metadata)
                        codes.add("OK")
                    except grpc.RpcError as error:
                        assert isinstance(error, grpc.Call)
                        codes.add(error.code().name)
            page = scrape_text(metrics)
            deadline = time.monotonic() + 20
            while not traces.spans and time.monotonic() < deadline:
                time.sleep(0.05)
            server.send_signal(signal.SIGTERM)
            output, logged = server.communicate(timeout=60)
        spans = "\n".join(map(str, traces.spans))
    assert {"OK", "INVALID_ARGUMENT", "NOT_FOUND"} <= codes <= {"OK", "INVALID_ARGUMENT", "NOT_FOUND"}
    assert "red kettle [email]" in logged and "tandem_calls_total" in page and "Search" in spans
    for name, text in (("log", logged), ("output", output), ("metrics", page), ("traces", spans)):
        assert [each for each in SEEDED if each in text] == [], name
    assert seeded_files(store.root) == []
