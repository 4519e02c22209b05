"""One of several serving processes, as `retrieval.processes.supervisor` starts them: `python -m … FD`.

FD is its end of a socket to the supervisor. A line there is a JSON object; the first brings number and settings. When
the supervisor is gone, however that came about, it drains and ends.
"""

import asyncio
import contextlib
import faulthandler
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from typing import Any

from core.errors import TandemError
from retrieval.server.main import RunningServer, serve
from retrieval.server.settings import ServeSettings

_PULSE = 1.0  # seconds between two signs of life
_MARGIN = 5.0  # seconds beyond the grace, for a process that cannot drain


class Link:
    """The worker's end of the socket."""

    def __init__(self, connection: socket.socket) -> None:
        """Reads nothing yet."""
        self._connection = connection
        self._lines = connection.makefile("rb")
        self._serving = False
        self._waiting: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def read(self) -> dict[str, Any]:
        """The next message; empty once the supervisor is gone."""
        line = self._lines.readline()
        return json.loads(line) if line else {}

    def send(self, message: dict[str, Any]) -> None:
        """Sends the supervisor a message, if it is there."""
        with contextlib.suppress(OSError):  # it is gone, and `watch_supervisor` has this process end
            self._connection.sendall(json.dumps(message).encode() + b"\n")

    async def serve(self, settings: ServeSettings) -> None:
        """Serves, and reports meanwhile, while it loads too, that the event loop turns."""
        pulse = asyncio.create_task(self._live())
        try:
            await serve(settings, self.serves, self.wait_for_swap)
        finally:
            pulse.cancel()

    def serves(self, server: RunningServer) -> None:
        """Reports to the supervisor that calls are accepted."""
        releases = {catalog: release.release_id for catalog, release in server.manager.loaded.items()}
        self.send({"serves": releases})
        self._serving = True

    async def _live(self) -> None:
        while True:
            with contextlib.suppress(OSError):  # one that does not listen must not stop this process
                self._connection.send(b'{"lives": true}\n', socket.MSG_DONTWAIT)
            await asyncio.sleep(_PULSE)

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
    number = first["number"] + 1
    logging.basicConfig(format=f"%(asctime)s %(levelname)s %(name)s [process {number}] %(message)s")
    logging.getLogger("tandem").setLevel(logging.INFO)
    settings = ServeSettings.model_validate(first["settings"])
    threading.Thread(target=link.watch_supervisor, args=(settings.grace_seconds,), daemon=True).start()
    try:
        asyncio.run(link.serve(settings))
    except TandemError as error:
        link.send({"failed": str(error)})
        sys.exit(2)


if __name__ == "__main__":
    main()
