"""What stands beside a service fails in every way: each search is answered, says what it lacks, and is soon whole."""

import asyncio
import os
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct
from meddler import SPOILS, meddler
from proxy import Proxy, proxy
from redis_servers import redis_server
from torture import SCALE, amount

from core.releases import ReleaseStore
from lifecycle.triton_server import triton_server
from retrieval.server.main import run_server
from retrieval.server.settings import ServeSettings
from tandem.client import AsyncSearchClient, ProductUpsert, SearchError, UpsertRequest
from tandem.v1 import catalog_pb2, search_pb2, search_pb2_grpc

PROFILE_FAILED = search_pb2.DEGRADATION_REASON_PROFILE_FAILED
DEADLINE = 1.0
FOUND, RECOVERED = 1.0, 5.0  # seconds, of the long form; machines that run the short one are busy with others
_SLACK = 1 if SCALE else 5
SOON = 30.0
KEY = "a secret of sixteen"


@dataclass(frozen=True)
class Answer:
    """One call of an ordinary shopper: when it was sent, its seconds, its code, and what the answer lacked."""

    sent: float
    seconds: float
    code: str
    degraded: frozenset[int]


class Shoppers:
    """Callers who ask one question after the other, each with a profile of theirs."""

    def __init__(self, address: str, count: int = 4) -> None:
        self.answers: list[Answer] = []
        self._address = address
        self._count = count

    @asynccontextmanager
    async def asking(self) -> AsyncIterator["Shoppers"]:
        tasks = [asyncio.create_task(self._ask(number)) for number in range(self._count)]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task

    async def until(self, condition: Callable[[Answer], bool]) -> float:
        """Waits for two answers a caller, one after the other, sent from now on, of which the condition holds; returns
        after how many seconds the first of these was sent."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.timeout(SOON):
            while True:
                since = [answer for answer in self.answers if answer.sent >= began]
                for start in range(len(since) - 2 * self._count + 1):
                    if all(map(condition, since[start : start + 2 * self._count])):
                        return since[start].sent - began
                await asyncio.sleep(0.01)

    async def _ask(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        async with grpc.aio.insecure_channel(self._address) as channel:
            stub = search_pb2_grpc.SearchServiceStub(channel)
            while True:
                user = search_pb2.UserContext(user_id=f"shopper {number}", remember=True)
                user.products.add(product_id="a-1")
                request = search_pb2.SearchRequest(query="red kettle", user=user)
                sent = loop.time()
                try:
                    answer = await stub.Search(request, timeout=DEADLINE)
                    code, degraded = "OK", frozenset(entry.reason for entry in answer.degraded)
                    assert answer.hits
                except grpc.aio.AioRpcError as error:
                    code, degraded = error.code().name, frozenset()
                self.answers.append(Answer(sent, loop.time() - sent, code, degraded))


@asynccontextmanager
async def serving(store: ReleaseStore, **settings: Any) -> AsyncIterator[str]:
    usual: dict[str, Any] = {"plan": {"personalisation": 0.5}, "grace_seconds": 2}
    chosen = ServeSettings(releases=store.root, address="127.0.0.1:0", **(usual | settings))
    async with run_server(chosen) as server:
        yield server.address


def lacks_profile(answer: Answer) -> bool:
    return PROFILE_FAILED in answer.degraded


def lacks_something(answer: Answer) -> bool:
    return bool(answer.degraded) or answer.code != "OK"  # few may fail: see the codes


def is_whole(answer: Answer) -> bool:
    return not answer.degraded


class Trouble:
    """A Redis behind a proxy, and what can befall it."""

    def __init__(self, server: "subprocess.Popen[bytes]", between: Proxy) -> None:
        self._server = server
        self._between = between

    def begin(self, kind: str) -> None:
        if kind == "stopped":
            os.kill(self._server.pid, signal.SIGSTOP)
        self._between.closed = kind == "gone"
        self._between.silent = kind == "silent"
        self._between.delay = 5.0 if kind == "slow" else 0.0
        self._between.lie = LIES.get(kind, b"")

    def end(self) -> None:
        os.kill(self._server.pid, signal.SIGCONT)
        self.begin("nothing")


@asynccontextmanager
async def troubled_redis(folder: Path) -> AsyncIterator[tuple[str, Trouble]]:
    """The address of a Redis, and what troubles it."""
    with redis_server(folder) as (port, server):
        async with proxy(port) as between:
            trouble = Trouble(server, between)
            try:
                yield f"redis://127.0.0.1:{between.port}/0", trouble
            finally:
                trouble.end()


# Answers of other shapes than were asked for: no protocol, a number, an array of what are no events, an error, nesting.
LIES = {
    "noise": b"\x00\xff\xfe no protocol\r\n",
    "number": b":7\r\n" * 4,
    "entries": b"*2\r\n$8\r\nno event\r\n$3\r\nnan\r\n" * 3,
    "error": b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n" * 3,
    "lengths": b"*99999999\r\n$abc\r\n",
}
KINDS = ("stopped", "gone", "silent", "slow", *LIES) if SCALE else ("stopped", "gone", "slow", "entries", "number")


@pytest.mark.torture
async def test_searches_go_on_whatever_befalls_the_store_of_profiles(indexed: ReleaseStore, tmp_path: Path) -> None:
    async with (
        troubled_redis(tmp_path) as (url, trouble),
        serving(indexed, profiles=url, profile_key=KEY) as address,
        Shoppers(address).asking() as shoppers,
    ):
        await shoppers.until(is_whole)
        for _ in range(amount(1, 5)):
            for kind in KINDS:
                trouble.begin(kind)
                found = await shoppers.until(lacks_profile)
                trouble.end()
                whole = await shoppers.until(is_whole)
                print(f"{kind}: found after {found:.2f} s, whole again after {whole:.2f} s")
                assert found <= FOUND * _SLACK and whole <= RECOVERED * _SLACK, kind
    codes = Counter(answer.code for answer in shoppers.answers)
    assert codes["OK"] >= 0.999 * codes.total(), codes


@pytest.mark.long
@pytest.mark.parametrize("fallback", ["lexical", "embedded"])
async def test_searches_go_on_whatever_befalls_triton(
    indexed: ReleaseStore, triton_folder: Path, tmp_path: Path, fallback: str
) -> None:
    with ExitStack() as running:
        server = running.enter_context(triton_server(triton_folder, tmp_path))
        port = int(server.address.rpartition(":")[2])
        caches = {f"{name}_cache_bytes": 0 for name in ("query", "candidate", "score")}
        async with (
            meddler(server.address) as between,
            serving(
                indexed,
                engine="triton",
                triton_url=f"127.0.0.1:{between.port}",
                triton_repository=tmp_path,
                fallback=fallback,
                plan={},
                **caches,
            ) as address,
            Shoppers(address).asking() as shoppers,
        ):
            await shoppers.until(is_whole)
            for _ in range(amount(1, 5)):
                for kind in ("stopped", "killed", "silent", "slow", "refused", *SPOILS):
                    if kind == "stopped":
                        os.kill(server.process.pid, signal.SIGSTOP)
                    elif kind == "killed":
                        server.process.kill()
                    else:
                        between.kind = kind
                    found = await shoppers.until(lacks_something)
                    between.kind = "nothing"
                    if kind == "stopped":
                        os.kill(server.process.pid, signal.SIGCONT)
                    elif kind == "killed":
                        again = triton_server(triton_folder, tmp_path, port)
                        server = await asyncio.to_thread(running.enter_context, again)
                    whole = await shoppers.until(is_whole)
                    print(f"{kind}: found after {found:.2f} s, whole again after {whole:.2f} s")
    codes = Counter(answer.code for answer in shoppers.answers)
    print(codes)
    assert codes["OK"] >= 0.999 * codes.total(), codes


@pytest.mark.torture
async def test_changes_come_back_whatever_befalls_their_log(store: ReleaseStore, tmp_path: Path) -> None:
    async with (
        troubled_redis(tmp_path) as (url, trouble),
        serving(store, change_log=url) as address,
        AsyncSearchClient(address, 10) as client,
        Shoppers(address).asking() as shoppers,
    ):
        await shoppers.until(is_whole)
        for round_ in range(amount(1, 5)):
            for kind in KINDS if SCALE else ("gone", "number"):
                trouble.begin(kind)
                await shoppers.until(is_whole)
                with pytest.raises(SearchError) as refused:
                    await client.upsert(upserted(f"during {kind} {round_}"), timeout=DEADLINE)
                assert refused.value.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
                trouble.end()
                loop = asyncio.get_running_loop()
                began = loop.time()
                async with asyncio.timeout(SOON):
                    while True:
                        with suppress(SearchError):
                            written = await client.upsert(upserted(f"after {kind} {round_}"), timeout=SOON)
                            break
                print(f"{kind}: changes are searched again after {loop.time() - began:.2f} s")
                assert written.results[0].outcome == catalog_pb2.CHANGE_OUTCOME_APPLIED
                assert loop.time() - began <= RECOVERED * _SLACK
    codes = Counter(answer.code for answer in shoppers.answers)
    assert codes["OK"] >= 0.999 * codes.total(), codes


def upserted(name: str) -> UpsertRequest:
    row = Struct()
    row.update({"id": name, "title": f"lamp {name}"})
    return UpsertRequest(products=[ProductUpsert(row=row)])
