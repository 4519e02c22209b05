"""The row of the whole service: encode, exact search over all products, rescore 100, called over gRPC.

Several services, each a process with the models and the index on the same GPU, are called by as many clients at once,
each at its share of a rate. Rates rise until one fails the objective.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import faiss
import grpc
import numpy as np
import pyarrow as pa
import torch

from benchmarks.common import NO_CACHES, fixed_places, free_address
from benchmarks.gpu_rows.bench import Bench
from benchmarks.gpu_rows.models import folders
from benchmarks.gpu_rows.synthetic import texts_of
from catalog.product import CATALOG_SCHEMA
from catalog.tokens import OFFSETS_FILE, TOKENS_FILE, write_product_tokens
from core.errors import TandemError
from core.manifest import CatalogSnapshot, Manifest, ModelSet, catalog_id, model_id, release_id
from core.releases import ReleaseStore
from encoder.bi_encoder import BiEncoder
from engine.gpu.packed import PackedModel
from engine.half import read_half
from indexer.index_kinds import EXACT
from indexer.publish import COLUMNS_FILE, INDEX_FILE
from ranker.ranker import Ranker
from tandem.v1 import search_pb2, search_pb2_grpc

_DEPTH = 100
_P99_MS = 50.0
_DEADLINE = 0.5
_WORDS = (12, 28)  # of a product; 20 in the mean, as Home Depot's titles have tokens
_QUERY_WORDS = (2, 6)
_CHUNK = 1 << 16
_CHECKED = 5
_START_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Serving:
    """A service process, and the file that it logs to."""

    address: str
    process: subprocess.Popen[bytes]
    log: Path


def service(bench: Bench) -> dict[str, Any]:
    """The highest of `size.rates` with p99 within 50 ms, nothing refused and nothing cut short; and all rates.

    Raises TandemError where an answer differs from numpy's in single precision.
    """
    size = bench.size
    releases = bench.scratch / "releases"
    start = time.monotonic()
    pair_tokens = _publish(bench, releases)
    made = time.monotonic() - start
    queries = texts_of(size.shape, 2_000, _QUERY_WORDS, seed=1)
    with ExitStack() as stack:
        services = [stack.enter_context(_serving(bench, releases)) for _ in range(size.servers)]
        for one in services:
            _wait(one)
        addresses = [one.address for one in services]
        checked = _check(bench, releases, addresses[0], queries[:_CHECKED])
        rates = list(_rates(bench, addresses, queries))
    good = [rate for rate in rates if rate["holds"]]
    return {
        "highest_queries_per_s": good[-1]["answered_per_s"] if good else 0,
        "objective": f"p99 {_P99_MS:g} ms, all answered, none cut short",
        "products": size.products,
        "services": size.servers,
        "mean_pair_tokens": round(pair_tokens, 1),
        "release_seconds": round(made, 1),
        "least_similarity_overlap": checked,
        "rates": rates,
    }


def _publish(bench: Bench, releases: Path) -> float:
    """Makes the release; returns the mean tokens of a pair of a query and a product."""
    encoder, scorer = folders(bench)
    tower, ranker = BiEncoder.open(encoder), Ranker.open(scorer)
    texts = texts_of(bench.size.shape, bench.size.products, _WORDS)
    work = bench.scratch / "work"
    work.mkdir(parents=True, exist_ok=True)
    _write_columns(work / COLUMNS_FILE, texts)
    parts = [texts[start : start + _CHUNK] for start in range(0, len(texts), _CHUNK)]
    write_product_tokens(work, ranker.vocabulary_size, (ranker.tokenize_products(part) for part in parts))
    model = PackedModel.open(tower.model_path("item"), bench.device)
    index = faiss.IndexScalarQuantizer(tower.spec.dimensions, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    index.train(np.zeros((1, tower.spec.dimensions), np.float32))
    for part in parts:
        index.add(model.run(tower.tokenize_items(part)))
    faiss.write_index(index, str(work / INDEX_FILE))
    del model
    if bench.on_gpu:
        torch.cuda.empty_cache()
    store = ReleaseStore(releases)
    files = {f"encoder/{path.name}": store.add_copy(path) for path in tower.files()}
    files |= {f"ranker/{path.name}": store.add_copy(path) for path in ranker.files()}
    columns = {name: store.add(work / name) for name in (COLUMNS_FILE, INDEX_FILE, TOKENS_FILE, OFFSETS_FILE)}
    store.publish(_manifest(tower, ranker, files, columns, len(texts)))
    return float(np.mean(_WORDS) + np.mean(_QUERY_WORDS) + 3)


def _manifest(tower: BiEncoder, ranker: Ranker, models: Any, columns: Any, products: int) -> Manifest:
    created = datetime.now(UTC)
    model, catalog = model_id(models), catalog_id(columns[COLUMNS_FILE])
    index = {"kind": EXACT, "settings": {}, "dimensions": tower.spec.dimensions}
    encoder, scorer = tower.spec.model_dump(mode="json"), ranker.spec.model_dump(mode="json")
    return Manifest(
        release_id=release_id(created, model, catalog), created=created, tandem_version=_version(),
        catalog="measured", language="en", country=None, currency=None, inputs={},
        model=ModelSet(model_id=model, encoder=encoder, ranker=scorer, files=models),
        snapshot=CatalogSnapshot(catalog_id=catalog, products=products, cleaning={}, index=index, files=columns),
        validation={},
    )  # fmt: skip


def _version() -> str:
    try:
        return version("tandem-retrieval")
    except PackageNotFoundError:  # run from a folder, as on a machine that has no network
        return "not installed"


def _write_columns(path: Path, texts: list[str]) -> None:
    """Products of a title and an id."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, CATALOG_SCHEMA) as writer:
        for start in range(0, len(texts), 8_192):
            titles = texts[start : start + 8_192]
            known = {"id": pa.array([f"p{start + i}" for i in range(len(titles))]), "title": pa.array(titles)}
            arrays = [known.get(field.name, pa.nulls(len(titles), field.type)) for field in CATALOG_SCHEMA]
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=CATALOG_SCHEMA))


