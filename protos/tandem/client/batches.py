"""A batch of searches over streams that break: what was sent and not answered is sent again."""

import threading
from collections import deque
from collections.abc import Iterable, Iterator

import grpc

from tandem.client.retries import FailedCall, pushback
from tandem.v1 import search_pb2

MOST_OPEN = 64
"""Requests that were sent and not answered, at most: the service answers a few at a time."""
_TRIES = 6  # of one request, with nothing answered between
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
# A stream that ends so was not at fault: the service restarts, the connection is too old, other batches are open.
_BROKEN = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED}
BROKEN_WHILE_SENDING = "Internal error from Core"  # how grpc.aio reports a stream that ends while it sends

Request = search_pb2.SearchRequest | search_pb2.BatchSearchRequest


def batch_request(request: Request) -> search_pb2.BatchSearchRequest:
    """The request as a stream takes it."""
    if isinstance(request, search_pb2.BatchSearchRequest):
        return request
    return search_pb2.BatchSearchRequest(search=request)


class Progress:
    """How far a batch has come, and how long to wait before a broken stream is opened again."""

    def __init__(self) -> None:
        self.answered = 0
        self._tries = 0

    def note(self, response: search_pb2.BatchSearchResponse) -> search_pb2.BatchSearchResponse:
        """The next answer, with its place in the whole batch."""
        self._tries = 0
        self.answered += 1
        response.sequence = self.answered
        return response

    def seconds_to_wait(self, error: FailedCall) -> float | None:
        """Seconds until the stream may be opened again; None where it is pointless."""
        self._tries += 1
        broken = error.code() in _BROKEN or error.details() == BROKEN_WHILE_SENDING
        if not broken or self._tries >= _TRIES:
            return None
        return pushback(error) or min(_FIRST_PAUSE * 2 ** (self._tries - 1), _LONGEST_PAUSE)


class Outbox:
    """The requests of a batch, read one by one as answers come. gRPC reads each stream's on a thread of its own."""

    def __init__(self, requests: Iterable[Request]) -> None:
        self.failure: BaseException | None = None
        self._requests = iter(requests)
        self._open: deque[search_pb2.BatchSearchRequest] = deque()
        self._all_read = False
        self._stream = 0
        self._changed = threading.Condition()
        self._reading = threading.Lock()  # one stream at a time reads what the caller gives

    def stream(self) -> Iterator[search_pb2.BatchSearchRequest]:
        """What a new stream sends: first what is not answered. The one before ends."""
        with self._changed:
            self._stream += 1
            number = self._stream
            self._changed.notify_all()
        return self._send(number)

    def take(self) -> None:
        """The oldest request is answered."""
        with self._changed:
            self._open.popleft()
            self._changed.notify_all()

    def end(self) -> None:
        """No stream sends any more."""
        with self._changed:
            self._stream += 1
            self._changed.notify_all()

    def _send(self, stream: int) -> Iterator[search_pb2.BatchSearchRequest]:
        with self._reading, self._changed:
            again = list(self._open)
        for request in again:
            if stream != self._stream:
                return
            yield request
        while (further := self._next(stream)) is not None:
            yield further

    def _next(self, stream: int) -> search_pb2.BatchSearchRequest | None:
        with self._changed:
            self._changed.wait_for(lambda: stream != self._stream or len(self._open) < MOST_OPEN)
        with self._reading:
            if stream != self._stream or self._all_read:
                return None
            try:
                request = batch_request(next(self._requests))
            except StopIteration:
                self._all_read = True
                return None
            except BaseException as error:  # raised where the answers are read
                self.failure, self._all_read = error, True
                return None
            with self._changed:
                self._open.append(request)
            return request if stream == self._stream else None
