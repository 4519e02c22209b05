"""The connections of a gRPC server, which its own interface does not show."""

import os
import socket
import stat
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

_OPEN_FILES = Path("/dev/fd")  # of this process, on Linux and macOS


def close_connections(ports: Collection[int]) -> None:
    """Ends the TCP connections that others made to these ports of this process. What was sent still arrives.

    Does nothing on a system that does not list a process's open files.
    """
    for connection in _sockets():
        with connection, suppress(OSError):
            listens = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if not listens and connection.getsockname()[1] in ports:
                connection.shutdown(socket.SHUT_RDWR)


def _sockets() -> Iterator[socket.socket]:
    """A copy of each TCP socket of this process."""
    with suppress(OSError):
        for path in _OPEN_FILES.iterdir():
            with suppress(OSError):  # closed meanwhile
                if stat.S_ISSOCK(os.fstat(int(path.name)).st_mode):
                    copy = socket.socket(fileno=os.dup(int(path.name)))
                    if copy.family in (socket.AF_INET, socket.AF_INET6) and copy.type == socket.SOCK_STREAM:
                        yield copy
                    else:
                        copy.close()
