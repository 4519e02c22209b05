"""One of several serving processes, as `retrieval.processes.supervisor` starts them: `python -m … FD`.

FD is its end of a socket to the supervisor. A line there is a JSON object; the first brings number and settings. When
the supervisor is gone, however that came about, it drains and ends.
"""

import asyncio
import contextlib
import faulthandler
import json
import os
import signal
import socket
import sys
import threading
import time
from typing import Any

from core.errors import TandemError
from core.logs import configure_logging
from retrieval.server.main import RunningServer, serve
from retrieval.server.settings import ServeSettings
from retrieval.telemetry.state import State
from text.masking_on_demand import mask_if_needed

_PULSE = 1.0  # seconds between two signs of life
_MARGIN = 5.0  # seconds beyond the grace, for a process that cannot drain


class Link:
    """The worker's end of the socket."""

    def __init__(self, connection: socket.socket) -> None:
        """Reads nothing yet."""
        self._connection = connection
        self._lines = connection.makefile("rb")
        self._serving = False
        self._unsent = b""  # the rest of a line that was begun
        self._waiting: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def read(self) -> dict[str, Any]:
        """The next message; empty once the supervisor is gone."""
        line = self._lines.readline()
        return json.loads(line) if line else {}

    def send(self, message: dict[str, Any]) -> None:
        """Sends the supervisor a message, if it is there."""
        line, self._unsent = self._unsent + json.dumps(message).encode() + b"\n", b""
        with contextlib.suppress(OSError):  # it is gone, and `watch_supervisor` has this process end
            self._connection.sendall(line)

    async def serve(self, settings: ServeSettings) -> None:
        """Serves, and reports meanwhile, while it loads too, that the event loop turns."""
        pulse = asyncio.create_task(self._live())
        try:
            publish = self.publish if settings.metrics_address else None
            await serve(settings, self.serves, self.wait_for_swap, publish)
        finally:
            pulse.cancel()

    def serves(self, server: RunningServer) -> None:
        """Reports to the supervisor that calls are accepted."""
        releases = {catalog: release.release_id for catalog, release in server.manager.loaded.items()}
        self.send({"serves": releases})
        self._serving = True

    def publish(self, state: State) -> None:
        """Reports the gauges of this process, unless the supervisor does not listen."""
        self._offer(json.dumps({"state": state}).encode() + b"\n")

    async def _live(self) -> None:
        while True:
            self._offer(b'{"lives": true}\n')
            await asyncio.sleep(_PULSE)

    def _offer(self, line: bytes) -> None:
        """Sends a line if there is room for it: a supervisor that does not listen must not stop this process."""
        if not self._unsent:  # else this line is left out, and others come
            self._unsent = line
        with contextlib.suppress(OSError):
            self._unsent = self._unsent[self._connection.send(self._unsent, socket.MSG_DONTWAIT) :]

    async def wait_for_swap(self, catalog: str, release: str) -> None:
        """Returns when the supervisor has the processes swap; at once while this one starts."""
        if not self._serving:
            return
        swap = asyncio.Event()
        self._waiting = asyncio.get_running_loop(), swap
        self.send({"waits": [catalog, release]})
        await swap.wait()

    def watch_supervisor(self, grace: float) -> None:
        """Follows the supervisor's messages, on a thread of its own, until it is gone; then ends this process.

        On a thread, so that a process ends that loads or hangs.
        """
        while self.read():  # its only message is to swap
            if self._waiting is not None:
                loop, swap = self._waiting
                loop.call_soon_threadsafe(swap.set)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace + _MARGIN)
        os._exit(1)


def main() -> None:
    """Serves until SIGTERM, SIGINT or the supervisor's end. What cannot be served is reported to the supervisor."""
    faulthandler.enable()
    link = Link(socket.socket(fileno=int(sys.argv[1])))
    first = link.read()
    if not first:
        return
    settings = ServeSettings.model_validate(first["settings"])
    configure_logging(settings.log_format, first["number"] + 1, mask_if_needed)
    threading.Thread(target=link.watch_supervisor, args=(settings.grace_seconds,), daemon=True).start()
    try:
        asyncio.run(link.serve(settings))
    except TandemError as error:
        link.send({"failed": str(error)})
        sys.exit(2)


if __name__ == "__main__":
    main()
