"""A service of doubles behind a real gRPC server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from builders import publish
from doubles import make_release, rows_of
from grpc_status import rpc_status

from core.manifest import Manifest
from core.releases import ReleaseStore
from engine.fake import FakeEngine
from retrieval.release.loaded import LoadedRelease
from retrieval.release.manager import ReleaseManager
from retrieval.server.main import RunningServer, run_server
from retrieval.server.settings import ServeSettings


class Service:
    """A store with doubles for models, and a server over it; `engine` is the last release's."""

    def __init__(self, folder: Path, delays: dict[str, float] | None = None, broken: tuple[str, ...] = ()) -> None:
        self._folder = folder
        self.store = ReleaseStore(folder / "releases")
        self.delays = delays or {}
        self.broken = broken
        self._number = 0
        self.publish()

    def publish(self, catalog: str = "shop", language: str = "en") -> str:
        self._number += 1
        contents = {"products.arrow": bytes([self._number])}
        scratch = self._folder / "scratch"
        manifest = publish(
            self.store, scratch, contents, self._number, catalog=catalog, language=language, country="IE"
        )
        return manifest.release_id

    def open(self, path: Path, manifest: Manifest) -> LoadedRelease:
        folder = self._folder / manifest.release_id
        folder.mkdir()
        self.engine = FakeEngine(20)  # warm without delays
        self.release = make_release(folder, rows_of(20), manifest=manifest, engine=self.engine)
        return self.release

    @asynccontextmanager
    async def serve(self, **settings: Any) -> AsyncIterator[tuple[grpc.aio.Channel, RunningServer]]:
        manager = ReleaseManager(self.store, 60, self.open)
        usual = {"address": "127.0.0.1:0", "releases": self.store.root, "grace_seconds": 2}
        chosen = ServeSettings(**(usual | settings))
        async with run_server(chosen, manager) as server:
            self.engine.calls.clear()
            self.engine.delays, self.engine.broken = self.delays, set(self.broken)
            async with grpc.aio.insecure_channel(server.address) as channel:
                yield channel, server


async def failure(call: Any) -> tuple[grpc.aio.AioRpcError, Any]:
    """The error of a call and its google.rpc.Status, if it has one."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value, rpc_status.from_call(error.value)  # type: ignore[arg-type]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.002)
