"""Probes of recall: a share of real searches is searched again exactly, and the lists are compared.

One probe runs at a time, as bulk work of the engine, which waits for all calls with a deadline; none starts while the
service is more than half full.
"""

import asyncio
import logging
import random
from collections.abc import Callable

import numpy as np

from catalog.selection import Selection
from catalog.view import CatalogView
from engine.protocol import Candidates, DeadlineExceeded, EngineError
from retrieval.pipeline.result import Lookup
from retrieval.release.loaded import LoadedRelease

log = logging.getLogger("tandem.probe")

DEPTH = 10
"""The products that are compared: recall at ten."""
_MOST_PRESSURE = 0.5
# Half-precision vectors summed in another order: scores so near are equal.
_TOLERANCE = 1e-4
SELECTIVITIES = ("all", "10_to_100_percent", "1_to_10_percent", "under_1_percent")


class RecallProbe:
    """Probes the searches of a process. For use from one event loop."""

    def __init__(
        self,
        share: float,
        observe: Callable[[float, str, str], None],
        count: Callable[[str], None],
        pressure: Callable[[], float] = lambda: 0.0,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """`share` of the searches is probed. `observe` gets each recall with its catalog and selectivity, and `count`
        what came of each search that was drawn: done, busy, pressure or failed."""
        self._share = share
        self._observe = observe
        self._count = count
        self._pressure = pressure
        self._draw = draw
        self._running: asyncio.Task[None] | None = None

    def consider(self, release: LoadedRelease, lookup: Lookup | None) -> None:
        """Probes a search, perhaps, once it is answered."""
        if lookup is None or self._draw() >= self._share:
            return
        if self._running is not None and not self._running.done():
            self._count("busy")
        elif self._pressure() > _MOST_PRESSURE:
            self._count("pressure")
        else:
            self._running = asyncio.get_running_loop().create_task(self._probe(release, lookup))

    async def close(self) -> None:
        """Ends the probe that runs."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _probe(self, release: LoadedRelease, lookup: Lookup) -> None:
        with release.lease():
            try:
                depth = min(DEPTH, len(lookup.view) if lookup.selection is None else lookup.selection.count)
                [exact] = await release.engine.retrieve(
                    lookup.vector[None], depth, None, lookup.view, lookup.selection, exact=True
                )
            except (EngineError, DeadlineExceeded) as error:
                log.debug("a probe failed: %s", error)
                self._count("failed")
                return
        if len(exact.rows):
            self._observe(
                recall(lookup.candidates, exact), release.manifest.catalog, selectivity(lookup.view, lookup.selection)
            )
        self._count("done")


def recall(candidates: Candidates, exact: Candidates) -> float:
    """The share of the exact products, r of them and at least one, that the first r candidates hold. A product that
    scores as the last of the exact ones stands for it: which of equals comes first is chance."""
    wanted = len(exact.rows)
    rows, scores = candidates.rows[:wanted], candidates.scores[:wanted]
    good = np.isin(rows, exact.rows) | (np.abs(scores - exact.scores[-1]) <= _TOLERANCE)
    return np.count_nonzero(good) / wanted


def selectivity(view: CatalogView, selection: Selection | None) -> str:
    """The class of a search by how much of the catalog its filter lets pass."""
    if selection is None or not len(view):
        return SELECTIVITIES[0]
    share = selection.count / len(view)
    return SELECTIVITIES[1 if share >= 0.1 else 2 if share >= 0.01 else 3]
