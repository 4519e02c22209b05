"""Real Redis servers for tests: one in a folder, on a free port of this machine."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def redis_server(folder: Path, *options: str, port: int = 0) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A server whose data is in the folder, its port and its process. Skips the test where there is no such program."""
    pytest.importorskip("redis", reason="the package redis is not installed")
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed: apt-get install redis-server")
    port = port or free_port()
    durable = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), *durable, *options]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port, server)
        yield port, server
    finally:
        server.kill()
        server.wait()


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 30
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as connection:
                connection.sendall(b"PING\r\n")
                if connection.recv(1) in (b"+", b"-") and b"LOADING" not in connection.recv(64):
                    return
        except OSError:
            pass
        assert server.poll() is None and time.monotonic() < until, "redis-server does not start"
        time.sleep(0.01)
