"""How calls that do not come in are ended, before their requests are read."""

from collections.abc import Iterator
from typing import Any

import grpc

from retrieval.server.admission import Admission
from retrieval.wire.status import Metadata, refusal

_REFUSAL_SECONDS = 0.02  # all calls refused within this time get the same refusal


class Refusals:
    """Refuses calls by one handler, which is made anew every few milliseconds and not for each call."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._until = 0.0
        self._handler: grpc.RpcMethodHandler | None = None

    @property
    def handler(self) -> grpc.RpcMethodHandler:
        """States when to try again, as measured now."""
        now = self._admission.clock()
        if self._handler is None or now >= self._until:
            message, metadata = refusal(self._admission.refusal())
            self._handler = refusing(grpc.StatusCode.RESOURCE_EXHAUSTED, message, metadata)
            self._until = now + _REFUSAL_SECONDS
        return self._handler


def refusing(code: grpc.StatusCode, message: str, metadata: Metadata = ()) -> grpc.RpcMethodHandler:
    """A handler that ends calls before their requests are read. It is a stream's, since for others gRPC reads first."""

    def refuse(_: Any, context: grpc.ServicerContext) -> Iterator[bytes]:
        context.set_code(code)
        context.set_details(message)
        context.set_trailing_metadata(metadata)
        return iter(())

    return grpc.stream_stream_rpc_method_handler(refuse)
