"""Which open streams keep their places, in time that the tests set."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
import pytest
from services import until

from retrieval.server.caller import Caller
from retrieval.server.streams import PATIENCE, OrderedStreams

MOST = 8  # six of one tenant


class Aborted(Exception):
    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code = code


class Context:
    """What streams use of a call."""

    request_id = "r"

    def __init__(self, tenant: str = "") -> None:
        self.caller = Caller(tenant=tenant)
        self.cancelled = False

    async def abort(self, code: grpc.StatusCode, details: str = "", metadata: Any = ()) -> None:
        raise Aborted(code, details)

    def cancel(self) -> None:
        self.cancelled = True


class Harness:
    """A method's streams, and a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.working = asyncio.Event()
        self.streams: OrderedStreams[int] = OrderedStreams(MOST, 2, "full", asyncio.Event(), lambda: self.now)

    def open(self, tenant: str = "", works: bool = False) -> "Stream":
        return Stream(self, tenant, works)

    async def open_many(self, count: int, tenant: str = "", works: bool = False) -> list["Stream"]:
        streams = [self.open(tenant, works) for _ in range(count)]
        for stream in streams:
            await stream.begin()
        return streams


class Stream:
    """One stream, whose answers a task takes."""

    def __init__(self, harness: Harness, tenant: str, works: bool) -> None:
        self.context = Context(tenant)
        self.requests: asyncio.Queue[int | None] = asyncio.Queue()
        self.taken: list[int] = []
        self.read = 0
        self.takes = asyncio.Event()
        self.takes.set()
        self._harness = harness
        self._works = works
        self.task = asyncio.create_task(self._take())

    async def begin(self) -> None:
        """Has it answer one more request, or work on it."""
        before = self._progress()
        self.requests.put_nowait(1)
        await until(lambda: self.task.done() or self._progress() > before)
        for _ in range(3):  # and waits for its caller again
            await asyncio.sleep(0)

    def _progress(self) -> int:
        return self.read if self._works else len(self.taken)

    async def _requests(self) -> AsyncIterator[int]:
        while (request := await self.requests.get()) is not None:
            self.read += 1
            yield request

    async def _work(self, stream: str, request: int, sequence: int) -> int:
        if self._works:
            await self._harness.working.wait()
        return sequence

    async def _take(self) -> None:
        answers = self._harness.streams.answer(self._requests(), self.context, self._work)  # type: ignore[arg-type]
        async with aclosing(answers):
            async for answer in answers:
                self.taken.append(answer)
                await self.takes.wait()

    async def ending(self) -> tuple[str, str]:
        with pytest.raises(Aborted) as error:
            await asyncio.wait_for(self.task, 20)
        return error.value.code.name, str(error.value)

    def close(self) -> None:
        self.requests.put_nowait(None)


async def close(harness: Harness, *streams: Stream) -> None:
    harness.working.set()
    for stream in streams:
        stream.takes.set()
        stream.close()
    await asyncio.gather(*(stream.task for stream in streams))


async def test_the_stream_that_was_idle_longest_gives_way_after_a_minute() -> None:
    harness = Harness()
    first, second, *others = await harness.open_many(MOST)
    harness.now = PATIENCE - 1
    await first.begin()
    harness.now = PATIENCE - 0.1
    assert await harness.open().ending() == ("RESOURCE_EXHAUSTED", "full")
    harness.now = PATIENCE
    late = harness.open()
    await late.begin()
    code, text = await second.ending()
    assert code == "UNAVAILABLE" and text.endswith("open it again and send the requests after sequence 1")
    assert late.taken == [1] and not late.context.cancelled
    await close(harness, first, late, *others)


async def test_a_stream_that_waits_for_the_service_keeps_its_place() -> None:
    harness = Harness()
    streams = await harness.open_many(MOST, works=True)
    harness.now = 100 * PATIENCE
    assert (await harness.open().ending())[0] == "RESOURCE_EXHAUSTED"
    await close(harness, *streams)


async def test_a_stream_whose_answers_are_not_taken_is_cancelled() -> None:
    harness = Harness()
    idle = await harness.open_many(MOST - 1)
    slow = harness.open()
    slow.takes.clear()
    await slow.begin()
    harness.now = PATIENCE - 1
    for stream in idle:
        await stream.begin()
    harness.now = PATIENCE
    late = harness.open()
    await late.begin()
    assert slow.context.cancelled and not any(stream.context.cancelled for stream in (late, *idle))
    slow.task.cancel()
    harness.now = PATIENCE + 1
    assert (await harness.open().ending())[0] == "RESOURCE_EXHAUSTED"  # its place was given away once
    await close(harness, late, *idle)


async def test_a_tenant_leaves_a_quarter_of_the_places_to_others() -> None:
    harness = Harness()
    streams = await harness.open_many(6, "a")
    code, text = await harness.open("a").ending()
    assert code == "RESOURCE_EXHAUSTED" and text.startswith("6 streams of the tenant are open already")
    others = await harness.open_many(2, "b")
    assert await harness.open("b").ending() == ("RESOURCE_EXHAUSTED", "full")
    harness.now = PATIENCE
    for stream in others:
        await stream.begin()
    late = harness.open("a")  # takes the place of one of its own
    await late.begin()
    assert (await streams[0].ending())[0] == "UNAVAILABLE"
    await close(harness, late, *streams[1:], *others)


async def test_places_of_streams_that_ended_are_free() -> None:
    harness = Harness()
    for _ in range(3):
        streams = await harness.open_many(MOST)
        await close(harness, *streams)
        assert [stream.taken for stream in streams] == [[1]] * MOST
