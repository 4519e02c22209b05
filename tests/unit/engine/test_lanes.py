import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.lanes import Lanes, WorkQueue
from engine.protocol import DeadlineExceeded, EngineError

_PATIENCE = 5.0


class Work:
    """A run function that records its batches and, while shut, holds the threads that run it."""

    def __init__(self, run: Callable[[list[Any]], Any] = lambda payloads: [p * 10 for p in payloads]) -> None:
        self.batches: list[list[Any]] = []
        self.gate = threading.Event()
        self.gate.set()
        self._run = run

    def __call__(self, payloads: list[Any]) -> Any:
        self.batches.append(payloads)
        assert self.gate.wait(_PATIENCE), "the test never opened the gate"
        return self._run(payloads)

    async def started(self, batches: int) -> None:
        """Waits until so many batches have started."""
        async with asyncio.timeout(_PATIENCE):
            while len(self.batches) < batches:
                await asyncio.sleep(0.001)


@asynccontextmanager
async def lanes_of(*kinds: WorkQueue, lanes: int = 1) -> AsyncIterator[Lanes]:
    result = Lanes(kinds, lanes)
    try:
        yield result
    finally:
        for kind in kinds:
            if isinstance(kind.run, Work):
                kind.run.gate.set()
        result.close()


def submit(
    lanes: Lanes, kind: str, *payloads: Any, deadline: float | None = None, costs: list[int] | None = None
) -> Any:
    return asyncio.create_task(lanes.submit(kind, payloads, costs or [1] * len(payloads), deadline))


