"""The deadline of a call, and the status that its work ends with."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import grpc

from engine.expiry import expiring_at
from retrieval.server.call_server import Call
from retrieval.server.calls import request_id
from retrieval.server.failures import LATE, failure_of
from retrieval.wire.status import abort

Response = TypeVar("Response")
# Of a call's time, seconds and as a share, for it to come and for its answer to be sent.
_ON_THE_WAY, _ON_THE_WAY_SHARE = 0.005, 0.1
_LEAST_SECONDS = 0.002  # calls with less time left are not begun


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds: `default` for calls that set none, and `longest`, which no call has more than."""

    default: float
    longest: float

    async def run(self, context: Call, work: Callable[[str, float], Awaitable[Response]]) -> Response:
        """Does the work of a call, given its request id and its deadline, a time of the loop's clock. A failure becomes
        the status of the call."""
        deadline, name = self._deadline(context), request_id(context)
        if deadline - asyncio.get_running_loop().time() < _LEAST_SECONDS:  # by then its caller no longer waits
            await abort(context, grpc.StatusCode.DEADLINE_EXCEEDED, LATE)
        try:
            async with asyncio.timeout_at(deadline):
                with expiring_at(deadline):
                    return await work(name, deadline)
        except Exception as error:
            failure = failure_of(error, name)
            if failure is None:
                raise
        await abort(context, failure.code, failure.message)

    def _deadline(self, context: Call) -> float:
        remaining = context.time_remaining()
        seconds = min(self.default if remaining is None else remaining, self.longest)
        # The caller's clock runs since before the call came, and until the answer is there.
        return asyncio.get_running_loop().time() + seconds - min(_ON_THE_WAY, _ON_THE_WAY_SHARE * seconds)
