"""Long pieces of work on the event loop, done in turns with everything else."""

import asyncio
import time

_LONGEST = 0.0005  # seconds


class Turns:
    """Yields the event loop whenever this has held it for half a millisecond."""

    def __init__(self) -> None:
        """The first turn begins now."""
        self._since = time.perf_counter()

    async def take(self) -> None:
        """Call it between two small pieces of the work."""
        if time.perf_counter() - self._since > _LONGEST:
            await asyncio.sleep(0)
            self._since = time.perf_counter()