async def settle() -> None:
    """Lets every task that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_an_idle_lane_works_at_once_and_results_keep_their_order() -> None:
    work = Work()
    async with lanes_of(WorkQueue("k", work, 100)) as lanes:
        assert await lanes.submit("k", [3, 1, 2], [1, 1, 1], None) == [30, 10, 20]
        assert await lanes.submit("k", [4], [1], None) == [40]
    assert work.batches == [[3, 1, 2], [4]]


async def test_no_payloads_need_no_lane() -> None:
    work = Work()
    async with lanes_of(WorkQueue("k", work, 10)) as lanes:
        assert await lanes.submit("k", [], [], None) == []
    assert work.batches == []


async def test_calls_that_wait_share_the_next_batch() -> None:
    work = Work()
    async with lanes_of(WorkQueue("k", work, 100)) as lanes:
        work.gate.clear()
        first = submit(lanes, "k", 1)
        await work.started(1)
        rest = [submit(lanes, "k", n) for n in (2, 3, 4)]
        await settle()
        assert work.batches == [[1]]
        work.gate.set()
        assert await asyncio.gather(first, *rest) == [[10], [20], [30], [40]]
    assert work.batches == [[1], [2, 3, 4]]


async def test_a_lane_that_is_done_takes_more_while_the_event_loop_is_busy() -> None:
    work = Work()
    async with lanes_of(WorkQueue("k", work, 1)) as lanes:
        calls = [submit(lanes, "k", n) for n in (1, 2, 3)]
        await settle()
        until = time.monotonic() + _PATIENCE
        while len(work.batches) < 3 and time.monotonic() < until:
            time.sleep(0.001)  # the loop is not let go of
        assert work.batches == [[1], [2], [3]]
        assert await asyncio.gather(*calls) == [[10], [20], [30]]


async def test_a_batch_keeps_to_its_budget() -> None:
    work = Work()
    async with lanes_of(WorkQueue("k", work, 10, padding=100)) as lanes:
        work.gate.clear()
        first = submit(lanes, "k", 0)
        await work.started(1)
        rest = submit(lanes, "k", 1, 2, 3, 4, 5, 6, costs=[4, 4, 4, 25, 5, 5])
        await settle()
        work.gate.set()
        await asyncio.gather(first, rest)
    # 4 + 4 fit, a third would not; nor does 5 beside 4, with room for one more token, or anything beside 25.
    assert work.batches == [[0], [1, 2], [3, 5], [4], [6]]


async def test_padding_counts_against_the_budget() -> None:
    work = Work()
    async with lanes_of(WorkQueue("k", work, 12, padding=100)) as lanes:
        work.gate.clear()
        first = submit(lanes, "k", 0)
        await work.started(1)
        rest = submit(lanes, "k", 1, 2, 3, costs=[2, 5, 3])
        await settle()
        work.gate.set()
        await asyncio.gather(first, rest)
    # 2 + 5 + 3 are 10, but three of 5 are 15.
    assert work.batches == [[0], [1, 3], [2]]


async def test_what_shares_a_batch_is_of_like_length_whoever_asked() -> None:
    work = Work()
    async with lanes_of(WorkQueue("k", work, 100, padding=3)) as lanes:
        work.gate.clear()
        first = submit(lanes, "k", 0)
        await work.started(1)
        calls = [
            submit(lanes, "k", 1, 2, 3, costs=[10, 20, 11]),
            submit(lanes, "k", 4, 5, 6, costs=[19, 8, 21]),
        ]
        await settle()
        work.gate.set()
        assert await asyncio.gather(first, *calls) == [[0], [10, 20, 30], [40, 50, 60]]
    # Beside 10, 11 wastes one and 8 would waste three more. Beside 20, 19 and 21 waste three.
    assert work.batches == [[0], [1, 3], [2, 4, 6], [5]]


async def test_what_waits_longest_is_in_the_next_batch_whatever_its_length() -> None:
    work = Work()
    async with lanes_of(WorkQueue("k", work, 100)) as lanes:
        work.gate.clear()
        first = submit(lanes, "k", 0)
        await work.started(1)
        calls = [submit(lanes, "k", 1, costs=[7]), *(submit(lanes, "k", n, costs=[5]) for n in (2, 3, 4))]
        await settle()
        work.gate.set()
        await asyncio.gather(first, *calls)
    assert work.batches == [[0], [1], [2, 3, 4]]


async def test_bulk_work_of_any_kind_waits_while_interactive_work_does() -> None:
    order: list[Any] = []

    def noting(payloads: list[Any]) -> list[Any]:
        order.append(payloads)
        return payloads

    early, late = Work(noting), Work(noting)
    async with lanes_of(WorkQueue("early", early, 10), WorkQueue("late", late, 10)) as lanes:
        late.gate.clear()
        first = submit(lanes, "late", 0)
        await late.started(1)
        soon = asyncio.get_running_loop().time() + 60
        calls = [
            submit(lanes, "early", 1),
            submit(lanes, "late", 2),
            submit(lanes, "late", 3, deadline=soon),
            submit(lanes, "early", 4, deadline=soon),
        ]
        await settle()
        late.gate.set()
        await asyncio.gather(first, *calls)
    # Not even a batch with room to spare takes bulk work along.
    assert order == [[0], [4], [3], [1], [2]]


async def test_a_kind_named_earlier_goes_first() -> None:
    order: list[str] = []

    def noting(name: str) -> Work:
        return Work(lambda payloads: [order.append(name) or p for p in payloads])

    early, late = noting("early"), noting("late")
    async with lanes_of(WorkQueue("early", early, 10), WorkQueue("late", late, 10)) as lanes:
        late.gate.clear()
        first = submit(lanes, "late", 1)
        await late.started(1)
        calls = [submit(lanes, "late", 2), submit(lanes, "early", 3)]
        await settle()
        late.gate.set()
        await asyncio.gather(first, *calls)
    assert order == ["late", "early", "late"]


async def test_one_call_is_divided_among_free_lanes() -> None:
    work = Work()
    async with lanes_of(WorkQueue("k", work, 100), lanes=2) as lanes:
        work.gate.clear()
        call = submit(lanes, "k", 1, 2, 3, 4, 5, 6)
        await work.started(2)
        assert sorted(work.batches) == [[1, 2, 3], [4, 5, 6]]
        work.gate.set()
        assert await call == [10, 20, 30, 40, 50, 60]


async def test_too_little_work_is_not_divided() -> None:
    work = Work()
    async with lanes_of(WorkQueue("k", work, 100, least=6), lanes=2) as lanes:
        assert await lanes.submit("k", [1, 2, 3, 4, 5, 6], [1] * 6, None) == [10, 20, 30, 40, 50, 60]
    assert work.batches == [[1, 2, 3, 4, 5, 6]]


async def test_no_more_batches_run_at_once_than_there_are_lanes() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def run(payloads: list[int]) -> list[int]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.002)
        with lock:
            running -= 1
        return payloads

    async with lanes_of(WorkQueue("k", run, 1), lanes=3) as lanes:
        await asyncio.gather(*(lanes.submit("k", [n], [1], None) for n in range(30)))
    assert most == 3


@pytest.mark.parametrize(("near", "beside"), [(1e12, True), (0.0, False)])
async def test_urgent_work_with_a_near_deadline_does_not_wait_for_a_running_batch(
    monkeypatch: pytest.MonkeyPatch, near: float, beside: bool
) -> None:
    monkeypatch.setattr("engine.lanes._NEAR", near)
    rescore, encode = Work(), Work()
    kinds = (WorkQueue("encode", encode, 10), WorkQueue("rescore", rescore, 10))
    lanes = Lanes(kinds, 1, urgent=("encode",))
    deadline = asyncio.get_running_loop().time() + 60
    try:
        await lanes.submit("rescore", [1], [1], deadline)  # how long batches take is known then
        rescore.gate.clear()
        running = submit(lanes, "rescore", 2, deadline=deadline)
        await rescore.started(2)
        calls = [submit(lanes, "encode", 3, deadline=deadline), submit(lanes, "encode", 4)]
        if beside:
            assert await calls[0] == [30]
        await settle()
        assert encode.batches == ([[3]] if beside else [])  # bulk work waits in any case
        more = submit(lanes, "rescore", 5, deadline=deadline)
        await settle()
        assert len(rescore.batches) == 2
        rescore.gate.set()
        assert [await running, await more, await calls[0], await calls[1]] == [[20], [50], [30], [40]]
    finally:
        rescore.gate.set()
        lanes.close()


async def test_cancelled_work_never_runs() -> None:
    work = Work()
    async with lanes_of(WorkQueue("k", work, 100)) as lanes:
        work.gate.clear()
        first = submit(lanes, "k", 1)
        await work.started(1)
        dropped, kept = submit(lanes, "k", 2, 3), submit(lanes, "k", 4)
        await settle()
        dropped.cancel()
        await settle()
        work.gate.set()
        assert await asyncio.gather(first, kept) == [[10], [40]]
        with pytest.raises(asyncio.CancelledError):
            await dropped
    assert work.batches == [[1], [4]]


async def test_cancelling_a_call_half_done_drops_the_rest_alone() -> None:
    work = Work()
    async with lanes_of(WorkQueue("k", work, 1)) as lanes:
        work.gate.clear()
        call = submit(lanes, "k", 1, 2, 3)
        await work.started(1)
        other = submit(lanes, "k", 4)
        await settle()
        call.cancel()
        await settle()
        work.gate.set()
        assert await other == [40]
    assert work.batches == [[1], [4]]


async def test_expired_work_never_runs_and_is_told() -> None:
    work = Work()
    async with lanes_of(WorkQueue("k", work, 100)) as lanes:
        work.gate.clear()
        first = submit(lanes, "k", 1)
        await work.started(1)
        now = asyncio.get_running_loop().time()
        late, in_time = submit(lanes, "k", 2, deadline=now + 0.01), submit(lanes, "k", 3, deadline=now + 60)
        await asyncio.sleep(0.02)
        work.gate.set()
        with pytest.raises(DeadlineExceeded):
            await late
        assert await asyncio.gather(first, in_time) == [[10], [30]]
        with pytest.raises(DeadlineExceeded):
            await lanes.submit("k", [5], [1], now)
    assert work.batches == [[1], [3]]


async def test_an_error_reaches_exactly_those_it_concerns() -> None:
    def run(payloads: list[int]) -> list[int]:
        if 2 in payloads:
            raise ValueError("two is bad")
        return payloads

    work = Work(run)
    async with lanes_of(WorkQueue("k", work, 2)) as lanes:
        work.gate.clear()
        first = submit(lanes, "k", 1)
        await work.started(1)
        bad, beside, after = submit(lanes, "k", 2), submit(lanes, "k", 3), submit(lanes, "k", 4)
        await settle()
        work.gate.set()
        results = await asyncio.gather(first, bad, beside, after, return_exceptions=True)
    assert work.batches == [[1], [2, 3], [4]]
    assert results[0] == [1] and results[3] == [4]
    for error in results[1:3]:
        assert isinstance(error, EngineError) and str(error) == "ValueError: two is bad"


async def test_a_lane_survives_whatever_its_work_raises() -> None:
    class Panic(BaseException):
        """As a library's native code may raise it."""

    def run(payloads: list[int]) -> list[int]:
        if 1 in payloads:
            raise Panic("gone")
        return payloads

    async with lanes_of(WorkQueue("k", run, 1)) as lanes, asyncio.timeout(_PATIENCE):
        with pytest.raises(EngineError, match="Panic: gone"):
            await lanes.submit("k", [1], [1], None)
        assert await lanes.submit("k", [2], [1], None) == [2]


