"""Probes of recall."""

import asyncio
from typing import Any

import numpy as np
import pytest
from doubles import make_release

from catalog.selection import Selection
from engine.protocol import Candidates
from retrieval.pipeline.result import Lookup
from retrieval.release.loaded import LoadedRelease
from retrieval.telemetry.probe import RecallProbe, recall, selectivity


def candidates(*pairs: tuple[int, float]) -> Candidates:
    rows, scores = zip(*pairs, strict=True)
    return Candidates(np.array(rows), np.array(scores, np.float32))


EXACT = candidates((1, 0.9), (2, 0.8), (3, 0.7), (4, 0.6))


def test_recall_is_the_share_of_the_exact_products_among_as_many() -> None:
    assert recall(EXACT, EXACT) == 1
    assert recall(candidates((1, 0.9), (2, 0.8), (9, 0.5), (8, 0.4), (3, 0.7)), EXACT) == 0.5
    assert recall(candidates((1, 0.9)), EXACT) == 0.25


def test_a_product_that_scores_as_the_last_stands_for_it_and_a_higher_score_does_not() -> None:
    assert recall(candidates((1, 0.9), (2, 0.8), (3, 0.7), (7, 0.6)), EXACT) == 1
    assert recall(candidates((1, 0.9), (2, 0.8), (3, 0.7), (7, 0.95)), EXACT) == 0.75


@pytest.mark.parametrize(
    ("count", "name"),
    [(40, "10_to_100_percent"), (4, "10_to_100_percent"), (3, "1_to_10_percent"), (0, "under_1_percent")],
)
def test_classes_are_by_how_much_passes(release: LoadedRelease, count: int, name: str) -> None:
    mask = np.arange(40) < count
    assert selectivity(release.view, Selection(mask, count, "k")) == name
    assert selectivity(release.view, None) == "all"


class Probes:
    """A probe, and what it observed."""

    def __init__(self, **how: Any) -> None:
        self.seen: list[tuple[float, str, str]] = []
        self.counts: list[str] = []
        self.draws = how.pop("draws", [0.0])
        self.probe = RecallProbe(
            0.5, lambda *seen: self.seen.append(seen), self.counts.append, draw=lambda: self.draws.pop(0), **how
        )

    async def ended(self) -> None:
        async with asyncio.timeout(5):
            while self.probe._running is not None and not self.probe._running.done():
                await asyncio.sleep(0)


@pytest.fixture
def lookup(release: LoadedRelease) -> Lookup:
    """A search for product 5 that returned every second product."""
    rows = np.arange(5, 25, 2)
    return Lookup(np.array([5.0], np.float32), release.view, None, Candidates(rows, 1 - (rows - 5) * np.float32(0.01)))


async def test_a_search_that_is_drawn_is_compared(release: LoadedRelease, lookup: Lookup) -> None:
    probes = Probes(draws=[0.6, 0.4])
    probes.probe.consider(release, lookup)
    assert not probes.counts
    probes.probe.consider(release, lookup)
    await probes.ended()
    assert probes.seen == [(0.5, "shop", "all")] and probes.counts == ["done"]
    assert release.engine.calls == [("retrieve", 1)] and release._leases == 0  # type: ignore[attr-defined]


async def test_one_runs_at_a_time_and_none_under_pressure(release: LoadedRelease, lookup: Lookup) -> None:
    pressure = [0.0]
    probes = Probes(draws=[0.0] * 3, pressure=lambda: pressure[0])
    for _ in range(2):
        probes.probe.consider(release, lookup)
    await probes.ended()
    pressure[0] = 0.6
    probes.probe.consider(release, lookup)
    assert sorted(probes.counts) == ["busy", "done", "pressure"] and len(release.engine.calls) == 1  # type: ignore[attr-defined]


async def test_an_engine_that_fails_is_counted_and_holds_nothing(release: LoadedRelease, lookup: Lookup) -> None:
    release.engine.broken = {"retrieve"}  # type: ignore[attr-defined]
    probes = Probes()
    probes.probe.consider(release, lookup)
    await probes.ended()
    assert probes.counts == ["failed"] and not probes.seen and release._leases == 0


async def test_what_runs_ends_with_the_service(release: LoadedRelease, lookup: Lookup) -> None:
    release.engine.delays = {"retrieve": 60.0}  # type: ignore[attr-defined]
    probes = Probes()
    probes.probe.consider(release, lookup)
    await asyncio.sleep(0)
    await probes.probe.close()
    assert release._leases == 0 and not probes.counts


@pytest.fixture
def release(tmp_path: Any) -> LoadedRelease:
    return make_release(tmp_path)
