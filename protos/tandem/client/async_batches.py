"""The requests of a batch for asyncio."""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable

from tandem.client.batches import MOST_OPEN, Request, batch_request
from tandem.v1 import search_pb2


class AsyncOutbox:
    """As `tandem.client.batches.Outbox`, on one event loop."""

    def __init__(self, requests: Iterable[Request] | AsyncIterable[Request]) -> None:
        self.failure: BaseException | None = None
        self._requests = requests.__aiter__() if isinstance(requests, AsyncIterable) else _asynchronous(requests)
        self._open: deque[search_pb2.BatchSearchRequest] = deque()
        self._changed = asyncio.Event()
        self._reading: asyncio.Future[search_pb2.BatchSearchRequest | None] | None = None
        self._stream = 0

    def stream(self) -> AsyncIterator[search_pb2.BatchSearchRequest]:
        """What a new stream sends: first what is not answered. The one before ends."""
        self._stream += 1
        self._changed.set()
        return self._send(self._stream)

    def take(self) -> None:
        """The oldest request is answered."""
        self._open.popleft()
        self._changed.set()

    async def end(self) -> None:
        """The stream sends nothing more."""
        self._stream += 1
        self._changed.set()

    async def _send(self, stream: int) -> AsyncIterator[search_pb2.BatchSearchRequest]:
        for request in list(self._open):
            if stream != self._stream:
                return
            yield request
        while True:
            while len(self._open) >= MOST_OPEN and stream == self._stream:
                self._changed.clear()
                await self._changed.wait()
            # What a stream that has broken began to read is the next one's.
            if self._reading is None:
                self._reading = asyncio.ensure_future(self._read())
            further = await asyncio.shield(self._reading)
            if stream != self._stream or further is None:
                return
            self._reading = None
            self._open.append(further)
            yield further

    async def _read(self) -> search_pb2.BatchSearchRequest | None:
        try:
            return batch_request(await anext(self._requests))
        except StopAsyncIteration:
            return None
        except Exception as error:  # raised where the answers are read
            self.failure = error
            return None


async def _asynchronous(requests: Iterable[Request]) -> AsyncIterator[Request]:
    for request in requests:
        yield request
