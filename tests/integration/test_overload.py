"""A real port, offered several times what can be answered: what is short is rescoring, so many pairs a second."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from doubles import make_release, rows_of
from services import Service
from torture import SEED, amount

from benchmarks.load.raw_load import RawLoad, Retries, Run
from benchmarks.load.schedule import Arrivals, due_times
from core.manifest import Manifest
from engine.fake import FakeEngine
from engine.protocol import Pair, Vectors
from retrieval.release.loaded import LoadedRelease
from tandem.v1 import search_pb2

SECONDS = amount(3, 20)
OBJECTIVE = 1.0
_PAIR_SECONDS = 0.002


class OneLane(FakeEngine):
    """Rescores one request after the other, in a time for each pair."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self._lane = asyncio.Lock()

    async def rescore(self, pairs: list[Pair], deadline: float | None) -> Vectors:  # type: ignore[override]
        async with self._lane:
            await asyncio.sleep(_PAIR_SECONDS * len(pairs))
        return await super().rescore(pairs, deadline)


class OneLaneService(Service):
    """A service whose release has that engine."""

    def open(self, path: Path, manifest: Manifest) -> LoadedRelease:
        folder = self._folder / manifest.release_id
        folder.mkdir()
        self.engine = OneLane(20)
        self.release = make_release(folder, rows_of(20), manifest=manifest, engine=self.engine)
        return self.release


def due(rate: float, seconds: float) -> np.ndarray:
    return due_times(rate, seconds, Arrivals.POISSON, SEED)


@pytest.mark.torture
async def test_an_overload_on_a_real_port_is_answered_refused_and_over(tmp_path: Path) -> None:
    """Sixteen pairs of 2 ms a request: some 30 a second in full quality, and all are answered at half of that."""
    messages = [search_pb2.SearchRequest(query=f"{number} shoes", top_k=5).SerializeToString() for number in range(9)]

    def offer(address: str) -> tuple[Run, Run, Run, Run]:
        load = RawLoad(address, messages, connections=2, deadline=3.0)
        full = load.closed(1, SECONDS)
        rate = full.goodput(OBJECTIVE)
        plain = load.open(due(8 * rate, SECONDS))
        retrying = load.open(due(8 * rate, SECONDS), Retries.CLIENT)
        calm = load.open(due(0.5 * rate, 2 * SECONDS))
        return full, plain, retrying, calm

    service = OneLaneService(tmp_path)
    settings = {"score_cache_bytes": 0, "latency_objective": OBJECTIVE, "max_in_flight": 12, "default_deadline": 3.0}
    settings["plan"] = {"rerank_depth": 16, "minimum_rerank": 4}
    async with service.serve(**settings) as (_, server):
        full, plain, retrying, calm = await asyncio.to_thread(offer, server.address)
    best, at_rest = full.goodput(OBJECTIVE), full.summary(OBJECTIVE)
    assert set(at_rest["codes"]) == {"OK"} and at_rest["gave_up"] == {}
    for run in (plain, retrying):
        seen = run.summary(OBJECTIVE)
        assert set(seen["codes"]) <= {"OK", "RESOURCE_EXHAUSTED"} and seen["retry_info_share"] in (1.0, None)
        assert seen["gave_up"]["RERANK_SHED"] > 0.3  # which makes room: more are answered than in full quality
        assert run.goodput(OBJECTIVE) > 1.2 * best
    assert retrying.summary(OBJECTIVE)["sent_per_call"] < 1.1
    late = calm.since(SECONDS)  # the overload is over for a while
    assert set(late.summary(OBJECTIVE)["codes"]) == {"OK"}
