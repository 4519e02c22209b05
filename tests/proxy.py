"""A proxy of TCP connections that fails as it is told to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

_BYTES = 1 << 16


class Proxy:
    """Passes bytes on to a port of this machine. `delay` is in seconds for each piece of an answer; `lie` is sent in
    place of what the server answers, where it is set; while `silent`, nothing is; while `closed`, connections end."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.delay = 0.0
        self.lie = b""
        self.silent = self.closed = False
        self.port = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.CancelledError):
            theirs, ours = await asyncio.open_connection("127.0.0.1", self._target)
            try:
                await asyncio.gather(self._pass(reader, ours, False), self._pass(theirs, writer, True))
            finally:
                ours.close()
                writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: bool) -> None:
        while data := await reader.read(_BYTES):
            if self.closed:
                raise ConnectionResetError
            if answers:
                await asyncio.sleep(self.delay)
                data = b"" if self.silent else self.lie or data
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError


@asynccontextmanager
async def proxy(port: int) -> AsyncIterator[Proxy]:
    """A proxy before this port, on a free one, while the block runs."""
    made = Proxy(port)
    server = await asyncio.start_server(made._serve, "127.0.0.1")
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
