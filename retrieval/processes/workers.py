"""A serving process as its supervisor sees it: the messages from it and to it, and how it ends."""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any

from retrieval.server.settings import ServeSettings

Message = dict[str, Any]
_LONGEST_LINE = 1 << 20


class Worker:
    """One process, and the socket to it; each line there is a JSON object. When either end closes, the other ends."""

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Use `start_worker`."""
        self._process = process
        self._reader = reader
        self._writer = writer

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    async def messages(self) -> AsyncIterator[Message]:
        """Its messages, until it ends."""
        with contextlib.suppress(ConnectionError):
            while (line := await self._reader.readline()).endswith(b"\n"):  # what a killed one began is left
                yield json.loads(line)

    def send(self, message: Message) -> None:
        """Sends it a message; one that has ended gets nothing."""
        self._writer.write(json.dumps(message).encode() + b"\n")

    def drain(self) -> None:
        """Has it answer the calls in flight and end."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """Ends it at once."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def wait(self) -> int:
        """Its exit status once it has ended, negative for a signal's number."""
        status = await self._process.wait()
        self._writer.close()
        return status


async def start_worker(settings: ServeSettings, environment: Mapping[str, str], number: int) -> Worker:
    """Starts the serving process of this number, from 0, with its share of the settings, and with this environment
    beside the own.

    A fresh interpreter, since gRPC does not survive a fork, and a session of its own, since Ctrl-C is for the
    supervisor, which drains.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "retrieval.processes.worker", str(theirs.fileno())),
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
            env=os.environ | environment,
        )
    worker = Worker(process, *await asyncio.open_connection(sock=ours, limit=_LONGEST_LINE))
    worker.send({"number": number, "settings": settings.share(number).for_process()})
    return worker