@contextmanager
def _serving(bench: Bench, releases: Path) -> Iterator[Serving]:
    address = free_address()
    log_file = bench.scratch / f"serve-{address.rpartition(':')[2]}.log"
    command = [sys.executable, "-m", "benchmarks.gpu_rows.serve_one", str(releases), address, bench.device]
    settings = fixed_places(256) | {"TANDEM_SERVE_PLAN__RERANK_DEPTH": str(_DEPTH)}
    threads = {"OMP_NUM_THREADS": "1"}  # the GPU works, not they
    with log_file.open("wb") as log:
        process = subprocess.Popen(command, env=os.environ | NO_CACHES | settings | threads, stderr=log)
    try:
        yield Serving(address, process, log_file)
    finally:
        process.terminate()
        process.wait(60)


def _wait(service: Serving) -> None:
    end = time.monotonic() + _START_SECONDS
    with grpc.insecure_channel(service.address) as channel:
        while time.monotonic() < end and service.process.poll() is None:
            try:
                return grpc.channel_ready_future(channel).result(timeout=1)
            except grpc.FutureTimeoutError:
                continue
    raise TandemError(f"a service did not start: {service.log.read_text('utf-8', 'replace')[-600:]}")


def _check(bench: Bench, releases: Path, address: str, queries: list[str]) -> float:
    """The least share of an answer's products that single precision and numpy have among their best as well."""
    store = ReleaseStore(releases)
    current = store.current("measured")
    assert current is not None
    folder = store.path("measured", current)
    tower = BiEncoder.open(folder / "encoder")
    vectors = PackedModel(*read_half(tower.model_path("query")), "cpu", torch.float32).run(
        tower.tokenize_queries(queries)
    )
    index = faiss.read_index(str(folder / INDEX_FILE))
    best = min(2 * _DEPTH, index.ntotal)
    rows = index.search(vectors, best)[1]
    shares = []
    with grpc.insecure_channel(address) as channel:
        stub = search_pb2_grpc.SearchServiceStub(channel)
        for query, known in zip(queries, rows, strict=True):
            answer = stub.Search(search_pb2.SearchRequest(query=query, top_k=10), timeout=30)
            if answer.degraded or len(answer.hits) != 10:
                raise TandemError(f"an answer of {len(answer.hits)} products is degraded: {answer.degraded}")
            names = {f"p{row}" for row in known}
            shares.append(float(np.mean([hit.product_id in names for hit in answer.hits])))
    if min(shares) < 0.9:
        raise TandemError(f"answers share {shares} of their products with exact search in single precision")
    return min(shares)


def _rates(bench: Bench, addresses: list[str], queries: list[str]) -> Iterator[dict[str, Any]]:
    """Each rate until two fail: one may be held up by chance."""
    failed = 0
    for rate in bench.size.rates:
        result = _offer(bench, addresses, queries, rate)
        yield result
        failed += not result["holds"]
        if failed == 2:
            return


def _offer(bench: Bench, addresses: list[str], queries: list[str], rate: int) -> dict[str, Any]:
    seconds = bench.size.load_seconds
    clients = []
    for number, address in enumerate(addresses):
        task = {
            "address": address, "rate": rate / len(addresses), "seconds": seconds, "warm": min(2.0, seconds),
            "seed": number, "deadline": _DEADLINE, "queries": queries,
        }  # fmt: skip
        command = [sys.executable, "-m", "benchmarks.gpu_rows.ask"]
        client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert client.stdin is not None
        client.stdin.write(json.dumps(task))
        client.stdin.close()
        clients.append(client)
    client_reports = []
    for client in clients:
        assert client.stdout is not None
        client_reports.append(json.loads(client.stdout.read()))
        client.wait(60)
    latencies = np.concatenate([np.array(one["latencies"], float) for one in client_reports]) * 1000
    late = np.concatenate([np.array(one["late"], float) for one in client_reports]) * 1000
    statuses = sum((Counter(one["statuses"]) for one in client_reports), Counter())
    degraded = sum((Counter(one["degraded"]) for one in client_reports), Counter())
    p50, p99 = (float(np.percentile(latencies, share)) if len(latencies) else float("inf") for share in (50, 99))
    return {
        "offered_per_s": rate,
        "answered_per_s": round(len(latencies) / seconds, 1),
        "p50_ms": round(p50, 2),
        "p99_ms": round(p99, 2),
        "client_late_p99_ms": round(float(np.percentile(late, 99)), 2) if len(late) else 0.0,
        "statuses": dict(statuses),
        "degraded": dict(degraded),
        "rescored_each": round(float(np.mean([one["rescored_each"] for one in client_reports])), 1),
        "holds": p99 <= _P99_MS and not degraded and set(statuses) == {"OK"},
    }
