"""`tandem serve` in a process of its own, what it takes of memory and descriptors, and an ordinary caller of it."""

import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
import psutil
from shops import process

from core.releases import ReleaseStore
from tandem.client import SearchClient, SearchError
from tandem.v1 import search_pb2

_PATIENCE = 100  # times that a refused search is sent
_WORDS = ("red kettle", "boots for hiking", "lamp", "something to drill with", "green bed sheet")


class Served:
    """The process and its address."""

    def __init__(self, running: "subprocess.Popen[str]", address: str) -> None:
        self.running = running
        self.address = address
        self.process = psutil.Process(running.pid)

    def stop(self) -> None:
        """Drains it, to its end."""
        self.running.send_signal(signal.SIGTERM)
        assert self.running.wait(60) == 0

    @property
    def memory(self) -> int:
        """Resident bytes."""
        return int(self.process.memory_info().rss)

    @property
    def descriptors(self) -> int:
        """Open ones."""
        return int(self.process.num_fds())


@contextmanager
def served(store: ReleaseStore, *more: object, address: str = "127.0.0.1:0") -> Iterator[Served]:
    """A service, once it answers; killed in the end."""
    with process("serve", "--releases", store.root, "--address", address, *more) as running:
        assert running.stdout is not None and running.stderr is not None
        words = running.stdout.readline().split()
        assert words[:2] == ["tandem:", "serving"], running.stderr.read()
        draining = threading.Thread(
            target=running.stderr.buffer.read, daemon=True
        )  # a full pipe would stop the service
        draining.start()
        yield Served(running, words[-1])


class Bystander:
    """Asks one question after the other, on a connection of its own, until told to stop."""

    def __init__(self, address: str, options: Sequence[tuple[str, Any]] = ()) -> None:
        """`options` are those of the channel."""
        self.seconds: list[float] = []
        self.mixtures: set[tuple[str, str]] = set()  # a release, and with what the ids of its answers begin
        self._options = [("grpc.use_local_subchannel_pool", 1), *options]
        self.failures: list[str] = []
        self.refused = 0
        self._address = address
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> "Bystander":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def wait(self, count: int) -> list[float]:
        """The seconds of the next so many answers."""
        begun, until = len(self.seconds), time.monotonic() + 120
        while len(self.seconds) < begun + count:
            assert time.monotonic() < until and self._thread.is_alive(), self.failures[-3:]
            time.sleep(0.005)
        return self.seconds[begun:]

    def _ask(self) -> None:
        number = 0
        with SearchClient(self._address, 10, options=self._options) as client:
            while not self._ended.is_set():
                request = search_pb2.SearchRequest(query=_WORDS[number % len(_WORDS)])
                number += 1
                began = time.monotonic()
                try:
                    self._search(client, request)
                except SearchError as error:
                    self.failures.append(str(error))
                self.seconds.append(time.monotonic() - began)

    def _search(self, client: SearchClient, request: search_pb2.SearchRequest) -> None:
        """A refused search is sent again when the service says; it says so each time."""
        for _ in range(_PATIENCE):
            try:
                answer = client.search(request)
                assert answer.hits
                self.mixtures |= {(answer.release_id, hit.product_id[:2]) for hit in answer.hits}
                return
            except SearchError as error:
                if error.code is not grpc.StatusCode.RESOURCE_EXHAUSTED or error.retry_after is None:
                    raise
                self.refused += 1
                time.sleep(error.retry_after)
        self.failures.append("it was refused again and again")


def p99(seconds: list[float]) -> float:
    """The 99th percentile."""
    return float(np.percentile(seconds, 99))
