"""A real Triton server: the same answers as in process, releases swapped, and every way in which it can fail."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import grpc
import numpy as np
import pytest
from shops import index, write_feed
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc as rpc

from core.releases import ReleaseStore
from encoder.bi_encoder import BiEncoder
from engine.protocol import DeadlineExceeded, Engine, Pair
from engine.triton.config import Layout
from engine.triton.repository import RESCORE, prepare
from indexer.models import ModelFolders
from lifecycle.triton_server import TritonServer, triton_server
from ranker.ranker import Ranker
from retrieval.release.engines import release_models, triton_engine
from retrieval.release.loaded import embedded_engine
from retrieval.server.main import run_server
from retrieval.server.settings import ServeSettings
from tandem.v1 import search_pb2, search_pb2_grpc

# The same code runs the same models; sums may be added up in another order.
TOLERANCE = 1e-4
QUERIES = ("red kettle", "boots for hiking", "lamp", "something to drill with in the garden", "green bed sheet")
DEADLINE = 2.0
SOON = 60.0
WHOLE: set[str] = set()
BY_WORDS = {"DENSE_FAILED"}


@pytest.fixture(scope="module")
def triton(triton_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    with triton_server(triton_folder, tmp_path_factory.mktemp("triton")) as server:
        yield server


def settings(store: ReleaseStore, triton: TritonServer, fallback: str = "lexical") -> ServeSettings:
    return ServeSettings(
        releases=store.root,
        address="127.0.0.1:0",
        poll_seconds=0.1,
        grace_seconds=5,
        engine="triton",
        triton_url=triton.address,
        triton_repository=triton.repository,
        fallback=fallback,  # type: ignore[arg-type]
        query_cache_bytes=0,  # what was answered before would be answered again, whatever became of Triton
        candidate_cache_bytes=0,
        score_cache_bytes=0,
    )


def loaded(triton: TritonServer) -> set[str]:
    """The releases whose models the server holds."""
    with grpc.insecure_channel(triton.address) as channel:
        stub = rpc.GRPCInferenceServiceStub(channel)
        index = stub.RepositoryIndex(pb.RepositoryIndexRequest(ready=True), timeout=10)
    return {model.name.rsplit(".", 2)[1] for model in index.models}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.05)


async def ask(address: str, query: str = "red kettle") -> search_pb2.SearchResponse:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = search_pb2_grpc.SearchServiceStub(channel)
        return await stub.Search(search_pb2.SearchRequest(query=query, top_k=10), timeout=DEADLINE)


def reasons(answer: search_pb2.SearchResponse) -> set[str]:
    name = search_pb2.DegradationReason.Name
    return {name(entry.reason).removeprefix("DEGRADATION_REASON_") for entry in answer.degraded}


async def answered(address: str, wanted: set[str]) -> search_pb2.SearchResponse:
    """Asks until an answer has these reasons; each answer on the way has hits, in time, or the call would raise."""
    async with asyncio.timeout(SOON):
        while True:
            answer = await ask(address)
            assert answer.hits
            if reasons(answer) == wanted:
                return answer
            await asyncio.sleep(0.02)


class Release:
    """The release in service of a store, and both engines of it."""

    def __init__(self, store: ReleaseStore, triton: TritonServer) -> None:
        current = store.current("default")
        assert current is not None
        self.id = current
        self.folder = store.path("default", current)
        self.manifest = store.manifest("default", current)
        self.tower, self.ranker = BiEncoder.open(self.folder / "encoder"), Ranker.open(self.folder / "ranker")
        parts = (self.folder, self.manifest, self.tower, self.ranker)
        self.embedded: Callable[[], Engine] = partial(embedded_engine, *parts)
        self.triton: Callable[[], Engine] = partial(triton_engine, settings(store, triton), *parts)

    def pairs(self, count: int) -> list[Pair]:
        texts = [f"product number {i} " + "and so on " * (i % 9) for i in range(count)]
        return [Pair(*packed) for packed in self.ranker.pack_pairs([("red kettle", text) for text in texts])]


async def test_answers_are_those_of_the_embedded_engine(indexed: ReleaseStore, triton: TritonServer) -> None:
    release = Release(indexed, triton)
    here, there = release.embedded(), await asyncio.to_thread(release.triton)
    try:
        tokens = release.tower.tokenize_queries(list(QUERIES) * 9)  # more than a batch
        vectors = await there.encode(tokens, None)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(vectors, await here.encode(tokens, None), atol=TOLERANCE)
        alone = np.concatenate([await there.encode([one], None) for one in tokens[:5]])
        np.testing.assert_allclose(alone, vectors[:5], atol=TOLERANCE)
        for k in (1, 7, 100):  # there are 30 products
            result, expected = [await e.retrieve(vectors, k, None) for e in (there, here)]
            for mine, theirs in zip(result, expected, strict=True):
                assert len(mine.rows) == min(k, 30) and mine.rows.dtype == np.int64
                np.testing.assert_allclose(mine.scores, theirs.scores, atol=TOLERANCE)
                assert mine.rows[0] == theirs.rows[0]
        rows = np.array([29, 0, 7], np.int64)
        given, expected_scores = [await engine.score_rows(vectors[0], rows, None) for engine in (there, here)]
        np.testing.assert_allclose(given, expected_scores, atol=TOLERANCE)
        pairs = release.pairs(45)
        logits, expected_logits = [await engine.rescore(pairs, None) for engine in (there, here)]
        assert logits.shape == (45,)
        np.testing.assert_allclose(logits, expected_logits, atol=TOLERANCE)
    finally:
        here.close()
        there.close()
    await until(lambda: not loaded(triton))


async def test_deadlines_and_cancellation_reach_the_server(indexed: ReleaseStore, triton: TritonServer) -> None:
    release = Release(indexed, triton)
    engine = await asyncio.to_thread(release.triton)
    name = release_models(release.folder, release.manifest).name(RESCORE)

    def scored() -> int:
        with grpc.insecure_channel(triton.address) as channel:
            stub = rpc.GRPCInferenceServiceStub(channel)
            reported = stub.ModelStatistics(pb.ModelStatisticsRequest(name=name), timeout=10)
        return reported.model_stats[0].inference_count

    pairs = release.pairs(1600)
    try:
        few = pairs[:16]
        await engine.rescore(few, None)
        before = await asyncio.to_thread(scored)
        loop = asyncio.get_running_loop()
        with pytest.raises(DeadlineExceeded):
            await engine.rescore(pairs, loop.time() + 0.1)
        task = asyncio.create_task(engine.rescore(pairs, None))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await engine.rescore(few, None)  # waits for what still runs
        assert await asyncio.to_thread(scored) - before < len(pairs)  # of twice as many that were sent
    finally:
        engine.close()
    await until(lambda: not loaded(triton))


async def test_releases_swap_under_load_and_old_models_unload(
    store: ReleaseStore, models: ModelFolders, triton: TritonServer, tmp_path: Path
) -> None:
    first = store.current("default")
    assert first is not None
    prefixes = {first: "a-"}
    answers: list[search_pb2.SearchResponse] = []
    stop = asyncio.Event()

    async def client(address: str, number: int) -> None:
        async with grpc.aio.insecure_channel(address) as channel:
            stub = search_pb2_grpc.SearchServiceStub(channel)
            while not stop.is_set():
                request = search_pb2.SearchRequest(query=QUERIES[(number + len(answers)) % len(QUERIES)], top_k=10)
                answers.append(await stub.Search(request, timeout=30))

    async with run_server(settings(store, triton)) as server:
        clients = [asyncio.create_task(client(server.address, number)) for number in range(4)]
        for prefix in ("b-", "c-"):
            outcome = await asyncio.to_thread(index, write_feed(tmp_path / "feed.jsonl", prefix), models, store)
            prefixes[outcome.manifest.release_id] = prefix
            async with asyncio.timeout(SOON):
                while answers[-1].release_id != outcome.manifest.release_id:
                    await asyncio.sleep(0.02)
        stop.set()
        await asyncio.gather(*clients)  # a failed call would raise here
        newest = list(prefixes)[-1]
        await until(lambda: loaded(triton) == {newest})
    assert {answer.release_id for answer in answers} == set(prefixes)
    for answer in answers:
        assert reasons(answer) == WHOLE
        assert {hit.product_id[:2] for hit in answer.hits} == {prefixes[answer.release_id]}
    await until(lambda: not loaded(triton))


async def test_models_stay_while_any_front_end_uses_them(indexed: ReleaseStore, triton: TritonServer) -> None:
    release = Release(indexed, triton)
    one, other = [await asyncio.to_thread(release.triton) for _ in range(2)]
    tokens = release.tower.tokenize_queries(["lamp"])
    await one.encode(tokens, None)
    one.close()
    expected = await other.encode(tokens, None)
    await asyncio.sleep(0.5)
    np.testing.assert_allclose(await other.encode(tokens, None), expected, atol=TOLERANCE)
    assert loaded(triton) == {release.id}
    other.close()
    await until(lambda: not loaded(triton))


async def test_answers_go_on_while_the_server_hangs_or_is_gone(
    indexed: ReleaseStore, triton_folder: Path, tmp_path: Path
) -> None:
    with triton_server(triton_folder, tmp_path) as triton:
        lexical, embedded = settings(indexed, triton), settings(indexed, triton, "embedded")
        async with run_server(lexical) as words, run_server(embedded) as models:
            whole = await answered(words.address, WHOLE)
            os.kill(triton.process.pid, signal.SIGSTOP)
            loop = asyncio.get_running_loop()
            began = loop.time()
            # All of these are sent before it is known: every one is answered, or the call would raise.
            asked = [ask(server.address) for server in (words, models) for _ in range(4)]
            for answer in await asyncio.gather(*asked):
                assert answer.hits and reasons(answer) & {"DENSE_FAILED", "RERANK_FAILED", "ENGINE_FALLBACK"}
            assert loop.time() - began < DEADLINE
            by_words = await answered(words.address, BY_WORDS)
            assert by_words.degraded[0].detail == "words alone answer: the bi-encoder failed"
            in_process = await answered(models.address, {"ENGINE_FALLBACK"})
            assert [hit.product_id for hit in in_process.hits] == [hit.product_id for hit in whole.hits]
            os.kill(triton.process.pid, signal.SIGCONT)
            for server in (words, models):
                await answered(server.address, WHOLE)
            triton.process.kill()
            triton.process.wait()
            await answered(words.address, BY_WORDS)
            await answered(models.address, {"ENGINE_FALLBACK"})
            port = int(triton.address.rpartition(":")[2])
            with triton_server(triton_folder, tmp_path, port):
                for server in (words, models):  # which load their models again
                    again = await answered(server.address, WHOLE)
                    assert [hit.product_id for hit in again.hits] == [hit.product_id for hit in whole.hits]


@pytest.mark.parametrize("backend", ["onnxruntime", "tensorrt"])
def test_models_for_the_official_image_parse(indexed: ReleaseStore, tmp_path: Path, backend: str) -> None:
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    current = indexed.current("default")
    assert current is not None
    models = release_models(indexed.path("default", current), indexed.manifest("default", current))
    written = prepare(models, tmp_path, Layout(backend=backend, index_device="gpu"))  # type: ignore[arg-type]
    assert sorted(written) == sorted(models.name(call) for call in models.calls)
    for call in models.calls:
        text = (tmp_path / models.name(call) / "config.pbtxt").read_text()
        config = text_format.Parse(text, model_config_pb2.ModelConfig())
        index = call == "retrieve"
        assert config.backend == ("python" if index else "onnxruntime")
        assert (tmp_path / models.name(call) / "1" / ("index.faiss" if index else "model.onnx")).is_file()
        accelerators = config.optimization.execution_accelerators.gpu_execution_accelerator
        assert [entry.name for entry in accelerators] == (["tensorrt"] if backend == "tensorrt" and not index else [])
