"""Work of a request on threads: nothing of it starts once the request is over.

A request is over when its deadline has passed, its caller has gone, or it was answered without the work. The event loop
cancels what waits then, but a busy loop does so late, and a thread that has begun cannot be stopped: it looks itself.
"""

import asyncio
import contextvars
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import TypeVar

from engine.protocol import DeadlineExceeded

_Result = TypeVar("_Result")


class Expiry:
    """When a request is over: at a time of `time.monotonic`, or once its `ended` is set."""

    __slots__ = ("deadline", "ended")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.ended = False


_expiry: contextvars.ContextVar[Expiry | None] = contextvars.ContextVar("expiry", default=None)


@contextmanager
def expiring_at(deadline: float) -> Iterator[None]:
    """What is done within is of one request: it is over at this time of the loop's clock, and when the block ends."""
    expiry = Expiry(deadline - asyncio.get_running_loop().time() + time.monotonic())
    token = _expiry.set(expiry)
    try:
        yield
    finally:
        expiry.ended = True
        _expiry.reset(token)


def check_expiry() -> None:
    """Raises DeadlineExceeded where the request whose work this is is over. For any thread that `on_thread` runs on."""
    expiry = _expiry.get()
    if expiry is not None and (expiry.ended or time.monotonic() >= expiry.deadline):
        raise DeadlineExceeded


async def on_thread(work: Callable[..., _Result], *arguments: object, pool: Executor | None = None) -> _Result:
    """What the work returns, on a thread of the pool or of the loop's own. Raises what it raises, or DeadlineExceeded
    where the request is over before it starts."""
    context = contextvars.copy_context()

    def start() -> _Result:
        check_expiry()
        return work(*arguments)

    return await asyncio.get_running_loop().run_in_executor(pool, context.run, start)
