"""A gRPC server between a client of Triton and Triton, which spoils answers as it is told to."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as pb

_INFER = "/inference.GRPCInferenceService/ModelInfer"


class Meddler(grpc.GenericRpcHandler):
    """Passes calls of one request and one answer on. `kind` is what befalls them; `nothing` at first."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.kind = "nothing"
        self.port = 0
        self._channel = channel

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """The handler of any method."""
        return grpc.unary_unary_rpc_method_handler(self._passing(details.method))

    def _passing(self, method: str) -> Callable[[bytes, grpc.aio.ServicerContext], Awaitable[bytes]]:
        async def call(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
            if self.kind == "silent":
                await asyncio.Event().wait()
            if self.kind == "slow":
                await asyncio.sleep(5)
            if self.kind == "refused":
                await context.abort(grpc.StatusCode.UNAVAILABLE, "no")
            try:
                answer = await self._channel.unary_unary(method)(request, timeout=context.time_remaining())
            except grpc.aio.AioRpcError as error:
                await context.abort(error.code(), error.details() or "")
            return SPOILS.get(self.kind, bytes)(answer) if method == _INFER else answer

        return call


def _reshaped(answer: bytes) -> bytes:
    """One row more than was asked for."""
    message = pb.ModelInferResponse.FromString(answer)
    for output, raw in zip(message.outputs, message.raw_output_contents, strict=True):
        row = len(raw) // output.shape[0]
        output.shape[0] += 1
        message.raw_output_contents[list(message.outputs).index(output)] = raw + raw[:row]
    return message.SerializeToString()


def _cut(answer: bytes) -> bytes:
    """Fewer bytes than the shape takes."""
    message = pb.ModelInferResponse.FromString(answer)
    message.raw_output_contents[0] = message.raw_output_contents[0][:-3]
    return message.SerializeToString()


def _undefined(answer: bytes) -> bytes:
    """Numbers that are none."""
    message = pb.ModelInferResponse.FromString(answer)
    for number, output in enumerate(message.outputs):
        if output.datatype == "FP32":
            values = np.full(len(message.raw_output_contents[number]) // 4, np.nan, np.float32)
            message.raw_output_contents[number] = values.tobytes()
    return message.SerializeToString()


SPOILS: dict[str, Callable[[bytes], bytes]] = {
    "wrong shape": _reshaped,
    "cut": _cut,
    "NaN": _undefined,
    "noise": lambda _: b"\xff\xff no message",
}


@asynccontextmanager
async def meddler(address: str) -> AsyncIterator[Meddler]:
    """One before this address, on a free port, while the block runs."""
    options = [
        ("grpc.max_receive_message_length", 64 << 20),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 500),
    ]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        made = Meddler(channel)
        server = grpc.aio.server(options=options)
        server.add_generic_rpc_handlers([made])
        made.port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            yield made
        finally:
            await server.stop(None)
