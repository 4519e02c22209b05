"""An address that several serving processes share, held for them from before the first one listens."""

import errno
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from core.address import UNIX
from core.errors import TandemError


def refused(address: str) -> TandemError:
    """The error for an address that cannot be listened on."""
    if address.startswith(UNIX):
        return TandemError(f"cannot listen on {address}: its folder is missing or not writable; choose another path")
    return TandemError(f"cannot listen on {address}: the port is taken or not allowed; choose another")


def check_free(path: Path) -> None:
    """Raises TandemError when a service listens at this socket, or something else is in its place.

    gRPC removes what a service left that was killed, and would take the place of one that lives as well.
    """
    try:
        kind = path.stat().st_mode
    except OSError:  # nothing is there, or listening will report why it fails
        return
    if not stat.S_ISSOCK(kind):
        raise TandemError(f"cannot listen on {UNIX}{path}: a file is there; choose another path")
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(str(path)) == 0:
            raise TandemError(f"cannot listen on {UNIX}{path}: a service does already; choose another path")


@contextmanager
def reserve_address(address: str) -> Iterator[str]:
    """Holds the address while the block runs, and yields it with its port, which is chosen where it is 0.

    It is bound but not listened on: until a process of this user listens there with SO_REUSEPORT, connections are
    refused. Raises TandemError when someone listens there, holds it as well, or it is not allowed.
    """
    if address.startswith(UNIX):
        raise TandemError(f"several processes cannot share {address}: give HOST:PORT, or --processes 1")
    host, _, port = address.rpartition(":")
    number, held = int(port), 0
    with ExitStack() as stack:
        try:
            for family, place in _places(host.strip("[]"), number):
                if (holder := _hold(family, (place[0], number, *place[2:]))) is not None:
                    stack.enter_context(holder)
                    number, held = holder.getsockname()[1], held + 1
        except (OSError, OverflowError, UnicodeError):
            raise refused(address) from None
        if not held:
            raise refused(address)
        yield f"{host}:{number}"


def _places(host: str, port: int) -> list[tuple[int, tuple]]:
    """Families and addresses of a host; localhost has one of IPv4 and one of IPv6."""
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, place) for family, _, _, _, place in addresses))


def _hold(family: int, place: tuple) -> socket.socket | None:
    """A socket bound there; None where this machine does not have the address."""
    try:
        with _bound(family, place, socket.SO_REUSEADDR) as probe:
            probe.listen(1)  # fails beside any socket that listens there or holds it, whatever its options
            place = probe.getsockname()
        holder = _bound(family, place, socket.SO_REUSEADDR, socket.SO_REUSEPORT)
    except OSError as error:
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            return None
        raise
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)  # else another's probe would not fail
    return holder


def _bound(family: int, place: tuple, *options: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        for option in options:
            made.setsockopt(socket.SOL_SOCKET, option, 1)
        made.bind(place)
    except BaseException:
        made.close()
        raise
    return made
