"""The Triton engine beside the embedded one, in one run, as ratios: the whole path, and encoding alone.

    python -m benchmarks.triton --releases DIR --judgments FILE [--seconds 15] [--in-flight 32] [--rounds 2]

The whole path is `tandem serve` in a separate process, called over gRPC; encoding is one query a call, from this
process. So many calls are in flight at all times (closed loop). The engines take turns, since a machine's pace changes.
"""

import argparse
import asyncio
import itertools
import os
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.common import cpu_seconds, fixed_places, latencies, save, serving
from core.errors import TandemError
from core.manifest import Manifest
from core.releases import ReleaseStore
from encoder.bi_encoder import BiEncoder
from engine.protocol import Engine
from engine.triton.config import ENCODE_ROWS, RESCORE_ROWS, RETRIEVE_ROWS, Layout
from engine.triton.repository import prepare
from evaluation.judgments import load_judgments
from lifecycle.triton_server import FOLDER, WHEEL, TritonServer, install, triton_server
from ranker.ranker import Ranker
from retrieval.release.engines import engine_maker, release_models, repository_of
from retrieval.server.settings import ServeSettings
from tandem.v1 import search_pb2, search_pb2_grpc

_DEADLINE = 20.0
_WARM_SECONDS = 2.0
_ENGINES = ("embedded", "triton")

CallFunction = Callable[[int], Awaitable[bool]]


@dataclass(slots=True)
class Turn:
    """One turn: seconds measured, each call's seconds in them, how many answers were degraded.

    `processor` is the processor time of all `calls`, including those before and after the measurement.
    """

    seconds: float
    times: list[float] = field(default_factory=list)
    degraded: int = 0
    calls: int = 0
    processor: float = 0.0


def main() -> None:
    """Measures both engines in turn, prints a table and saves the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--releases", type=Path, default=Path("releases"))
    parser.add_argument("--catalog", help="default: the only one")
    parser.add_argument("--judgments", type=Path, required=True, help="whose test queries are sent")
    parser.add_argument("--server", type=Path, default=FOLDER, help="folder of the Triton server")
    parser.add_argument("--seconds", type=float, default=15.0, help="of measuring, each time")
    parser.add_argument("--in-flight", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--encode-instances", type=int, default=1)
    parser.add_argument("--rescore-instances", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--port", type=int, default=50062)
    parser.add_argument("--name", default="triton", help="of the results file")
    options = parser.parse_args()
    store = ReleaseStore(options.releases)
    catalog = store.named(options.catalog)
    current = store.current(catalog)
    assert current is not None, "a catalog without a release is not among the store's catalogs"
    manifest = store.manifest(catalog, current)
    table = load_judgments(options.judgments)
    rows = zip(table["query"].to_pylist(), table["split"].to_pylist(), strict=True)
    queries = list(dict.fromkeys(query for query, split in rows if split == "test"))
    install(options.server)
    results = _measure(options, store, manifest, queries)
    parameters = {
        "release": manifest.release_id,
        "products": manifest.snapshot.products,
        "queries": len(queries),
        "in_flight": options.in_flight,
        "seconds": options.seconds,
        "rounds": options.rounds,
        "server": WHEEL,
        "instances": {"encode": options.encode_instances, "retrieve": 1, "rescore": options.rescore_instances},
        "largest_batches": {"encode": ENCODE_ROWS, "retrieve": RETRIEVE_ROWS, "rescore": RESCORE_ROWS},
        "busy_before": round(os.getloadavg()[0], 2),
    }
    _print(results)
    Console().print(f"saved {save(options.name, parameters, results)}")


def _measure(
    options: argparse.Namespace, store: ReleaseStore, manifest: Manifest, queries: list[str]
) -> dict[str, dict[str, Any]]:
    settings = ServeSettings(releases=options.releases)
    layout = Layout(encode_instances=options.encode_instances, rescore_instances=options.rescore_instances)
    repository = repository_of(settings).with_name(f"triton-{options.name}")
    prepare(release_models(store.path(manifest.catalog, manifest.release_id), manifest), repository, layout)
    rounds_by_row: dict[tuple[str, str], list[Turn]] = defaultdict(list)
    with triton_server(options.server, repository) as server:
        for _, engine in itertools.product(range(options.rounds), _ENGINES):
            chosen = _settings(settings, engine, server)
            rounds_by_row["whole path", engine].append(_whole_path(options, queries, chosen, server))
            rounds_by_row["encode", engine].append(_encode(options, store, manifest, queries, chosen, server))
    rows = {what: {engine: _row(rounds_by_row[what, engine]) for engine in _ENGINES} for what, _ in rounds_by_row}
    return {what: {**row, "triton_to_embedded": _ratios(row)} for what, row in rows.items()}


def _row(rounds: list[Turn]) -> dict[str, Any]:
    times = list(itertools.chain.from_iterable(each.times for each in rounds))
    return {
        "per_s": round(len(times) / sum(each.seconds for each in rounds), 1),
        **latencies(times),
        "processor_ms_each": round(
            1000 * sum(each.processor for each in rounds) / sum(each.calls for each in rounds), 2
        ),
        "degraded": sum(each.degraded for each in rounds),
        "answers_each_round": [len(each.times) for each in rounds],
    }


def _ratios(row: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Above 1 where Triton answers more; by the processor's time, as on a machine that does nothing else."""
    triton, embedded = row["triton"], row["embedded"]
    return {
        "per_s": round(triton["per_s"] / embedded["per_s"], 3),
        "per_processor_s": round(embedded["processor_ms_each"] / triton["processor_ms_each"], 3),
    }


