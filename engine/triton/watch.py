"""Whether a Triton model answers: results of its calls and probes, and the calls that wait for it."""

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar

import grpc
from tritonclient.grpc import service_pb2 as pb

from engine.protocol import DeadlineExceeded, EngineError
from engine.triton.wire import WrongAnswer

log = logging.getLogger("tandem.triton")

# A hung server is detected within PROBE + twice PATIENCE, which is less than a second.
PROBE_SECONDS = 0.2
PATIENCE_SECONDS = 0.35
_FAILURES = 2  # in a row, with no answer between
_QUEUE_FULL = "maximum queue size"
_QUEUED_TOO_LONG = "timeout expired"

_Result = TypeVar("_Result")


class Watch:
    """One model. While it is in trouble, calls fail at once; only probes are sent, and the first good answer ends it.

    For use from one event loop.
    """

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        """`clock` returns seconds, as the event loop's does."""
        self.name = name
        self.trouble: str | None = None
        self.missing = False
        self.answered_at = clock()
        self._clock = clock
        self._failures = 0
        self._waiting: set[grpc.aio.UnaryUnaryCall] = set()

    def check(self) -> None:
        """Raises EngineError while the model is in trouble."""
        if self.trouble is not None:
            raise EngineError(f"Triton: {self.trouble}")

    async def follow(self, call: grpc.aio.UnaryUnaryCall, read: Callable[[pb.ModelInferResponse], _Result]) -> _Result:
        """What `read` makes of the call's answer, where it comes before the model gets into trouble.

        Raises DeadlineExceeded or EngineError. Cancelling the task cancels the call.
        """
        sent = self._clock()
        self._waiting.add(call)
        try:
            if (answer := await call) is None:  # gRPC's word for bytes that it cannot read
                raise WrongAnswer(f"{self.name}: the answer is no message of Triton's protocol")
            result = read(answer)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            self.check()
            raise EngineError("Triton: the engine was closed") from None
        except grpc.aio.AioRpcError as error:
            self._failed(error, sent)
            raise EngineError(f"Triton: {_line(error)}") from None
        except WrongAnswer as error:
            self._troubled(str(error))
            raise
        finally:
            self._waiting.discard(call)
        self._good()
        return result

    def give_up(self) -> None:
        """Ends the calls that wait."""
        for call in list(self._waiting):
            call.cancel()

    def _good(self) -> None:
        self.answered_at = self._clock()
        self._failures = 0
        if self.trouble is not None:
            log.info("%s is back", self.name)
        self.trouble, self.missing = None, False

    def _failed(self, error: grpc.aio.AioRpcError, sent: float) -> None:
        """Counts a failure that the model caused. Raises DeadlineExceeded where it was only late."""
        code, details = error.code(), error.details() or ""
        if _QUEUED_TOO_LONG in details or _QUEUE_FULL in details:
            self._answered()
            if _QUEUED_TOO_LONG in details:
                raise DeadlineExceeded from None
            return
        if code == grpc.StatusCode.DEADLINE_EXCEEDED:
            if self._clock() - sent >= PATIENCE_SECONDS * 0.9 and self.answered_at <= sent:
                self._count(f"{self.name} does not answer")
            raise DeadlineExceeded from None
        if code == grpc.StatusCode.NOT_FOUND:
            self.missing = True
        if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND):
            self._troubled(_line(error))
        else:
            self._count(_line(error))

    def _answered(self) -> None:
        """The server answered, with an error."""
        self.answered_at = self._clock()

    def _count(self, why: str) -> None:
        self._failures += 1
        if self._failures >= _FAILURES:
            self._troubled(why)

    def _troubled(self, why: str) -> None:
        if self.trouble is None:
            log.error("%s is out of service: %s", self.name, why)
        self.trouble = why
        self.give_up()


def _line(error: grpc.aio.AioRpcError) -> str:
    details = (error.details() or "").strip().splitlines()
    return f"{error.code().name}: {details[0] if details else 'without a reason'}"
