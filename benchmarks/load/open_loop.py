"""The open-loop generator: calls are sent when they are due, whether or not earlier ones were answered.

A client that waits for answers asks less of a slow service, and so hides how long others would have waited. Here the
times are fixed beforehand, and latency counts from them.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2
from numpy.typing import NDArray

from benchmarks.load.measured import OK, REFUSED, Call
from retrieval.wire.status import STATUS_KEY

_METHOD = "/tandem.v1.SearchService/Search"
# Each channel a connection of its own, and no call sent twice.
OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))


class OpenLoop:
    """Several channels to one service. Use it as an asynchronous context manager."""

    def __init__(self, address: str, channels: int, deadline: float) -> None:
        """`deadline` is each call's, in seconds."""
        self._channels = [grpc.aio.insecure_channel(address, options=OPTIONS) for _ in range(channels)]
        # Bytes in and out: reading answers is left until the run is over, so that the client stays light.
        self._methods: list[Any] = [channel.unary_unary(_METHOD) for channel in self._channels]
        self._deadline = deadline

    async def __aenter__(self) -> "OpenLoop":
        await asyncio.gather(*(channel.channel_ready() for channel in self._channels))
        return self

    async def __aexit__(self, *_: object) -> None:
        for channel in self._channels:
            await channel.close()

    async def run(self, due: NDArray, queries: NDArray, requests: Sequence[bytes]) -> list[Call]:
        """Sends `requests[queries[i]]` at second `due[i]`, both of shape (n,); the n calls once all are done."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        tasks = []
        for i, (moment, query) in enumerate(zip(due.tolist(), queries.tolist(), strict=True)):
            # Also when late: without giving way, a client that fell behind would never read an answer.
            await asyncio.sleep(max(0.0, start + moment - loop.time()))
            tasks.append(loop.create_task(self._call(i, start, moment, query, requests[query])))
        return await asyncio.gather(*tasks)

    async def fill(self, queries: NDArray, requests: Sequence[bytes], at_once: int = 8) -> None:
        """Sends `requests[queries[i]]`, each when one of the `at_once` before it was answered; what comes is let go."""
        loop = asyncio.get_running_loop()
        left = iter(enumerate(queries.tolist()))

        async def ask() -> None:
            for number, query in left:
                await self._call(number, loop.time(), 0.0, query, requests[query])

        await asyncio.gather(*(ask() for _ in range(at_once)))

    async def _call(self, number: int, start: float, due: float, query: int, request: bytes) -> Call:
        loop = asyncio.get_running_loop()
        sent = loop.time() - start
        method = self._methods[number % len(self._methods)]
        try:
            answer = await method(request, timeout=self._deadline)
        except grpc.aio.AioRpcError as error:
            status = error.code().name
            retry = status == REFUSED and says_when_to_retry(error.trailing_metadata())
            return Call(due, sent, loop.time() - start, query, status, retry=retry)
        return Call(due, sent, loop.time() - start, query, OK, answer)


def says_when_to_retry(metadata: Iterable[tuple[str, str | bytes]] | None) -> bool:
    """Whether a call's trailing metadata has a google.rpc.RetryInfo with a delay."""
    for key, value in metadata or ():
        if key != STATUS_KEY or not isinstance(value, bytes):
            continue
        for detail in status_pb2.Status.FromString(value).details:
            info = error_details_pb2.RetryInfo()
            if detail.Unpack(info) and info.retry_delay.ToNanoseconds() > 0:
                return True
    return False
