"""The port of probes: health and nothing else, until the last call has ended."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pydantic import ValidationError
from services import Service, failure, until

from core.errors import TandemError
from retrieval.release.manager import ReleaseManager
from retrieval.server.main import run_server
from retrieval.server.probes import probe_port
from retrieval.server.settings import ServeSettings
from tandem.v1 import search_pb2, search_pb2_grpc

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


async def test_probes_are_answered_until_the_last_call_has_ended(tmp_path: Path) -> None:
    service = Service(tmp_path)
    releases, none = service.store.root, "127.0.0.1:0"
    settings = ServeSettings(address=none, health_address=none, releases=releases, grace_seconds=5)
    serving = run_server(settings, ReleaseManager(service.store, 60, service.open))
    server = await serving.__aenter__()
    assert server.health_address and server.health_address != server.address
    channel, probing = (grpc.aio.insecure_channel(each) for each in (server.address, server.health_address))
    async with channel, probing:
        check = health_pb2_grpc.HealthStub(probing).Check
        for name in ("", "tandem.v1.SearchService", "tandem.v1.CatalogService"):
            assert (await check(health_pb2.HealthCheckRequest(service=name), timeout=5)).status == SERVING
        service.engine.calls.clear()
        service.engine.delays = {"encode": 1}
        slow = asyncio.ensure_future(search_pb2_grpc.SearchServiceStub(channel).Search(_request(), timeout=10))
        await until(lambda: ("encode", 1) in service.engine.calls)
        stopping = asyncio.create_task(serving.__aexit__(None, None, None))
        async with asyncio.timeout(5):
            while (await check(health_pb2.HealthCheckRequest(), timeout=5)).status != NOT_SERVING:
                pass
        assert not slow.done()
        assert (await slow).hits
        await stopping


async def test_nothing_but_health_is_there(tmp_path: Path) -> None:
    async with Service(tmp_path).serve(health_address="127.0.0.1:0") as (_, server):
        assert server.health_address is not None
        async with grpc.aio.insecure_channel(server.health_address) as channel:
            error, _ = await failure(search_pb2_grpc.SearchServiceStub(channel).Search(_request(), timeout=5))
            assert error.code() is grpc.StatusCode.UNIMPLEMENTED
            large = health_pb2.HealthCheckRequest(service="x" * 5000)
            error, _ = await failure(health_pb2_grpc.HealthStub(channel).Check(large, timeout=5))
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_without_an_address_there_is_no_such_port(tmp_path: Path) -> None:
    async with Service(tmp_path).serve() as (_, server):
        assert server.health_address is None


async def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(TandemError, match=f"cannot listen on {address}"):
            async with probe_port(address, (), asyncio.Event(), shared=False):
                raise AssertionError


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(ValidationError, match="is no address"):
        ServeSettings(health_address="nowhere")


def _request() -> search_pb2.SearchRequest:
    return search_pb2.SearchRequest(query="3 shoes")


async def test_probes_are_answered_whatever_others_hold_open() -> None:
    """As many watches, and calls whose requests never come, as were once all that there could be."""

    async def nothing() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    async with (
        probe_port("127.0.0.1:0", (), asyncio.Event(), shared=False) as address,
        grpc.aio.insecure_channel(str(address)) as others,
        grpc.aio.insecure_channel(str(address), options=[("grpc.use_local_subchannel_pool", 1)]) as more,
        grpc.aio.insecure_channel(str(address), options=[("grpc.use_local_subchannel_pool", 1)]) as probing,
    ):
        check = health_pb2_grpc.HealthStub(probing).Check
        watches: list[Any] = []
        async with asyncio.timeout(20):
            for _ in range(4):  # no more at once than may wait for their requests
                some = [health_pb2_grpc.HealthStub(others).Watch(health_pb2.HealthCheckRequest()) for _ in range(16)]
                assert {(await watch.read()).status for watch in some} == {SERVING}
                watches += some
        assert (await check(health_pb2.HealthCheckRequest(), timeout=10)).status == SERVING
        silent = [more.stream_unary("/grpc.health.v1.Health/Check")(nothing()) for _ in range(64)]
        async with asyncio.timeout(20):  # all came: of those that do not send, some have given way to others
            await until(lambda: any(call.done() for call in silent))
        assert (await check(health_pb2.HealthCheckRequest(), timeout=10)).status == SERVING
        for call in (*watches, *silent):
            call.cancel()
