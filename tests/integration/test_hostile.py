"""Requests made to cost much, beside an ordinary caller: none holds the event loop for long, and each is answered."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from core.releases import ReleaseStore
from retrieval.server.main import running
from retrieval.server.settings import ServeSettings
from tandem.v1 import search_pb2

SEARCH = "/tandem.v1.SearchService/Search"
OK, BAD = grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT
# Of a turn of the loop, in processor time: by how much more a hostile request may hold it than ordinary ones do.
_TIMES = 20


def _request(query: str = "lamp", **fields: object) -> bytes:
    return search_pb2.SearchRequest(query=query, **fields).SerializeToString()


def _filled(unit: str, length: int = 512) -> bytes:
    return _request((unit * length)[:length])


HOSTILE = {
    "marks": (_request("a" + "\u0301\u0323" * 255), OK),
    "marks, raw": (_request("a" + "\u0301\u0323" * 1023), OK),
    "marks, far too many": (_request("a" + "\u0301\u0323" * 16_000), BAD),
    "marks that come apart": (_request("a" + "\u0344\u0323" * 255), OK),
    "jamo": (_filled("\u1112\u1161\u11ab"), OK),
    "tibetan": (_filled("\u0f40\u0f71\u0f72\u0f74"), OK),
    "ligatures of 18 letters": (_filled("\ufdfa"), OK),
    "han": (_filled("手機殼藍色"), OK),
    "thai": (_filled("กาแฟ"), OK),
    "one word": (_filled("x"), OK),
    "words without a product": (_filled("qzxv wkjq "), OK),
    "numbers": (_filled("1234567890"), OK),
    "sizes": (_filled("1/2 x 3 "), OK),
    "quotes": (_filled("\"'“\u2019a"), OK),
    "codes": (_filled("a1-b2/"), OK),
    "spaces": (_request(" " * 2047 + "x"), OK),
    "all that there is": (_request(top_k=200, explain=True, product_mask=FieldMask(paths=["*"])), OK),
    "paths": (_request(product_mask=FieldMask(paths=[""] * 30_000)), BAD),
    "a long path": (_request(product_mask=FieldMask(paths=["x" * 60_000])), BAD),
    "wrong paths": (_request(product_mask=FieldMask(paths=["🔥" * 50] * 64), language="🔥" * 5000), BAD),
    "a large message": (b"\x0a\x80\x80\x08" + b"x" * (2 << 16), BAD),
    "no message": (b"\xff" * 60_000, BAD),
}


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
    async with running(settings) as server, grpc.aio.insecure_channel(server.address) as channel:
        call = channel.unary_unary(SEARCH, request_serializer=bytes, response_deserializer=bytes)

        async def ask(data: bytes) -> grpc.StatusCode:
            try:
                await call(data, timeout=30)
            except grpc.aio.AioRpcError as error:
                return error.code()
            return OK

        for i in range(5):
            await ask(_request(f"red lamp {i}"))
        ordinary = [await _longest_turn(lambda i=i: ask(_request(f"green boots {i}"))) for i in range(10)]
        for name, (data, code) in HOSTILE.items():
            codes: list[grpc.StatusCode] = []

            async def both(data: bytes = data, codes: list[grpc.StatusCode] = codes) -> None:
                codes += await asyncio.gather(ask(data), ask(_request("kettle")), ask(data))

            held[name] = await _longest_turn(both)
            assert codes == [code, OK, code], name
    worst = max(held, key=held.__getitem__)
    assert held[worst] < _TIMES * max(ordinary), f"{worst}: {held[worst]:.4f} s beside {max(ordinary):.4f} s"
