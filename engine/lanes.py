"""The micro-batcher: concurrent calls share batches, and a few worker threads ("lanes") run them.

Each lane runs one batch at a time on one core, so that models never compete for threads of their own. A lane that is
free takes work at once and never waits for a batch to fill; while all are busy, calls queue up and share the next
batch. Everything here runs on the event loop but the batches themselves, so there are no locks.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from engine.types import DeadlineExceeded, EngineError


@dataclass(slots=True)
class Kind:
    """One sort of work. `run` takes the payloads of a batch and returns a result for each, in their order.

    `budget` bounds the summed cost of a batch (tokens, or queries); `least` is the cost below which a batch is not
    divided among free lanes.
    """

    name: str
    run: Callable[[list[Any]], Any]
    budget: int
    least: int = 1
    queue: "deque[_Item]" = field(default_factory=deque)

    @property
    def queued(self) -> int:
        """The summed cost of what waits."""
        return sum(item.cost for item in self.queue)


@dataclass(slots=True)
class _Call:
    """What one caller waits for: all its results, or the first error."""

    future: "asyncio.Future[list[Any]]"
    results: list[Any]
    left: int
    deadline: float | None

    def put(self, place: int, result: Any) -> None:
        self.results[place] = result
        self.left -= 1
        if not self.left and not self.future.done():
            self.future.set_result(self.results)

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


@dataclass(slots=True)
class _Item:
    call: _Call
    place: int
    payload: Any
    cost: int


class Lanes:
    """Worker threads shared by several kinds of work; a kind named earlier goes first."""

    def __init__(self, kinds: Sequence[Kind], lanes: int, prepare: Callable[[], None] = lambda: None) -> None:
        """`prepare` runs once on each worker thread, to bound the threads that libraries start on it."""
        self._kinds = {kind.name: kind for kind in kinds}
        self._free = lanes
        self._pool = ThreadPoolExecutor(lanes, thread_name_prefix="lane", initializer=prepare)

    async def submit(
        self, kind: str, payloads: Sequence[Any], costs: Sequence[int], deadline: float | None
    ) -> list[Any]:
        """Results in the order of the payloads. Raises DeadlineExceeded or EngineError; cancelling drops the rest."""
        if not payloads:
            return []
        loop = asyncio.get_running_loop()
        call = _Call(loop.create_future(), [None] * len(payloads), len(payloads), deadline)
        queue = self._kinds[kind].queue
        queue.extend(_Item(call, place, *entry) for place, entry in enumerate(zip(payloads, costs, strict=True)))
        self._dispatch(loop)
        return await call.future

    def close(self) -> None:
        """Refuses further work and ends the threads once what runs is done."""
        for kind in self._kinds.values():
            while kind.queue:
                kind.queue.popleft().call.fail(EngineError("the engine was closed"))
        self._pool.shutdown(wait=False)

    def _dispatch(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._free and (found := self._next(loop.time())):
            kind, batch = found
            self._free -= 1
            try:
                done = loop.run_in_executor(self._pool, kind.run, [item.payload for item in batch])
            except RuntimeError:  # the pool was shut down
                self._free += 1
                _fail(batch, EngineError("the engine was closed"))
                continue
            done.add_done_callback(partial(self._finish, loop, batch))

    def _next(self, now: float) -> tuple[Kind, list[_Item]] | None:
        for kind in self._kinds.values():
            _drop_dead(kind.queue, now)
            if kind.queue:
                return kind, self._take(kind)
        return None

    def _take(self, kind: Kind) -> list[_Item]:
        share = max(kind.least, -(-kind.queued // self._free))
        left = min(kind.budget, share)
        batch = [kind.queue.popleft()]
        left -= batch[0].cost
        while kind.queue and kind.queue[0].cost <= left:
            batch.append(kind.queue.popleft())
            left -= batch[-1].cost
        return batch

    def _finish(self, loop: asyncio.AbstractEventLoop, batch: list[_Item], future: "asyncio.Future[Any]") -> None:
        self._free += 1
        error = asyncio.CancelledError() if future.cancelled() else future.exception()
        if error is not None:
            _fail(batch, EngineError(f"{type(error).__name__}: {error}"))
        elif len(results := future.result()) != len(batch):
            _fail(batch, EngineError(f"{len(results)} results came of a batch of {len(batch)}"))
        else:
            for item, result in zip(batch, results, strict=True):
                item.call.put(item.place, result)
        if not loop.is_closed():
            self._dispatch(loop)


def _drop_dead(queue: "deque[_Item]", now: float) -> None:
    """Removes from the whole queue what nobody waits for any more."""
    if not any(_dead(item.call, now) for item in queue):
        return
    alive = [item for item in queue if not _dead(item.call, now)]
    queue.clear()
    queue.extend(alive)


def _dead(call: _Call, now: float) -> bool:
    if call.future.done():
        return True
    if call.deadline is not None and call.deadline <= now:
        call.fail(DeadlineExceeded())
        return True
    return False


def _fail(batch: list[_Item], error: Exception) -> None:
    for item in batch:
        item.call.fail(error)
