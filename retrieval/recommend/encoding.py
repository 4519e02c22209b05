"""Runs the user tower for several requests at once: those that come while it runs share the next run.

Besides sharing its cost, they search the index together then.
"""

import asyncio
from collections import deque

from encoder.users.tower import History, UserTower
from engine.protocol import EngineError, Vectors
from engine.soundness import check_directions

_MOST = 32  # histories of a run


class HistoryEncoder:
    """For one event loop at a time."""

    def __init__(self, tower: UserTower) -> None:
        self._tower = tower
        self._waiting: deque[tuple[History, asyncio.Future[Vectors]]] = deque()
        self._running: asyncio.Task[None] | None = None

    async def encode(self, history: History) -> Vectors:
        """The vector of a history, shape (d,). Raises EngineError where the tower fails."""
        future: asyncio.Future[Vectors] = asyncio.get_running_loop().create_future()
        self._waiting.append((history, future))
        if self._running is None or self._running.done():
            self._running = asyncio.ensure_future(self._run())
        return await future

    async def _run(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(_MOST, len(self._waiting)))]
            wanted = [(history, future) for history, future in batch if not future.done()]
            if not wanted:
                continue
            try:
                vectors = await asyncio.to_thread(self._tower.vectors, [history for history, _ in wanted])
            except Exception as error:  # whatever ONNX Runtime raises
                failure = EngineError(f"the user tower failed: {type(error).__name__}")
                for _, future in wanted:
                    if not future.done():
                        future.set_exception(failure)
                continue
            for (_, future), vector in zip(wanted, vectors, strict=True):
                if not future.done():
                    _settle(future, vector)


def _settle(future: "asyncio.Future[Vectors]", vector: Vectors) -> None:
    try:
        future.set_result(check_directions(vector))
    except EngineError as error:
        future.set_exception(error)