async def test_a_run_that_loses_results_is_an_error_and_not_a_hang() -> None:
    work = Work(lambda payloads: payloads[:-1])
    async with lanes_of(WorkQueue("k", work, 10)) as lanes:
        for _ in range(2):  # the lane is free again afterwards
            async with asyncio.timeout(_PATIENCE):
                with pytest.raises(EngineError):
                    await lanes.submit("k", [1, 2], [1, 1], None)


async def test_costs_belong_to_payloads_one_to_one() -> None:
    async with lanes_of(WorkQueue("k", Work(), 10)) as lanes:
        with pytest.raises(ValueError):
            await lanes.submit("k", [1, 2], [1], None)


async def test_closing_refuses_what_waits_and_what_comes_and_lets_what_runs_finish() -> None:
    work = Work()
    lanes = Lanes([WorkQueue("k", work, 10)], 1)
    work.gate.clear()
    running = submit(lanes, "k", 1)
    await work.started(1)
    waiting = submit(lanes, "k", 2)
    await settle()
    lanes.close()
    with pytest.raises(EngineError, match="closed"):
        await waiting
    work.gate.set()
    assert await running == [10]
    with pytest.raises(EngineError, match="closed"):
        await lanes.submit("k", [3], [1], None)
    assert work.batches == [[1]]


