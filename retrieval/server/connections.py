"""The sockets of a gRPC server, which its own interface does not show."""

import os
import socket
import stat
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

_OPEN_FILES = Path("/dev/fd")  # of this process, on Linux and macOS


def close_connections(ports: Collection[int]) -> None:
    """Ends listening on these ports, and then the TCP connections that others made to them. What was sent still
    arrives.

    Does nothing on a system that does not list a process's open files.
    """
    ends = {True: _stop_listening, False: _end_connection}
    for listens, end in ends.items():  # the other way round clients would be back before it no longer listens
        for number, copy in _sockets():
            with copy, suppress(OSError):
                if copy.getsockname()[1] in ports and _listens(copy) is listens:
                    end(number, copy)


def _listens(connection: socket.socket) -> bool:
    return bool(connection.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _stop_listening(number: int, _: socket.socket) -> None:
    """Puts a socket that nobody reaches in the place of one that listens: gRPC would log it if that were shut down."""
    with socket.socket() as nothing:
        os.dup2(nothing.fileno(), number, inheritable=False)


def _end_connection(_: int, copy: socket.socket) -> None:
    copy.shutdown(socket.SHUT_RDWR)


def _sockets() -> Iterator[tuple[int, socket.socket]]:
    """The number and a copy of each TCP socket of this process."""
    with suppress(OSError):
        for path in _OPEN_FILES.iterdir():
            number = int(path.name)
            with suppress(OSError):  # closed meanwhile
                if stat.S_ISSOCK(os.fstat(number).st_mode):
                    copy = socket.socket(fileno=os.dup(number))
                    if copy.family in (socket.AF_INET, socket.AF_INET6) and copy.type == socket.SOCK_STREAM:
                        yield number, copy
                    else:
                        copy.close()
