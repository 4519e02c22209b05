"""A serving process is killed while products change and its segments are merged: nothing acknowledged is lost."""

import asyncio
import contextlib
import random
import signal
import subprocess

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct
from shops import command, environment
from torture import SEED, amount

from core.releases import ReleaseStore
from tandem.client import (
    AsyncSearchClient,
    DeleteRequest,
    ProductDelete,
    ProductUpsert,
    SearchError,
    SearchRequest,
    UpsertRequest,
)
from tandem.v1 import search_pb2

KILLS = amount(2, 60)
IDS = [f"n-{number}" for number in range(40)]


class Shop:
    """What was acknowledged, and what was sent without an answer: either state is right for such a product."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.acknowledged: dict[str, str | None] = {}
        self.open: dict[str, set[str | None]] = {}
        self.number = 0

    async def change(self, client: AsyncSearchClient) -> None:
        """Changes one product at a time."""
        self.number += 1
        name = self.draw.choice(IDS)
        title = None if self.draw.random() < 0.2 else f"thing number {self.number}"
        self.open.setdefault(name, set()).add(title)
        if title is None:
            await client.delete(DeleteRequest(products=[ProductDelete(product_id=name)]))
        else:
            row = Struct()
            row.update({"id": name, "title": title})
            await client.upsert(UpsertRequest(products=[ProductUpsert(row=row)]))
        self.acknowledged[name] = title
        del self.open[name]

    async def compare(self, client: AsyncSearchClient) -> None:
        """Each product is there once, as it was acknowledged, or as a request without an answer wanted it."""
        answer = await client.search(
            SearchRequest(query="thing", top_k=200, match=search_pb2.MATCH_MODE_ALL, total=search_pb2.TOTAL_MODE_EXACT)
        )
        shown = [(hit.product_id, hit.product.title) for hit in answer.hits if hit.product_id.startswith("n-")]
        assert len({name for name, _ in shown}) == len(shown), "a product is there twice"
        titles: dict[str, str | None] = dict(shown)
        assert len(answer.hits) == answer.total.value == 30 + len(shown)
        for name in IDS:
            allowed = {self.acknowledged.get(name)} | self.open.get(name, set())
            assert titles.get(name) in allowed, f"{name}: {titles.get(name)} is not of {allowed}"
        self.acknowledged |= {name: titles.get(name) for name in self.open}
        self.open.clear()


@pytest.mark.torture
async def test_a_killed_service_has_all_that_it_acknowledged(store: ReleaseStore, unused_tcp_port: int) -> None:
    print(f"seed {SEED}")
    draw = random.Random(SEED)
    shop = Shop(draw)
    address = f"127.0.0.1:{unused_tcp_port}"
    for _ in range(KILLS):
        process = start(store, address)
        try:
            async with AsyncSearchClient(address, 20, options=[("grpc.enable_retries", 0)]) as client:
                await ready(client)
                await shop.compare(client)
                killing = asyncio.get_running_loop().call_later(draw.uniform(0.05, 1.5), process.kill)
                with contextlib.suppress(SearchError):
                    while True:
                        await shop.change(client)
                killing.cancel()
        finally:
            process.kill()
            process.wait()
    process = start(store, address)
    try:
        async with AsyncSearchClient(address, 20) as client:
            await ready(client)
            await shop.compare(client)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
    assert shop.number > KILLS


def start(store: ReleaseStore, address: str) -> "subprocess.Popen[bytes]":
    arguments = command("serve", "--releases", store.root, "--address", address)
    return subprocess.Popen(arguments, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


async def ready(client: AsyncSearchClient) -> None:
    """Waits until the service accepts calls."""
    async with asyncio.timeout(60):
        await client._channel.channel_ready()
    assert client._channel.get_state() is not grpc.ChannelConnectivity.SHUTDOWN