async def test_every_lane_is_prepared_once() -> None:
    prepared: list[str] = []
    work = Work()
    lanes = Lanes([WorkQueue("k", work, 1)], 2, prepare=lambda: prepared.append(threading.current_thread().name))
    work.gate.clear()
    calls = [submit(lanes, "k", n) for n in range(6)]
    await work.started(2)
    work.gate.set()
    await asyncio.gather(*calls)
    lanes.close()
    assert len(prepared) == len(set(prepared)) == 2


@settings(max_examples=40, deadline=None)
@given(
    calls=st.lists(st.lists(st.tuples(st.integers(), st.integers(1, 20)), max_size=12), max_size=12),
    budget=st.integers(1, 30),
    least=st.integers(1, 30),
    padding=st.integers(0, 30),
    lanes=st.integers(1, 3),
)
def test_every_payload_gets_its_own_result(
    calls: list[list[tuple[int, int]]], budget: int, least: int, padding: int, lanes: int
) -> None:
    batches: list[tuple[int, int]] = []

    def run(payloads: list[tuple[int, int]]) -> list[int]:
        costs = [cost for _, cost in payloads]
        batches.append((len(costs) * max(costs) if len(costs) > 1 else 0, len(costs) * max(costs) - sum(costs)))
        return [value * 2 + 1 for value, _ in payloads]

    async def everything() -> list[list[int]]:
        async with lanes_of(WorkQueue("k", run, budget, least, padding), lanes=lanes) as pool:
            tasks = (pool.submit("k", call, [cost for _, cost in call], None) for call in calls)
            return await asyncio.gather(*tasks)

    assert asyncio.run(everything()) == [[value * 2 + 1 for value, _ in call] for call in calls]
    assert all(padded <= budget and wasted <= padding for padded, wasted in batches)
