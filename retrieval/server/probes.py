"""A second port for health alone, without TLS or keys: probes of orchestrators cannot bring either."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from core.address import UNIX
from retrieval.processes.port import check_free, refused
from retrieval.server.call_server import CallServer
from retrieval.server.health import Health

# Probes are small and few; whoever else reaches the port gets no further than this.
_MOST_BYTES = 4096
_MOST_CALLS = 64  # of a connection
_SENDING_SECONDS = 1.0


@asynccontextmanager
async def probe_port(
    address: str, names: Iterable[str], draining: asyncio.Event, shared: bool
) -> AsyncIterator[str | None]:
    """Answers `grpc.health.v1` at the address while the block runs, and yields it with its port.

    None where the address is empty. `shared` lets several processes listen there. Answers come from the event loop
    that serves, so one that hangs answers no probe. Calls without a request and watches, however many, hold up no
    probe. Raises TandemError when the address cannot be listened on.
    """
    if not address:
        yield None
        return
    options = [
        ("grpc.so_reuseport", int(shared)),
        ("grpc.max_receive_message_length", _MOST_BYTES),
        ("grpc.max_concurrent_streams", _MOST_CALLS),
    ]
    server = CallServer({}, options, _SENDING_SECONDS)
    server.add_generic_rpc_handlers((Health(names, draining).handlers(),))
    bound = _bind(server, address)
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(0)


def _bind(server: CallServer, address: str) -> str:
    if address.startswith(UNIX):
        check_free(Path(address.removeprefix(UNIX)))
    try:
        port = server.add_insecure_port(address)
    except RuntimeError:
        port = 0
    if not port:
        raise refused(address)
    return address if address.startswith(UNIX) else f"{address.rpartition(':')[0]}:{port}"
