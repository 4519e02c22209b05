"""Places for bulk work: it takes what searches leave free, and waits otherwise."""

import asyncio
from collections import deque

from retrieval.server.admission import Admission, Permit


class BulkQueue:
    """Bulk work that waits for places, in the order in which it came. For use on one event loop."""

    def __init__(self, admission: Admission) -> None:
        """`admission` is the searches'. For use on a running event loop."""
        self._admission = admission
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[asyncio.Event] = deque()
        admission.on_room(self._note_room)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    async def take(self) -> Permit:
        """A place, once enough are free."""
        turn = asyncio.Event()
        self._waiting.append(turn)  # before it looks, so that it misses no place that comes free meanwhile
        try:
            while self._waiting[0] is not turn or (permit := self._admission.take_bulk()) is None:
                await turn.wait()
                turn.clear()
        finally:
            self._waiting.remove(turn)
            self._wake()  # there may be room for the next one, too
        return permit

    def _note_room(self) -> None:
        """Called on any thread whenever a place came free."""
        if self._waiting:
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if self._waiting:
            self._waiting[0].set()
