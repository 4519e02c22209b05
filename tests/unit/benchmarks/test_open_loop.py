"""The open-loop generator and the search against a small gRPC server in this process."""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc
import numpy as np
import pytest
from logs import LOG, answer
from rich.console import Console

from benchmarks.load.highest import Outcome
from benchmarks.load.measured import LATE, OK, REFUSED
from benchmarks.load.open_command import Search, Target, offer_rates, summary
from benchmarks.load.open_loop import OpenLoop
from benchmarks.load.queries import QueryLog
from benchmarks.load.rates import Offer, Offers
from benchmarks.load.schedule import Arrivals
from benchmarks.load.slo import Overload, Slo
from core.errors import TandemError
from retrieval.wire.status import retry_info, status_metadata

_FULL = grpc.StatusCode.RESOURCE_EXHAUSTED
RETRY = status_metadata(_FULL, "full", [retry_info(0.05)])
NO_RETRY = status_metadata(_FULL, "full", [])
Answer = Callable[[bytes, grpc.aio.ServicerContext], Awaitable[bytes]]


@asynccontextmanager
async def served(respond: Answer) -> AsyncIterator[str]:
    server = grpc.aio.server()
    methods = {"Search": grpc.unary_unary_rpc_method_handler(respond)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("tandem.v1.SearchService", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def run(address: str, due: list[float], deadline: float = 30.0) -> list:
    async with OpenLoop(address, 2, deadline) as loop:
        return await loop.run(np.array(due), np.zeros(len(due), int), [b"red"])


async def test_calls_are_sent_when_due_though_none_was_answered() -> None:
    everyone_asked, asked = asyncio.Event(), 0

    async def respond(request: bytes, _: grpc.aio.ServicerContext) -> bytes:
        nonlocal asked
        asked += 1
        if asked == 10:
            everyone_asked.set()
        await everyone_asked.wait()  # a client that waits for an answer would wait for ever
        return answer("a")

    async with served(respond) as address:
        calls = await run(address, [i / 100 for i in range(10)])
    assert [call.status for call in calls] == [OK] * 10 and calls[0].answer == answer("a")
    assert all(call.sent >= call.due for call in calls)
    assert calls[0].latency >= 0.09  # it waited for the last to be due


async def test_waiting_behind_others_counts_from_when_a_call_was_due() -> None:
    one_at_a_time = asyncio.Lock()

    async def respond(request: bytes, _: grpc.aio.ServicerContext) -> bytes:
        async with one_at_a_time:
            await asyncio.sleep(0.02)
        return answer("a")

    async with served(respond) as address:
        calls = await run(address, [i / 1000 for i in range(20)])
    # The k-th answered has waited for k calls of 20 ms each, and was due at most 19 ms after the first.
    times = sorted(call.latency for call in calls)
    assert all(seconds >= 0.02 * k - 0.019 for k, seconds in enumerate(times, 1))


async def test_refusals_and_late_calls_are_told_apart() -> None:
    asked = 0

    async def respond(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        nonlocal asked
        asked += 1
        if asked == 1:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", RETRY)
        if asked == 2:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", NO_RETRY)
        await asyncio.sleep(60)
        return b""

    async with served(respond) as address:
        calls = await run(address, [0.0, 0.3, 0.6], deadline=0.2)
    assert [(call.status, call.retry) for call in calls] == [(REFUSED, True), (REFUSED, False), (LATE, False)]


async def test_a_client_that_sends_too_late_says_so_and_the_trial_is_no_result() -> None:
    async def respond(request: bytes, _: grpc.aio.ServicerContext) -> bytes:
        return answer("a")

    async with served(respond) as address, OpenLoop(address, 1, 5.0) as loop:
        offer = Offer(arrivals=Arrivals.CONSTANT, least_seconds=0.2, least_calls=1, warm_seconds=0, most_lag_ms=0.0)
        trial = await Offers(loop, LOG, Slo(p99_ms=60_000.0), offer).at(50)
    assert trial.verdict.holds and not trial.valid and trial.outcome is Outcome.CLIENT_TOO_SLOW
    assert trial.measured.lag_p99_ms > 0 and trial.client_cores > 0


async def limited(places: int, seconds: float) -> Answer:
    """A service with so many places, each call taking so long; the rest is refused at once."""
    inside = 0

    async def respond(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        nonlocal inside
        if inside >= places:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", RETRY)
        inside += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            inside -= 1
        return answer("a", "b")

    return respond


async def test_the_highest_rate_is_found_and_what_lies_beyond_is_refused() -> None:
    slo = Slo(p99_ms=60_000.0, error_share=0.05, overload=Overload(factor=6, p99_ms=60_000, answered_share=0))
    offer = Offer(arrivals=Arrivals.CONSTANT, least_seconds=0.4, least_calls=1, warm_seconds=0.1, most_lag_ms=60_000)
    async with served(await limited(1, 0.05)) as address:  # 20 calls a second at the very most
        result = await offer_rates(Target(address), LOG, slo, offer, Search(5.0, 0.3), Console(file=io.StringIO()))
    assert result.highest <= 20 and result.bounded
    assert result.beyond is not None and result.beyond.measured.refused_share > 0
    assert result.beyond.measured.retry_share == 1 and result.valid
    assert any(not trial.verdict.holds for trial in result.trials)
    assert result.as_json()["trials"][0]["rate"] == 5.0


async def test_one_rate_alone_is_judged() -> None:
    offer = Offer(least_seconds=0.3, least_calls=1, warm_seconds=0, most_lag_ms=60_000)
    async with served(await limited(100, 0.0)) as address:
        good, bad = [
            await offer_rates(Target(address), LOG, slo, offer, 40.0, Console(file=io.StringIO()))
            for slo in (Slo(p99_ms=60_000.0, ndcg=1.0), Slo(p99_ms=0.001))
        ]
    assert good.valid and good.holds and "hold at 40.0 calls a second" in summary(good)
    assert bad.valid and not bad.holds and "at no rate" in summary(bad)


async def test_where_nothing_answers_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.load.open_command._CONNECT_SECONDS", 0.2)
    with pytest.raises(TandemError, match="start it with `tandem serve`"):
        await offer_rates(Target("127.0.0.1:1"), LOG, Slo(p99_ms=1.0), Offer(), 1.0, Console(file=io.StringIO()))


async def test_every_run_asks_other_queries_after_those_that_fill_the_caches() -> None:
    asked: list[bytes] = []

    async def respond(request: bytes, _: grpc.aio.ServicerContext) -> bytes:
        asked.append(request)
        return answer("a")

    log = QueryLog([str(i) for i in range(1000)], np.full(1000, 0.001))
    offer = Offer(arrivals=Arrivals.CONSTANT, least_seconds=0.4, least_calls=1, warm_seconds=0, most_lag_ms=60_000)
    async with served(respond) as address, OpenLoop(address, 2, 5.0) as loop:
        offers = Offers(loop, log, Slo(p99_ms=60_000.0), offer)
        await offers.fill(30)
        assert len(asked) == 30
        for _ in range(2):
            await offers.at(50)
    filled, first, second = asked[:30], asked[30:50], asked[50:]
    assert len(second) == 20
    assert len({*filled, *first, *second}) > 60  # of 70, where the same again would make 30
