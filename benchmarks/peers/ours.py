"""Tandem as it is used: `tandem serve` in a separate process, called over gRPC."""

import asyncio
import itertools
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from benchmarks.common import NO_CACHES, cpu_seconds, free_address, serving
from benchmarks.embedding import by_tandem, rates
from benchmarks.peers.programs.loop import KEPT, WARM_SECONDS, Task
from benchmarks.shop import BenchShop
from core.errors import TandemError
from core.manifest import Manifest
from indexer.build import IndexSettings
from indexer.index_kinds import EXACT
from indexer.inputs import IndexOptions
from indexer.models import ModelFolders
from ranker.ranker import SPEC_FILE, Ranker
from tandem.v1 import search_pb2, search_pb2_grpc

SAME, SERVED, APPROXIMATE = "tandem, same weights", "tandem, as served", "tandem, approximate index"
_DEADLINE = 30.0
_HELD_OUT = 256  # queries by which an approximate index is chosen
EXACTLY = IndexSettings(kind=EXACT)
_PLAN = "TANDEM_SERVE_PLAN__"
_DEPTH = f"{_PLAN}RERANK_DEPTH"


@dataclass(frozen=True, slots=True)
class Variant:
    """A row of the table: a model set, how its index is chosen, and for each depth the service's settings."""

    name: str
    models: ModelFolders
    plans: dict[int, dict[str, str]]
    index: IndexSettings = EXACTLY


def variants(
    models: ModelFolders, served: ModelFolders, plan: Mapping[str, str], small: Path | None, depth: int
) -> list[Variant]:
    """The same weights as the peers', without changes; the served models, by `plan`, if they differ; and an
    approximate index with the towers of folder `small`, by default those served."""
    same = {each: {f"{_PLAN}LEXICAL_CANDIDATES": "0", _DEPTH: str(each)} for each in (depth, 0)}
    rows = [Variant(SAME, models, same)]
    if served != models or plan:
        settings = {f"{_PLAN}{key.upper()}": value for key, value in plan.items()}
        rows.append(Variant(SERVED, served, {depth: {_DEPTH: str(depth), **settings}}))
    towers = ModelFolders(small or served.encoder, None)
    approximate = IndexSettings(exact_budget_ms=0)
    return [*rows, Variant(APPROXIMATE, towers, {0: same[0]}, approximate)]


def copy_without_mixing(ranker: Path, target: Path) -> Path:
    """The same cross-encoder in folder `target`, ordering what it rescores without retrieval's order, as peers do."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(ranker, target, ignore=shutil.ignore_patterns("checkpoint"))
    spec = Ranker.open(target).spec
    (target / SPEC_FILE).write_text(spec.model_copy(update={"format": 2, "mix": 1.0}).model_dump_json(indent=2))
    return target


def publish(shop: BenchShop, variant: Variant) -> tuple[Manifest, float | None]:
    """The release of a row, served by the next service, and how many seconds the index job took; None unless it had
    all products to embed."""
    start = time.monotonic()
    options = IndexOptions(index=variant.index, queries=dict.fromkeys(shop.questions.held_out[:_HELD_OUT], 1))
    outcome = shop.index(variant.models, options)
    whole = outcome.embedded == outcome.manifest.snapshot.products
    return outcome.manifest, round(time.monotonic() - start, 1) if whole else None


def measure(shop: BenchShop, variant: Variant, task: Task, log: Path, ready: float | None = None) -> dict[str, Any]:
    """The report of `programs.loop.measure`, with product ids. The service logs to `log`.

    `ready` is how long `publish` took before, if it did the work.
    """
    manifest, took = publish(shop, variant)
    report = manifest.snapshot.index
    runs, answers, peak = [], {}, 0.0
    for depth, plan in variant.plans.items():
        address = free_address()
        with serving(shop.store.root, address, {**NO_CACHES, **plan}, log) as pid:
            runner = _QueryRunner(address, task, depth, pid)
            runs += [asyncio.run(runner.run_clients(clients)) for clients in task.clients]
            answers[str(depth)] = asyncio.run(runner.answers())
            peak = max(peak, peak_mib(pid))
    texts = [task.texts[row] for row in task.sample]
    rate = rates({"tandem": by_tandem(variant.models.encoder)}, texts, task.rounds)["tandem"]
    return {
        "embedding": {"products_per_s": rate},
        "ready_seconds": took or ready,
        "index": {"kind": report["kind"], "recall_at_100": report["recall_at_100"]},
        "runs": runs,
        "answers": answers,
        "peak_mib": peak,
    }


def peak_mib(pid: int) -> float:
    """The most memory a process had at any time."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024, 1)


class _QueryRunner:
    """Sends queries to a service at one depth and keeps its answers; see `programs.loop.QueryRunner`."""

    def __init__(self, address: str, task: Task, depth: int, pid: int) -> None:
        self._address, self._task, self._depth, self._pid = address, task, depth, pid
        self._answers: dict[int, list[str]] = {}

    async def run_clients(self, clients: int) -> dict[str, Any]:
        """See `programs.loop.QueryRunner.run_clients`; the client's processor time is separate."""
        await self._ask(clients, WARM_SECONDS)
        server, client, start = cpu_seconds(self._pid), time.process_time(), time.monotonic()
        times = await self._ask(clients, self._task.seconds)
        return {
            "depth": self._depth,
            "clients": clients,
            "seconds": round(time.monotonic() - start, 3),
            "processor_seconds": round(cpu_seconds(self._pid) - server, 3),
            "client_processor_seconds": round(time.process_time() - client, 3),
            "times_ms": times,
        }

    async def answers(self) -> list[list[str]]:
        """See `programs.loop.QueryRunner.answers`."""
        left = iter([number for number in range(self._task.answered) if number not in self._answers])

        async def client(stub: search_pb2_grpc.SearchServiceStub) -> None:
            for number in left:
                await self._answer(stub, number)

        await self._together(client, max(self._task.clients))
        return [self._answers[number] for number in range(self._task.answered)]

    async def _ask(self, clients: int, seconds: float) -> list[float]:
        numbers, times = itertools.count(), list[float]()
        until = time.monotonic() + seconds

        async def client(stub: search_pb2_grpc.SearchServiceStub) -> None:
            while (begun := time.monotonic()) < until:
                await self._answer(stub, next(numbers) % len(self._task.queries))
                times.append(round((time.monotonic() - begun) * 1000, 3))

        await self._together(client, clients)
        return times

    async def _together(self, client: Any, clients: int) -> None:
        async with grpc.aio.insecure_channel(self._address) as channel:
            stub = search_pb2_grpc.SearchServiceStub(channel)
            await asyncio.gather(*(client(stub) for _ in range(clients)))

    async def _answer(self, stub: search_pb2_grpc.SearchServiceStub, number: int) -> None:
        request = search_pb2.SearchRequest(query=self._task.queries[number], top_k=KEPT)
        answer = await stub.Search(request, timeout=_DEADLINE)
        if answer.degraded:
            raise TandemError(f"an answer was degraded: {answer.degraded[0].detail}")
        self._answers[number] = [hit.product_id for hit in answer.hits]
