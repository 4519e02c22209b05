"""The micro-batcher: concurrent calls share batches, and a few worker threads ("lanes") run them.

Each lane runs one batch at a time on one core, so that models never compete for threads of their own. A lane that is
free takes work at once and never waits for a batch to fill; while all are busy, calls queue up and share the next
batch, which is made of what has waited longest and of what is nearly as long as it. A lane that is done takes its next
batch itself, under a lock, rather than wait for its turn on a busy event loop; results are delivered on the loop.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from engine.protocol import DeadlineExceeded, EngineError

# A deadline is near that is fewer of the longest batches away: a call goes through lanes twice or three times.
_NEAR = 6.0
_SLOWER, _FASTER = 0.5, 0.02  # how far a batch moves what the longest took, up and down


ObserveBatch = Callable[[str, int, float, float], None]
"""Called on a lane's thread after each batch: its kind, how many items it had, and for how many seconds the first of
them waited and all of them ran. It takes microseconds and raises nothing."""


def ignore_batch(kind: str, size: int, waited: float, took: float) -> None:
    """Observes nothing."""


@dataclass(slots=True)
class WorkQueue:
    """One kind of work. `run` takes the payloads of a batch and returns a result for each, in their order.

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
    """One caller's wait for all its results, or for the first error. All but `call_soon` runs on the caller's loop."""

    loop: asyncio.AbstractEventLoop
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

    def call_soon(self, deliver: Callable[..., None], *arguments: Any) -> None:
        """Calls it on the loop, from any thread."""
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self.loop.call_soon_threadsafe(deliver, *arguments)


@dataclass(slots=True)
class _Item:
    call: _Call
    place: int
    payload: Any
    cost: int
    since: float


class Lanes:
    """Worker threads shared by several kinds of work; a kind named earlier goes first.

    A call without a deadline is bulk work, of whatever kind: nothing of it starts while a call with one waits.
    Batches cannot be interrupted. A call of an `urgent` kind that must not wait for those that run, since its deadline
    is near as they go, has a thread beside the lanes, which shares their cores.
    """

    def __init__(
        self,
        kinds: Sequence[WorkQueue],
        lanes: int,
        prepare: Callable[[], None] = lambda: None,
        urgent: Collection[str] = (),
        observe: ObserveBatch = ignore_batch,
    ) -> None:
        """`prepare` runs once on each worker thread, to bound the threads that libraries start on it."""
        self._kinds = {kind.name: kind for kind in kinds}
        # The lock guards the queues and these: lanes without a batch, and those of them that nothing has woken.
        self._free = self._asleep = lanes
        self._closed = False
        self._observe = observe
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(lanes, thread_name_prefix="lane", initializer=prepare)
        self._urgent = frozenset(urgent)
        self._longest = 0.0  # seconds that batches of other kinds took of late, at the longest
        self._urgent_pool = ThreadPoolExecutor(1, thread_name_prefix="urgent", initializer=prepare)

    async def submit(
        self, kind: str, payloads: Sequence[Any], costs: Sequence[int], deadline: float | None
    ) -> list[Any]:
        """Results in the order of the payloads. Raises DeadlineExceeded or EngineError; cancelling drops the rest."""
        if not payloads:
            return []
        loop = asyncio.get_running_loop()
        call = _Call(loop, loop.create_future(), [None] * len(payloads), len(payloads), deadline)
        now = loop.time()
        items = [_Item(call, place, *entry, now) for place, entry in enumerate(zip(payloads, costs, strict=True))]
        with self._lock:
            if self._closed:
                raise EngineError("the engine was closed")
            queue = self._kinds[kind].bulk if deadline is None else self._kinds[kind].interactive
            queue.extend(items)
            if not self._asleep and self._is_urgent(kind, deadline, now):
                self._urgent_pool.submit(self._run_urgent, kind)
            for _ in range(min(self._asleep, len(items))):
                self._asleep -= 1
                self._pool.submit(self._work)
        return await call.future

    def close(self) -> None:
        """Refuses further work and ends the threads once what runs is done."""
        with self._lock:
            self._closed = True
            waiting = [item for _, queue in self._queues() for item in queue]
            self._kinds = {}  # they hold the models, and the models' engine holds this
            self._pool.shutdown(wait=False)
            self._urgent_pool.shutdown(wait=False)
        _fail(waiting, EngineError("the engine was closed"))

    def _work(self) -> None:
        """Runs batches on a lane's thread until there is nothing to do."""
        while work := self._take_next():
            kind, batch = work
            took = self._run(kind, batch)
            with self._lock:
                self._free += 1
                if kind.name not in self._urgent:
                    self._longest += (_SLOWER if took > self._longest else _FASTER) * (took - self._longest)

    def _run(self, kind: WorkQueue, batch: list[_Item]) -> float:
        """Runs a batch and delivers what came of it. Returns the seconds that it took."""
        began = time.monotonic()
        try:
            results = kind.run([item.payload for item in batch])
            if len(results) != len(batch):
                raise EngineError(f"{len(results)} results came of a batch of {len(batch)}")
        except BaseException as error:  # whatever it is, callers get it, and the lane goes on
            _fail(batch, error if isinstance(error, EngineError) else EngineError(f"{type(error).__name__}: {error}"))
        else:
            batch[0].call.call_soon(_deliver, batch, results)
        took = time.monotonic() - began
        self._observe(kind.name, len(batch), began - batch[0].since, took)
        return took

    def _is_urgent(self, kind: str, deadline: float | None, now: float) -> bool:
        return kind in self._urgent and deadline is not None and deadline - now < _NEAR * self._longest

    def _run_urgent(self, name: str) -> None:
        """Runs what waits of a kind, if no lane has taken it by now."""
        with self._lock:
            kind = self._kinds.get(name)
            if kind is None:
                return
            _drop_dead(kind.interactive)
            batch = _take(kind.interactive, kind.budget, kind.padding) if kind.interactive else []
        if batch:
            self._run(kind, batch)

    def _take_next(self) -> tuple[WorkQueue, list[_Item]] | None:
        with self._lock:
            work = self._next()
            if work:
                self._free -= 1
            else:
                self._asleep += 1
            return work

    def _queues(self) -> "list[tuple[WorkQueue, deque[_Item]]]":
        """In the order in which they are served."""
        kinds = self._kinds.values()
        return [(kind, kind.interactive) for kind in kinds] + [(kind, kind.bulk) for kind in kinds]

    def _next(self) -> tuple[WorkQueue, list[_Item]] | None:
        for kind, queue in self._queues():
            _drop_dead(queue)
            if queue:
                queued = sum(item.cost for item in queue)
                room = min(kind.budget, max(kind.least, -(-queued // self._free)))
                return kind, _take(queue, room, kind.padding)
        return None


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


def _drop_dead(queue: "deque[_Item]") -> None:
    """Removes from the whole queue what nobody waits for any more."""
    if not queue:
        return
    now = queue[0].call.loop.time()
    dead = [item for item in queue if _is_dead(item.call, now)]
    if dead:
        alive = [item for item in queue if not _is_dead(item.call, now)]
        queue.clear()
        queue.extend(alive)
        _fail(dead, DeadlineExceeded())


def _is_dead(call: _Call, now: float) -> bool:
    return call.future.done() or (call.deadline is not None and call.deadline <= now)


def _deliver(batch: list[_Item], results: Sequence[Any]) -> None:
    for item, result in zip(batch, results, strict=True):
        item.call.put(item.place, result)


def _fail(batch: list[_Item], error: Exception) -> None:
    for item in batch:
        item.call.call_soon(item.call.fail, error)
