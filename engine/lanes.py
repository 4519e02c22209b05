"""The micro-batcher: concurrent calls share batches, and a few worker threads ("lanes") run them.

Each lane runs one batch at a time on one core, so that models never compete for threads of their own. A lane that is
free takes work at once and never waits for a batch to fill; while all are busy, calls queue up and share the next
batch, which is made of what has waited longest and of what is nearly as long as it. Everything here runs on the event
loop but the batches themselves, so there are no locks.
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

    A payload's cost is its length (in tokens; 1 for a query of the index), and a batch costs as if all of it were as
    long as its longest. `budget` bounds that; `least` is the cost below which a batch is not divided among free lanes;
    `padding` bounds how much of a batch's cost is padding.
    """

    name: str
    run: Callable[[list[Any]], Any]
    budget: int
    least: int = 1
    padding: int = 0
    interactive: "deque[_Item]" = field(default_factory=deque)
    bulk: "deque[_Item]" = field(default_factory=deque)


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
    """Worker threads shared by several kinds of work; a kind named earlier goes first.

    A call without a deadline is bulk work, of whatever kind: nothing of it starts while a call with one waits.
    """

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
        queue = self._kinds[kind].bulk if deadline is None else self._kinds[kind].interactive
        queue.extend(_Item(call, place, *entry) for place, entry in enumerate(zip(payloads, costs, strict=True)))
        self._dispatch(loop)
        return await call.future

    def close(self) -> None:
        """Refuses further work and ends the threads once what runs is done."""
        for _, queue in self._queues():
            while queue:
                queue.popleft().call.fail(EngineError("the engine was closed"))
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

    def _queues(self) -> "list[tuple[Kind, deque[_Item]]]":
        """In the order in which they are served."""
        kinds = self._kinds.values()
        return [(kind, kind.interactive) for kind in kinds] + [(kind, kind.bulk) for kind in kinds]

    def _next(self, now: float) -> tuple[Kind, list[_Item]] | None:
        for kind, queue in self._queues():
            _drop_dead(queue, now)
            if queue:
                queued = sum(item.cost for item in queue)
                room = min(kind.budget, max(kind.least, -(-queued // self._free)))
                return kind, _take(queue, room, kind.padding)
        return None

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


def _take(queue: "deque[_Item]", room: int, padding: int) -> list[_Item]:
    """Takes the item that has waited longest, and those nearest to it in length that fit in beside it."""
    oldest = queue[0].cost
    batch: list[_Item] = []
    longest = total = 0
    for item in sorted(queue, key=lambda item: abs(item.cost - oldest)):
        padded = max(longest, item.cost) * (len(batch) + 1)
        if not batch or padded <= min(room, total + item.cost + padding):
            batch.append(item)
            longest, total = max(longest, item.cost), total + item.cost
    taken = set(map(id, batch))
    left = [item for item in queue if id(item) not in taken]
    queue.clear()
    queue.extend(left)
    return batch


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
