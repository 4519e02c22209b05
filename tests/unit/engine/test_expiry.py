"""Work on threads: what nobody waits for any more does not start, and stops between its steps."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from engine.expiry import check_expiry, expiring_at, on_thread
from engine.protocol import DeadlineExceeded


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_work_runs_on_a_thread_of_the_pool_with_its_arguments() -> None:
    with ThreadPoolExecutor(1, thread_name_prefix="mine") as pool, expiring_at(now() + 60):
        name, total = await on_thread(lambda a, b: (threading.current_thread().name, a + b), 2, 3, pool=pool)
    assert name.startswith("mine") and total == 5
    assert await on_thread(lambda: 7) == 7  # of no request


async def test_what_waits_for_a_thread_beyond_the_deadline_does_not_start() -> None:
    """The loop takes no turn between: it cancels nothing by itself."""
    busy, free, started = threading.Event(), threading.Event(), []
    with ThreadPoolExecutor(1) as pool:
        blocked = pool.submit(lambda: (busy.set(), free.wait(20)))
        assert busy.wait(20)
        with expiring_at(now() + 0.01):
            waiting = asyncio.ensure_future(on_thread(started.append, 1, pool=pool))
            await asyncio.sleep(0)
            threading.Event().wait(0.02)  # the deadline passes, with the loop held up
            free.set()
            blocked.result()
            with pytest.raises(DeadlineExceeded):
                await waiting
    assert not started


async def test_what_has_begun_stops_between_its_steps_once_its_request_is_over() -> None:
    begun, go_on, steps = threading.Event(), threading.Event(), []

    def work() -> None:
        steps.append("first")
        begun.set()
        assert go_on.wait(20)
        check_expiry()
        steps.append("second")

    with ThreadPoolExecutor(1) as pool:
        with expiring_at(now() + 60):
            task = asyncio.ensure_future(on_thread(work, pool=pool))
            while not begun.is_set():
                await asyncio.sleep(0.001)
            task.cancel()  # its caller has gone
            with pytest.raises(asyncio.CancelledError):
                await task
        go_on.set()
        pool.submit(lambda: None).result()
    assert steps == ["first"]


async def test_requests_side_by_side_have_their_own_deadlines() -> None:
    async def ask(deadline: float) -> bool:
        with expiring_at(deadline):
            await asyncio.sleep(0)
            return await on_thread(lambda: True)

    in_time, late = await asyncio.gather(ask(now() + 60), ask(now() - 1), return_exceptions=True)
    assert in_time is True and isinstance(late, DeadlineExceeded)
