"""Whatever bytes come as messages, of every method that is served, the call ends as it should and holds nobody up."""

import asyncio
import math
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from hostile_messages import HostileMessages, broken_bytes
from torture import SCALE, SEED, amount

from core.releases import ReleaseStore
from retrieval.server.main import run_server
from retrieval.server.settings import ServeSettings
from tandem.v1 import search_pb2

# What a caller's own fault, or a full service, ends a call with. UNAVAILABLE: a revision that is not there yet.
ALLOWED = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED", "UNAVAILABLE"}
SECONDS = 30.0
# Seconds by which no request may hold another up, by the long form; what runs the short one is busy with others.
HELD_UP = 0.05 if SCALE else 0.25
_TICK = 0.002
_IN_A_STREAM = 8


@dataclass
class Method:
    """A method as its descriptor has it."""

    path: str
    request: type
    response: type
    streams_requests: bool
    streams_responses: bool


def served_methods(channel: grpc.Channel) -> list[Method]:
    """Every method of every service that the server lists."""
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    [answer] = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="*")]))
    names = [service.name for service in answer.list_services_response.service]
    assert {"tandem.v1.SearchService", "tandem.v1.CatalogService", "tandem.v1.RecommendService"} < set(names)
    pool = descriptor_pool.Default()
    known = [name for name in names if name != "grpc.reflection.v1.ServerReflection"]  # the same under another name
    methods = [method for name in known for method in pool.FindServiceByName(name).methods]
    return [
        Method(
            f"/{method.containing_service.full_name}/{method.name}",
            GetMessageClass(method.input_type),
            GetMessageClass(method.output_type),
            method.client_streaming,
            method.server_streaming,
        )
        for method in methods
    ]


class Caller:
    """Sends bytes as the requests of a method, and counts the codes that they end with."""

    def __init__(self, channel: grpc.Channel, method: Method) -> None:
        """The channel is one of threads: of a stream that its server ends early, grpc.aio's reports an error of its
        own."""
        self.method = method
        self.codes: Counter[str] = Counter()
        kind = f"{'stream' if method.streams_requests else 'unary'}_{'stream' if method.streams_responses else 'unary'}"
        self._call = getattr(channel, kind)(method.path, request_serializer=bytes, response_deserializer=bytes)

    def send(self, data: bytes) -> set[str]:
        """The codes that a request of these bytes ends with; of a stream, those of its answers among them."""
        try:
            codes = set(self._stream(data) if self.method.streams_responses else self._unary(data))
        except grpc.RpcError as error:
            codes = {error.code().name}
        self.codes.update(codes)
        return codes

    def _unary(self, data: bytes) -> Iterator[str]:
        answer: Any = self.method.response.FromString(self._call(data, timeout=SECONDS))
        for hit in getattr(answer, "hits", ()):
            scores = [hit.score, *(stage.score for stage in hit.stage_scores)]
            assert all(map(math.isfinite, scores)), f"served {scores} for {data.hex()}"
        yield "OK"

    def _stream(self, data: bytes) -> Iterator[str]:
        if not self.method.streams_requests:  # a watch, which stays open
            call = self._call(data, timeout=SECONDS)
            next(call)
            call.cancel()
            yield "OK"
            return
        for answer in self._call(iter([data] * _IN_A_STREAM), timeout=SECONDS):
            message: Any = self.method.response.FromString(answer)
            failed = "error" in message.DESCRIPTOR.fields_by_name and message.HasField("error")
            yield _NAMES[message.error.code] if failed else "OK"


_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}


@dataclass
class Lag:
    """How late the event loop comes to what is due."""

    longest: float = 0.0

    async def watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _TICK
            await asyncio.sleep(_TICK)
            self.longest = max(self.longest, loop.time() - due)

    async def of(self, work: Callable[[], Awaitable[Any]]) -> float:
        """Seconds by which the loop was late at worst while the work went on. What is late once but not when it is done
        again was held up by something else."""
        least = float("inf")
        for _ in range(3):
            self.longest = 0.0
            await work()
            least = min(least, self.longest)
            if least < HELD_UP:
                break
        return least


@asynccontextmanager
async def lag() -> AsyncIterator[Lag]:
    result = Lag()
    task = asyncio.create_task(result.watch())
    try:
        yield result
    finally:
        task.cancel()


@asynccontextmanager
async def serving(store: ReleaseStore) -> AsyncIterator[grpc.Channel]:
    settings = ServeSettings(releases=store.root, address="127.0.0.1:0", default_deadline=SECONDS, grace_seconds=1)
    async with run_server(settings) as server:
        with grpc.insecure_channel(server.address) as channel:
            yield channel


def structured(method: Method, chance: random.Random) -> Iterator[bytes]:
    messages = HostileMessages(chance)
    while True:
        yield messages.serialized(method.request)


def broken(method: Method, chance: random.Random) -> Iterator[bytes]:
    whole, other = structured(method, chance), structured(method, chance)
    while True:
        yield broken_bytes(chance, next(whole), next(other))


async def bombard(store: ReleaseStore, made: Callable[[Method, random.Random], Iterator[bytes]], count: int) -> None:
    """Sends so many requests to every method, one after the other, and asks an ordinary question now and then."""
    async with serving(store) as channel, lag() as watched:
        search = channel.unary_unary("/tandem.v1.SearchService/Search")
        question = search_pb2.SearchRequest(query="red kettle").SerializeToString()
        for method in await asyncio.to_thread(served_methods, channel):
            caller = Caller(channel, method)
            requests = made(method, random.Random(f"{SEED} {method.path}"))
            for number in range(count):
                data = next(requests)
                late = await watched.of(lambda caller=caller, data=data: _checked(caller, data))
                assert late < HELD_UP, f"{method.path} held others up by {late:.3f} s: {data[:2000].hex()}"
                if number % 50 == 0:
                    answer = await asyncio.to_thread(search, question, timeout=SECONDS)
                    assert search_pb2.SearchResponse.FromString(answer).hits
            assert caller.codes.total() >= count
            print(method.path, dict(caller.codes))


async def _checked(caller: Caller, data: bytes) -> None:
    wrong = await asyncio.to_thread(caller.send, data) - ALLOWED
    assert not wrong, f"seed {SEED}: {caller.method.path} ended {wrong} for {data[:2000].hex()}"


@pytest.mark.torture
async def test_hostile_messages_of_every_method_end_as_they_should(store: ReleaseStore) -> None:
    await bombard(store, structured, amount(25, 10_000))


@pytest.mark.torture
async def test_bytes_that_are_no_message_are_refused_by_every_method(store: ReleaseStore) -> None:
    await bombard(store, broken, amount(25, 10_000))
