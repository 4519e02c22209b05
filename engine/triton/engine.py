"""The Triton engine: a release's models in a Triton server, which batches; here calls are sent, bounded and checked.

It searches the base segment alone. A view with fresh segments or deleted products is refused; the fallback engine,
where there is one, answers then.

There is no batcher on this side. A server that is down, hung, slow or wrong is detected within a second, by calls or by
probes of each model, and calls then fail at once until a probe succeeds.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc as rpc

from catalog.selection import Selection
from catalog.view import CatalogView
from engine.protocol import Candidates, DeadlineExceeded, EngineError, Pair, Tokens, Vectors
from engine.soundness import finite_candidates
from engine.spans import remote_call
from engine.triton.config import ENCODE_ROWS, NEIGHBOURS, RETRIEVE_ROWS, SCORES
from engine.triton.repository import ENCODE, RESCORE, RETRIEVE
from engine.triton.watch import PATIENCE_SECONDS, PROBE_SECONDS, Watch
from engine.triton.wire import (
    WrongAnswer,
    compare_tensors,
    infer_request,
    named_outputs,
    only_output,
    query_vectors,
    search_tensors,
    text_tensors,
)

log = logging.getLogger("tandem.triton")

# Pairs of one request: one query's are divided among the model's instances, and a batch holds several requests.
RESCORE_PAIRS = 16
_LOAD_PAUSE_SECONDS = 2.0
_SERVICE = "inference.GRPCInferenceService"
_LONGEST_SECONDS = 30.0  # of calls without a deadline
_OUTPUTS: dict[str, np.dtype] = {NEIGHBOURS: np.dtype(np.int64), SCORES: np.dtype(np.float32)}
_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.max_receive_message_length", 64 << 20),
)

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class ServedModels:
    """The models of a release as Triton names them, by call, the inputs of those of text, and what the index holds."""

    names: Mapping[str, str]
    inputs: Mapping[str, tuple[str, ...]]
    dimensions: int
    products: int


class TritonEngine:
    """Runs a release's models in a Triton server. For use from one event loop at a time."""

    def __init__(
        self, address: str, served: ServedModels, load: Callable[[], None], leave: Callable[[], None] = lambda: None
    ) -> None:
        """`load` reloads models that the server lost; `leave` is called once they are no longer used.

        Both may take long: the first runs on a thread, and the second has to start its own.
        """
        self._address = address
        self._served = served
        self._load = load
        self._leave = leave
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None

    async def encode(self, queries: Sequence[Tokens], deadline: float | None) -> Vectors:
        """See `engine.protocol.Engine`."""
        self._attend()
        if not len(queries):
            return np.empty((0, self._served.dimensions), np.float32)
        parts = [queries[start : start + ENCODE_ROWS] for start in range(0, len(queries), ENCODE_ROWS)]
        return np.concatenate(await _together([self._encode(part, deadline) for part in parts]))

    async def retrieve(
        self,
        vectors: Vectors,
        k: int,
        deadline: float | None,
        view: CatalogView | None = None,
        selection: Selection | None = None,
        exact: bool = False,
    ) -> list[Candidates]:
        """See `engine.protocol.Engine`."""
        self._attend()
        _check_base_alone(view)
        if selection is not None or exact:
            raise EngineError("Triton's model of the index has no filter")
        parts = [vectors[start : start + RETRIEVE_ROWS] for start in range(0, len(vectors), RETRIEVE_ROWS)]
        results = await _together([self._retrieve(part, k, deadline) for part in parts])
        return [candidates for part in results for candidates in part]

    async def score_rows(
        self, vector: Vectors, rows: NDArray[np.int64], deadline: float | None, view: CatalogView | None = None
    ) -> Vectors:
        """See `engine.protocol.Engine`."""
        self._attend()
        _check_base_alone(view)
        if not len(rows):
            return np.empty(0, np.float32)
        shape = (1, len(rows))
        return await self._ask(
            RETRIEVE,
            compare_tensors(vector, rows),
            deadline,
            lambda answer: named_outputs(answer, _OUTPUTS, shape)[1][0],
        )

    async def vectors(
        self, rows: NDArray[np.int64], deadline: float | None, view: CatalogView | None = None
    ) -> Vectors:
        """Not served by Triton's model of the index. Raises EngineError."""
        raise EngineError("Triton's model of the index returns no vectors")

    async def rescore(self, pairs: Sequence[Pair], deadline: float | None) -> Vectors:
        """See `engine.protocol.Engine`. Pairs are sent in order of length, so that little is padded."""
        self._attend()
        if RESCORE not in self._watches:
            raise EngineError("this release has no cross-encoder")
        order = sorted(range(len(pairs)), key=lambda i: len(pairs[i].tokens))
        parts = [order[start : start + RESCORE_PAIRS] for start in range(0, len(order), RESCORE_PAIRS)]
        logits = np.empty(len(pairs), np.float32)
        scored = await _together([self._rescore([pairs[i] for i in part], deadline) for part in parts])
        for part, values in zip(parts, scored, strict=True):
            logits[part] = values
        return logits

    @property
    def trouble(self) -> str | None:
        """Why a model answers nothing; None while all answer, and before the first call."""
        watches = () if self._loop is None else self._watches.values()
        return next((watch.trouble for watch in watches if watch.trouble is not None), None)

    def close(self) -> None:
        """See `engine.protocol.Engine`. The last process to use the release unloads its models."""
        if self._closed:
            return
        self._closed = True
        if self._loop is not None and not self._loop.is_closed():
            with contextlib.suppress(RuntimeError):  # it may end just now
                self._loop.call_soon_threadsafe(self._part)
        self._leave()

    async def _encode(self, queries: Sequence[Tokens], deadline: float | None) -> Vectors:
        shape = (len(queries), self._served.dimensions)
        tensors = text_tensors(self._served.inputs[ENCODE], queries)
        return await self._ask(ENCODE, tensors, deadline, lambda answer: query_vectors(answer, shape))

    async def _retrieve(self, vectors: Vectors, k: int, deadline: float | None) -> list[Candidates]:
        shape = (len(vectors), min(k, self._served.products))
        tensors = search_tensors(np.ascontiguousarray(vectors, np.float32), k)
        return await self._ask(RETRIEVE, tensors, deadline, lambda answer: self._candidates(answer, shape))

    async def _rescore(self, pairs: Sequence[Pair], deadline: float | None) -> Vectors:
        shape = (len(pairs), 1)
        tensors = text_tensors(
            self._served.inputs[RESCORE], [pair.tokens for pair in pairs], [pair.segments for pair in pairs]
        )
        return await self._ask(RESCORE, tensors, deadline, lambda answer: only_output(answer, shape)[:, 0])

    def _candidates(self, answer: pb.ModelInferResponse, shape: tuple[int, int]) -> list[Candidates]:
        rows, scores = named_outputs(answer, _OUTPUTS, shape)
        if rows.max(initial=-1) >= self._served.products:
            raise WrongAnswer(f"{answer.model_name} found row {rows.max()} of {self._served.products} products")
        candidates = [finite_candidates(*each) for each in zip(rows, scores, strict=True)]
        if any(len(np.unique(each.rows)) < len(each.rows) for each in candidates):
            raise WrongAnswer(f"{answer.model_name} found the same row twice")
        return candidates

    async def _ask(
        self,
        call: str,
        tensors: Mapping[str, NDArray],
        deadline: float | None,
        read: Callable[[pb.ModelInferResponse], _Result],
    ) -> _Result:
        """What `read` makes of the model's answer. Raises DeadlineExceeded or EngineError, by the deadline."""
        assert self._loop is not None
        watch = self._watches[call]
        watch.check()
        seconds = _LONGEST_SECONDS if deadline is None else deadline - self._loop.time()
        if seconds <= 0:
            raise DeadlineExceeded
        request = infer_request(watch.name, tensors, seconds, deadline is not None)
        try:
            with remote_call(_SERVICE, "ModelInfer", watch.name) as metadata:
                sent = self._stub.ModelInfer(request, timeout=seconds, metadata=metadata)
                return await watch.follow(sent, read)
        except DeadlineExceeded:
            if deadline is None:
                raise EngineError(f"Triton: {watch.name} took longer than {_LONGEST_SECONDS:.0f} s") from None
            raise

    def _attend(self) -> None:
        """Connects on the running loop, and begins to watch, at the first call there."""
        if self._closed:
            raise EngineError("the engine was closed")
        loop = asyncio.get_running_loop()
        if loop is self._loop:
            return
        self._loop = loop
        self._channel = grpc.aio.insecure_channel(self._address, options=_OPTIONS)
        self._stub = rpc.GRPCInferenceServiceStub(self._channel)
        self._watches = {call: Watch(name, loop.time) for call, name in self._served.names.items()}
        self._watching = loop.create_task(self._watch_over())
        self._loading: asyncio.Task[None] | None = None

    async def _watch_over(self) -> None:
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            await asyncio.gather(*(self._probe(call, watch) for call, watch in self._watches.items()))

    async def _probe(self, call: str, watch: Watch) -> None:
        """Sends the smallest request, unless the model answered recently; retries at once on failure."""
        assert self._loop is not None
        while self._loop.time() - watch.answered_at >= PROBE_SECONDS:
            request = infer_request(watch.name, self._least(call), PATIENCE_SECONDS, True)
            with contextlib.suppress(EngineError, DeadlineExceeded):
                await watch.follow(self._stub.ModelInfer(request, timeout=PATIENCE_SECONDS), self._reader(call))
            if watch.trouble is not None:
                break
        if watch.missing and (self._loading is None or self._loading.done()):
            self._loading = self._loop.create_task(self._load_again())

    def _least(self, call: str) -> Mapping[str, NDArray]:
        if call == RETRIEVE:
            return compare_tensors(np.zeros(self._served.dimensions, np.float32), np.zeros(1, np.int64))
        token = [np.zeros(1, np.int32)]
        return text_tensors(self._served.inputs[call], token, token)

    def _reader(self, call: str) -> Callable[[pb.ModelInferResponse], Any]:
        if call == RETRIEVE:
            return lambda answer: named_outputs(answer, _OUTPUTS, (1, 1))
        shape = (1, self._served.dimensions if call == ENCODE else 1)
        return lambda answer: only_output(answer, shape)

    async def _load_again(self) -> None:
        try:
            await asyncio.to_thread(self._load)
        except EngineError as error:
            log.error("the models cannot be loaded again: %s", error)
            await asyncio.sleep(_LOAD_PAUSE_SECONDS)

    def _part(self) -> None:
        """Ends the watch and the connection, on the loop they belong to."""
        assert self._loop is not None
        self._watching.cancel()
        if self._loading is not None:
            self._loading.cancel()
        for watch in self._watches.values():
            watch.give_up()
        self._closing = self._loop.create_task(self._channel.close())


def _check_base_alone(view: CatalogView | None) -> None:
    """Raises EngineError for what Triton's model of the index, which holds the base segment alone, cannot search."""
    if view is not None and not view.is_base_alone:
        raise EngineError("Triton searches a release as published: fresh and deleted products need engine = embedded")


async def _together(work: Sequence[Coroutine[Any, Any, _Result]]) -> list[_Result]:
    """All results in order; the first failure cancels the others."""
    if len(work) == 1:
        return [await work[0]]
    tasks = [asyncio.ensure_future(part) for part in work]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