def _settings(settings: ServeSettings, engine: str, server: TritonServer) -> ServeSettings:
    changes = {"engine": engine, "triton_url": server.address, "triton_repository": server.repository}
    return settings.model_copy(update=changes)


def _whole_path(options: argparse.Namespace, queries: list[str], settings: ServeSettings, server: TritonServer) -> Turn:
    address = f"127.0.0.1:{options.port}"
    names = ("engine", "triton_url", "triton_repository")
    environment = {f"TANDEM_SERVE_{name.upper()}": str(getattr(settings, name)) for name in names}
    environment |= fixed_places(options.in_flight)  # none is refused

    async def run(pids: list[int]) -> Turn:
        async with grpc.aio.insecure_channel(address) as channel:
            stub = search_pb2_grpc.SearchServiceStub(channel)

            async def ask(number: int) -> bool:
                request = search_pb2.SearchRequest(query=queries[number % len(queries)], top_k=10)
                return bool((await stub.Search(request, timeout=_DEADLINE)).degraded)

            return await _closed_loop(ask, options, pids)

    with serving(options.releases, address, environment) as pid:
        return asyncio.run(run([pid, server.process.pid]))


def _encode(
    options: argparse.Namespace,
    store: ReleaseStore,
    manifest: Manifest,
    queries: list[str],
    settings: ServeSettings,
    server: TritonServer,
) -> Turn:
    folder = store.path(manifest.catalog, manifest.release_id)
    tower = BiEncoder.open(folder / "encoder")
    ranker = Ranker.open(folder / "ranker") if manifest.model.ranker is not None else None
    tokens = tower.tokenize_queries(queries)

    async def run(engine: Engine) -> Turn:
        loop = asyncio.get_running_loop()

        async def ask(number: int) -> bool:
            vectors = await engine.encode([tokens[number % len(tokens)]], loop.time() + _DEADLINE)
            assert vectors.shape[0] == 1 and np.isfinite(vectors).all()
            return False

        return await _closed_loop(ask, options, [os.getpid()])  # the server is a child of this process

    engine = engine_maker(settings)(folder, manifest, tower, ranker)
    try:
        return asyncio.run(run(engine))
    finally:
        engine.close()


async def _closed_loop(ask: CallFunction, options: argparse.Namespace, pids: list[int]) -> Turn:
    """Sends queries from so many tasks; the first calls, while everything warms up, do not count."""
    begin = time.monotonic() + _WARM_SECONDS
    end = begin + options.seconds
    numbers = itertools.count()
    measured = Turn(options.seconds)
    before = sum(map(cpu_seconds, pids))

    async def client() -> None:
        while (start := time.monotonic()) < end:
            cut = await ask(next(numbers))
            if begin <= start and time.monotonic() <= end:
                measured.times.append(time.monotonic() - start)
                measured.degraded += cut

    await asyncio.gather(*(client() for _ in range(options.in_flight)))
    measured.calls = next(numbers)
    measured.processor = sum(map(cpu_seconds, pids)) - before
    return measured


def _print(results: dict[str, dict[str, Any]]) -> None:
    table = Table("", "engine", "a second", "p50 ms", "p95 ms", "p99 ms", "processor ms", "degraded")
    for what, row in results.items():
        for engine in _ENGINES:
            result = row[engine]
            figures = (f"{result[key]:.1f}" for key in ("per_s", "p50_ms", "p95_ms", "p99_ms", "processor_ms_each"))
            table.add_row(what, engine, *figures, str(result["degraded"]))
    console = Console()
    console.print(table)
    for what, row in results.items():
        ratios = row["triton_to_embedded"]
        per_s, per_processor_s = ratios["per_s"], ratios["per_processor_s"]
        console.print(f"{what}: Triton answers {per_s} times as many; {per_processor_s} for the same processor time")


if __name__ == "__main__":
    try:
        main()
    except TandemError as error:
        sys.exit(f"tandem: {error}")
