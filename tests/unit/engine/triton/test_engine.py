"""The Triton engine against a server in this process that speaks Triton's protocol and fails on demand."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc as rpc

from engine.onnx.session import IDS, MASK, SEGMENTS
from engine.protocol import DeadlineExceeded, EngineError, Pair
from engine.spans import spans_now
from engine.triton.config import BULK, INTERACTIVE
from engine.triton.engine import RESCORE_PAIRS, ServedModels, TritonEngine

DIMENSIONS, PRODUCTS = 4, 10
LONG = 20.0  # no test waits so long: what would is a failure
NAMES = {call: f"tandem.shop.r-1.{call}" for call in ("encode", "retrieve", "rescore")}
TYPES = {"INT64": np.int64, "INT32": np.int32, "FP32": np.float32}
Change = Callable[[str, dict[str, np.ndarray]], None]


class Server(rpc.GRPCInferenceServiceServicer):
    """A query's vector is its token sum in every place; row r scores vector[0] - r; a pair's logit is its last id."""

    def __init__(self) -> None:
        self.delay = 0.0
        self.hanging = asyncio.Event()
        self.hanging.set()
        self.status: tuple[grpc.StatusCode, str] | None = None
        self.change: Change = lambda call, outputs: None
        self.spoil: Callable[[bytes], bytes] = bytes
        self.requests: list[pb.ModelInferRequest] = []
        self.cancelled = 0
        self.missing = False

    def requests_to(self, call: str) -> list[pb.ModelInferRequest]:
        return [request for request in self.requests if request.model_name == NAMES[call]]

    async def ModelInfer(
        self, request: pb.ModelInferRequest, context: grpc.aio.ServicerContext
    ) -> pb.ModelInferResponse:
        self.requests.append(request)
        try:
            await self.hanging.wait()
            await asyncio.sleep(self.delay)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.status is not None:
            await context.abort(*self.status)
        if self.missing:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"Request for unknown model: '{request.model_name}'")
        call = request.model_name.rsplit(".", 1)[1]
        outputs = getattr(self, f"_{call}")(inputs_of(request))
        self.change(call, outputs)
        answer = pb.ModelInferResponse(model_name=request.model_name)
        for name, values in outputs.items():
            kind = next(kind for kind, dtype in TYPES.items() if values.dtype == dtype)
            answer.outputs.add(name=name, datatype=kind, shape=values.shape)
            answer.raw_output_contents.append(values.tobytes())
        return answer

    def _encode(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        sums = (inputs[IDS] * inputs[MASK]).sum(axis=1, keepdims=True)
        return {"output": np.repeat(sums, DIMENSIONS, axis=1).astype(np.float32)}

    def _retrieve(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        k = int(inputs["k"].max())
        rows = np.tile(np.arange(min(k, PRODUCTS)), (len(inputs["vector"]), 1)) if k else inputs["rows"]
        return {"found": rows.astype(np.int64), "scores": (inputs["vector"][:, :1] - rows).astype(np.float32)}

    def _rescore(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        last = inputs[MASK].sum(axis=1) - 1
        return {"logits": np.take_along_axis(inputs[IDS], last[:, None], 1).astype(np.float32)}


def inputs_of(request: pb.ModelInferRequest) -> dict[str, np.ndarray]:
    pairs = zip(request.inputs, request.raw_input_contents, strict=True)
    return {
        reported.name: np.frombuffer(raw, TYPES[reported.datatype]).reshape(reported.shape) for reported, raw in pairs
    }


@asynccontextmanager
async def served(server: Server, port: int = 0) -> AsyncIterator[int]:
    listening = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    infer = grpc.unary_unary_rpc_method_handler(
        server.ModelInfer, pb.ModelInferRequest.FromString, lambda answer: server.spoil(answer.SerializeToString())
    )
    service = grpc.method_handlers_generic_handler("inference.GRPCInferenceService", {"ModelInfer": infer})
    listening.add_generic_rpc_handlers([service])
    port = listening.add_insecure_port(f"127.0.0.1:{port}")
    await listening.start()
    try:
        yield port
    finally:
        server.hanging.set()
        await listening.stop(None)


@asynccontextmanager
async def connected(
    server: Server, load: Callable[[], None] = lambda: None, ranker: bool = True
) -> AsyncIterator[TritonEngine]:
    async with served(server) as port:
        engine = make(port, load, ranker)
        try:
            yield engine
        finally:
            engine.close()
            await asyncio.sleep(0)


def make(port: int, load: Callable[[], None] = lambda: None, ranker: bool = True) -> TritonEngine:
    names = NAMES if ranker else {call: NAMES[call] for call in ("encode", "retrieve")}
    inputs = {"encode": (IDS, MASK), "rescore": (IDS, MASK, SEGMENTS)}
    return TritonEngine(f"127.0.0.1:{port}", ServedModels(names, inputs, DIMENSIONS, PRODUCTS), load)


def tokens(*ids: int) -> np.ndarray:
    return np.array(ids, np.int32)


def soon(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG):
        while not condition():
            await asyncio.sleep(0.01)


async def refused(engine: TritonEngine) -> str:
    """Why a call fails, once it does so before anything is sent."""
    async with asyncio.timeout(LONG):
        while True:
            try:
                await engine.encode([tokens(1)], soon(LONG))
            except EngineError as error:
                return str(error)
            await asyncio.sleep(0.01)


async def works(engine: TritonEngine) -> None:
    async with asyncio.timeout(LONG):
        while True:
            try:
                vectors = await engine.encode([tokens(1, 2)], soon(LONG))
            except EngineError:
                await asyncio.sleep(0.01)
            else:
                assert vectors.tolist() == [[3.0] * DIMENSIONS]
                return


async def test_every_call_is_answered_in_order() -> None:
    async with connected(Server()) as engine:
        queries = [tokens(*range(1, n % 9 + 2)) for n in range(70)]
        vectors = await engine.encode(queries, None)
        assert vectors[:, 0].tolist() == [float(query.sum()) for query in queries]
        result = await engine.retrieve(vectors[:40], 3, soon(LONG))
        assert len(result) == 40 and result[3].rows.tolist() == [0, 1, 2] and result[3].scores.tolist() == [10, 9, 8]
        assert len((await engine.retrieve(vectors[:1], 99, None))[0].rows) == PRODUCTS
        scores = await engine.score_rows(vectors[3], np.array([9, 0], np.int64), None)
        assert scores.tolist() == [1, 10]
        pairs = [Pair(tokens(*[7] * (n % 5), n), tokens(*[0] * (n % 5), 1)) for n in range(50)]
        assert (await engine.rescore(pairs, None)).tolist() == list(range(50))


async def test_nothing_to_do_asks_nothing() -> None:
    server = Server()
    async with connected(server) as engine:
        assert (await engine.encode([], None)).shape == (0, DIMENSIONS)
        assert (await engine.rescore([], None)).shape == (0,)
        assert (await engine.score_rows(np.zeros(DIMENSIONS, np.float32), np.zeros(0, np.int64), None)).shape == (0,)
        assert await engine.retrieve(np.zeros((0, DIMENSIONS), np.float32), 3, None) == []
    assert not server.requests


async def test_requests_carry_ids_priority_and_the_time_left() -> None:
    server = Server()
    async with connected(server) as engine:
        await engine.encode([tokens(5, 6, 7), tokens(5)], soon(3))
        await engine.rescore([Pair(tokens(5, 6), tokens(0, 1))] * (RESCORE_PAIRS + 1), None)
    [interactive], bulk = server.requests_to("encode"), server.requests_to("rescore")
    assert {reported.name: reported.datatype for reported in interactive.inputs} == {IDS: "INT64", MASK: "INT64"}
    assert inputs_of(interactive)[MASK].sum(axis=1).tolist() == [3, 1]
    assert interactive.parameters["priority"].uint64_param == INTERACTIVE
    assert 1_000_000 < interactive.parameters["timeout"].int64_param <= 3_000_000
    assert sorted(len(inputs_of(request)[IDS]) for request in bulk) == [1, RESCORE_PAIRS]
    assert all(request.parameters["priority"].uint64_param == BULK for request in bulk)
    assert inputs_of(bulk[0])[SEGMENTS][0].tolist()[:2] == [0, 1]


async def test_what_a_release_does_not_have_is_refused() -> None:
    async with connected(Server(), ranker=False) as engine:
        with pytest.raises(EngineError, match="no cross-encoder"):
            await engine.rescore([Pair(tokens(1), tokens(0))], None)
        changed = SimpleNamespace(is_base_alone=False)
        with pytest.raises(EngineError, match="fresh and deleted products need engine = embedded"):
            await engine.retrieve(np.zeros((1, DIMENSIONS), np.float32), 1, None, changed)  # type: ignore[arg-type]
        with pytest.raises(EngineError, match="fresh and deleted products need engine = embedded"):
            await engine.score_rows(np.zeros(DIMENSIONS, np.float32), np.zeros(1, np.int64), None, changed)  # type: ignore[arg-type]


async def test_a_deadline_that_passed_sends_nothing() -> None:
    server = Server()
    async with connected(server) as engine:
        with pytest.raises(DeadlineExceeded):
            await engine.encode([tokens(1)], soon(-1))
    assert not server.requests


async def test_a_hung_server_costs_no_more_than_the_deadline() -> None:
    server = Server()
    async with connected(server) as engine:
        server.hanging.clear()
        deadline = soon(0.2)
        with pytest.raises(DeadlineExceeded):
            await engine.encode([tokens(1)], deadline)
        assert soon(0) < deadline + LONG / 4


async def test_calls_that_wait_fail_as_soon_as_the_server_is_known_to_hang() -> None:
    server = Server()
    async with connected(server) as engine:
        await engine.encode([tokens(1)], None)
        server.hanging.clear()
        began = soon(0)
        with pytest.raises(EngineError, match="does not answer"):
            await engine.encode([tokens(1)], soon(LONG))
        assert soon(0) - began < LONG / 4
        for _ in range(50):  # at once now, and without sending anything
            with pytest.raises(EngineError, match="does not answer"):
                await engine.encode([tokens(1)], soon(LONG))
        assert len(server.requests_to("encode")) < 50
        server.hanging.set()
        await works(engine)


async def test_a_server_that_hangs_while_idle_is_found_by_probes() -> None:
    server = Server()
    async with connected(server) as engine:
        await engine.encode([tokens(1)], None)
        server.hanging.clear()
        await until(lambda: server.cancelled >= 6)  # two probes of each model, given up
        with pytest.raises(EngineError, match="does not answer"):
            await engine.score_rows(np.zeros(DIMENSIONS, np.float32), np.zeros(1, np.int64), soon(LONG))


async def test_a_slow_server_is_taken_out_and_comes_back() -> None:
    server = Server()
    async with connected(server) as engine:
        server.delay = 1.5
        assert "does not answer" in await refused(engine)
        server.delay = 0.0
        await works(engine)


async def test_one_slow_call_among_good_ones_changes_nothing() -> None:
    server = Server()
    async with connected(server) as engine:
        server.delay = 0.2  # slower than a probe's turn, and patient enough
        for _ in range(8):
            await engine.encode([tokens(1)], soon(LONG))
        assert server.cancelled == 0


async def test_a_short_deadline_is_the_callers_fault() -> None:
    server = Server()
    async with connected(server) as engine:
        server.delay = 0.1
        for _ in range(5):
            with pytest.raises(DeadlineExceeded):
                await engine.encode([tokens(1)], soon(0.02))
        await engine.encode([tokens(1)], soon(LONG))


async def test_a_server_that_is_gone_fails_at_once_and_is_found_again() -> None:
    server = Server()
    async with served(server) as port:
        engine = make(port)
        await engine.encode([tokens(1)], None)
    began = soon(0)
    for _ in range(20):
        with pytest.raises(EngineError, match="UNAVAILABLE"):
            await engine.encode([tokens(1)], soon(LONG))
    assert soon(0) - began < LONG / 4
    async with served(Server(), port):
        await works(engine)
        engine.close()


async def test_a_server_without_the_models_is_made_to_load_them() -> None:
    server = Server()
    loads: list[int] = []  # loading what is loaded does nothing, so once more does no harm

    def load() -> None:
        loads.append(1)
        server.missing = False

    async with connected(server, load) as engine:
        await engine.encode([tokens(1)], None)
        server.missing = True
        with pytest.raises(EngineError, match="unknown model"):
            await engine.encode([tokens(1)], soon(LONG))
        await works(engine)
    assert loads


def _changed(call: str, name: str, change: Callable[[np.ndarray], np.ndarray]) -> Change:
    def apply(asked: str, outputs: dict[str, np.ndarray]) -> None:
        if asked == call:
            outputs[name] = change(outputs[name])

    return apply


def _gone(asked: str, outputs: dict[str, np.ndarray]) -> None:
    outputs.pop("scores", None)


def _more(asked: str, outputs: dict[str, np.ndarray]) -> None:
    if asked == "encode":
        outputs["more"] = outputs["output"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_changed("encode", "output", lambda v: v[:, :3]), r"FP32 \[1, 3\] in place of FP32 \[1, 4\]"),
        (_changed("encode", "output", lambda v: np.concatenate([v, v])), r"\[2, 4\] in place of"),
        (_changed("encode", "output", lambda v: v.astype(np.int64)), "is INT64"),
        (_changed("encode", "output", lambda v: v * np.nan), "not numbers"),
        (_changed("encode", "output", lambda v: v * 0), "without a direction"),
        (_changed("encode", "output", lambda v: v + np.float32("inf")), "not numbers"),
        (_changed("retrieve", "found", lambda v: v * 0), "found the same row twice"),
        (_changed("retrieve", "found", lambda v: v + PRODUCTS), "found row 1[0-9] of 10"),
        (_changed("retrieve", "found", lambda v: v.astype(np.int32)), "is INT32"),
        (_changed("rescore", "logits", lambda v: v[:, 0]), r"\[2\] in place of FP32 \[2, 1\]"),
        (_gone, "without scores"),
        (_more, "with 2 outputs in place of one"),
    ],
)
async def test_a_wrong_answer_is_refused_until_a_right_one_comes(change: Change, message: str) -> None:
    server = Server()
    async with connected(server) as engine:
        server.change = change

        async def every() -> None:
            [vector] = await engine.encode([tokens(1)], soon(LONG))
            await engine.retrieve(vector[None], 2, soon(LONG))
            await engine.rescore([Pair(tokens(1), tokens(0))] * 2, soon(LONG))

        with pytest.raises(EngineError, match=message):
            await every()
        server.change = lambda call, outputs: None
        async with asyncio.timeout(LONG):
            while True:
                try:
                    await every()
                    break
                except EngineError:
                    await asyncio.sleep(0.01)


async def test_what_is_no_message_is_a_wrong_answer_and_ends_no_watch() -> None:
    server = Server()
    async with connected(server) as engine:
        server.spoil = lambda _: b"\xff\xff"
        with pytest.raises(EngineError, match="is no message of Triton's protocol"):
            await engine.encode([tokens(1)], soon(LONG))
        probed = len(server.requests)
        await until(lambda: len(server.requests) > probed + 6)  # by probes of each model, again and again
        server.spoil = bytes
        await works(engine)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ((grpc.StatusCode.UNAVAILABLE, "Request timeout expired"), DeadlineExceeded),
        ((grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size"), EngineError),
    ],
)
async def test_a_full_queue_is_no_reason_to_stop_asking(
    status: tuple[grpc.StatusCode, str], error: type[Exception]
) -> None:
    server = Server()
    async with connected(server) as engine:
        server.status = status
        for _ in range(5):
            with pytest.raises(error):
                await engine.encode([tokens(1)], soon(LONG))
        assert len(server.requests_to("encode")) == 5
        server.status = None
        await engine.encode([tokens(1)], soon(LONG))


async def test_a_model_that_fails_twice_is_left_alone_until_it_works() -> None:
    server = Server()
    async with connected(server) as engine:
        server.status = (grpc.StatusCode.INTERNAL, "the stub died\nand more")
        for _ in range(4):
            with pytest.raises(EngineError, match=r"INTERNAL: the stub died$"):
                await engine.encode([tokens(1)], soon(LONG))
        assert len(server.requests_to("encode")) < 4
        server.status = None
        await works(engine)


async def test_a_traced_request_passes_its_trace_on_and_records_the_call() -> None:
    seen: list[Any] = []

    class Spans:
        @contextmanager
        def remote_call(self, service: str, method: str, target: str) -> Iterator[Any]:
            seen.append((service, method, target))
            yield (("traceparent", "00-aa-bb-01"),)

    class Tracing(Server):
        async def ModelInfer(self, request: Any, context: Any) -> Any:
            seen.append(dict(context.invocation_metadata()).get("traceparent"))
            return await super().ModelInfer(request, context)

    async with connected(Tracing()) as engine:
        await engine.encode([tokens(1)], soon(LONG))
        assert engine.trouble is None
        spans_now.set(Spans())  # type: ignore[arg-type]
        await engine.encode([tokens(1)], soon(LONG))
    model = NAMES["encode"]
    assert seen.count("00-aa-bb-01") == 1
    assert ("inference.GRPCInferenceService", "ModelInfer", model) in seen


async def test_cancelling_a_call_cancels_it_at_the_server() -> None:
    server = Server()
    async with connected(server) as engine:
        server.hanging.clear()
        pairs = [Pair(tokens(1), tokens(0))] * (2 * RESCORE_PAIRS)
        task = asyncio.create_task(engine.rescore(pairs, soon(LONG)))
        await until(lambda: len(server.requests_to("rescore")) == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: server.cancelled >= 2)


async def test_a_closed_engine_refuses_and_tells_once_that_it_left() -> None:
    left: list[int] = []
    async with served(Server()) as port:
        served_models = ServedModels(NAMES, {"encode": (IDS, MASK)}, DIMENSIONS, PRODUCTS)
        engine = TritonEngine(f"127.0.0.1:{port}", served_models, lambda: None, lambda: left.append(1))
        await engine.encode([tokens(1)], None)
        engine.close()
        engine.close()
        with pytest.raises(EngineError, match="closed"):
            await engine.encode([tokens(1)], None)
    assert left == [1]


def test_an_engine_serves_one_loop_after_another() -> None:
    async def once(engine: TritonEngine | None, port: int) -> TritonEngine:
        async with served(Server(), port) as bound:
            engine = engine or make(bound)
            await engine.encode([tokens(1)], None)
            ports.append(bound)
        return engine

    ports: list[int] = []
    engine = asyncio.run(once(None, 0))
    asyncio.run(once(engine, ports[0]))
    engine.close()
    assert ports == [ports[0]] * 2
