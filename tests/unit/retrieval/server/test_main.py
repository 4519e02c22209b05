"""The server's end, whatever became of its parts."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from doubles import make_release

from core.memory import freeze_objects
from retrieval.server.main import run_server, serve
from retrieval.server.settings import ServeSettings
from tandem.v1 import search_pb2, search_pb2_grpc


class Broken:
    """A holder of one release whose watch ends by an error."""

    refusals = ()

    def __init__(self, folder: Path) -> None:
        self.release = make_release(folder)
        self.closed = False

    @property
    def loaded(self) -> dict[str, Any]:
        return {"shop": self.release}

    def get(self, catalog: str) -> Any:
        return self.release

    async def refresh(self) -> None:
        pass

    async def watch(self) -> None:
        raise RuntimeError("odd")

    def close(self) -> None:
        self.closed = True


async def test_it_serves_and_drains_though_watching_has_ended(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    manager = Broken(tmp_path)
    settings = ServeSettings(address="127.0.0.1:0", grace_seconds=1)
    async with run_server(settings, manager) as server, grpc.aio.insecure_channel(server.address) as channel:  # type: ignore[arg-type]
        stub = search_pb2_grpc.SearchServiceStub(channel)
        assert (await stub.Search(search_pb2.SearchRequest(query="3 shoes"), timeout=10)).hits
    assert manager.closed
    assert "watching for new releases had ended: RuntimeError('odd')" in caplog.text


async def test_a_service_of_its_own_freezes_what_each_release_brings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full pass of the collector over a loaded release would stop all callers for a quarter of a second."""
    given: dict[str, Any] = {}

    @asynccontextmanager
    async def started(settings: ServeSettings, **options: Any) -> AsyncIterator[None]:
        given.update(options)
        yield

    monkeypatch.setattr("retrieval.server.main.run_server", started)
    await serve(ServeSettings(), lambda _: os.kill(os.getpid(), signal.SIGTERM))
    assert given["after_swap"] is freeze_objects
