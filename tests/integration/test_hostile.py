"""Requests made to cost much, beside an ordinary caller: none holds the event loop for long, and each is answered."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable

import grpc

from benchmarks.hostile import HOSTILE, METHOD, request
from core.releases import ReleaseStore
from retrieval.server.main import run_server
from retrieval.server.settings import ServeSettings

# Of a turn of the loop, in processor time: by how much more a hostile request may hold it than ordinary ones do.
_TIMES = 20


async def _longest_turn(work: Callable[[], Awaitable[object]]) -> float:
    """Seconds of processor time of the longest turn of the loop while the work went on."""
    longest = 0.0

    async def look() -> None:
        nonlocal longest
        last = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            longest, last = max(longest, now - last), now

    looking = asyncio.create_task(look())
    await work()
    looking.cancel()
    return longest


async def test_no_hostile_request_holds_the_event_loop(indexed: ReleaseStore) -> None:
    settings = ServeSettings(releases=indexed.root, address="127.0.0.1:0", default_deadline=30)
    held: dict[str, float] = {}
    async with run_server(settings) as server, grpc.aio.insecure_channel(server.address) as channel:
        call = channel.unary_unary(METHOD, request_serializer=bytes, response_deserializer=bytes)

        async def ask(data: bytes) -> grpc.StatusCode:
            try:
                await call(data, timeout=30)
            except grpc.aio.AioRpcError as error:
                return error.code()
            return grpc.StatusCode.OK

        for i in range(5):
            await ask(request(f"red lamp {i}"))
        # What earlier tests left in this process is not walked through in a turn of the loop.
        gc.collect()
        gc.freeze()
        ordinary = [await _longest_turn(lambda i=i: ask(request(f"green boots {i}"))) for i in range(10)]
        for name, (data, code) in HOSTILE.items():
            codes: list[grpc.StatusCode] = []

            async def both(data: bytes = data, codes: list[grpc.StatusCode] = codes) -> None:
                codes += await asyncio.gather(ask(data), ask(request("kettle")), ask(data))

            held[name] = await _longest_turn(both)
            assert codes == [code, grpc.StatusCode.OK, code], name
    gc.unfreeze()
    worst = max(held, key=held.__getitem__)
    assert held[worst] < _TIMES * max(ordinary), f"{worst}: {held[worst]:.4f} s beside {max(ordinary):.4f} s"
