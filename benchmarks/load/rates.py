"""Offers rates to a service by the open-loop generator, and judges each."""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.common import cpu_seconds
from benchmarks.load.highest import Highest, Outcome, find_highest
from benchmarks.load.measured import LoadMeasures, measure
from benchmarks.load.open_loop import OpenLoop
from benchmarks.load.queries import QueryLog
from benchmarks.load.schedule import Arrivals, due_times
from benchmarks.load.slo import Slo, Verdict, judge, judge_overload
from tandem.v1 import search_pb2

_PAUSE = 0.5


@dataclass(frozen=True, slots=True)
class Offer:
    """How a rate is offered. `fill` calls are sent before the first run. A run takes at least `least_seconds` and
    `least_calls`, after `warm_seconds` that do not count; where the client sends more than `most_lag_ms` late (p99), it
    is no result about the service."""

    deadline: float = 1.0
    channels: int = 4
    arrivals: Arrivals = Arrivals.POISSON
    least_seconds: float = 20.0
    least_calls: int = 500
    warm_seconds: float = 3.0
    most_lag_ms: float = 20.0
    top_k: int = 10
    seed: int = 0
    fill: int = 0

    def seconds_at(self, rate: float) -> float:
        """How long a run at this rate is measured."""
        return max(self.least_seconds, self.least_calls / rate)


@dataclass(frozen=True, slots=True)
class Trial:
    """One rate offered. Processor time is in cores: of the client by itself, of the server where it is on this machine
    and known."""

    rate: float
    seconds: float
    measured: LoadMeasures
    verdict: Verdict
    valid: bool
    client_cores: float
    server_cores: float | None

    @property
    def outcome(self) -> Outcome:
        """The outcome at this rate."""
        if not self.valid:
            return Outcome.CLIENT_TOO_SLOW
        return Outcome.HOLDS if self.verdict.holds else Outcome.FAILS

    def as_json(self) -> dict[str, Any]:
        """The rate, the measures, and the verdict."""
        row = {"rate": round(self.rate, 2), "seconds": round(self.seconds, 1), "outcome": self.outcome}
        cores = {"client_cores": self.client_cores, "server_cores": self.server_cores}
        return row | cores | self.measured.as_json() | {"verdict": self.verdict.as_json()}


class Offers:
    """Trials against one service, kept in the order in which they ran."""

    def __init__(
        self,
        loop: OpenLoop,
        log: QueryLog,
        slo: Slo,
        offer: Offer,
        server: int | None = None,
        report: Callable[[Trial], None] = lambda _: None,
    ) -> None:
        """`server` is the service's process id; `report` is called with each trial."""
        self.trials: list[Trial] = []
        self._loop, self._log, self._slo, self._offer = loop, log, slo, offer
        self._server, self._report = server, report
        self._runs = 0
        self._requests = [
            search_pb2.SearchRequest(query=query, top_k=offer.top_k).SerializeToString() for query in log.queries
        ]

    async def fill(self, calls: int) -> None:
        """Sends so many calls as fast as the service answers a few at a time, as one that has run for a while."""
        await self._loop.fill(self._log.draw(calls, self._offer.seed), self._requests)

    async def highest(self, start: float, precision: float) -> Highest:
        """The highest rate at which the objectives hold."""

        async def outcome(rate: float) -> Outcome:
            trial = await self.at(rate)
            if not trial.valid:  # once more: on a busy machine a client is sometimes held up
                trial = await self.at(rate)
            return trial.outcome

        return await find_highest(outcome, start, precision)

    async def at(self, rate: float) -> Trial:
        """One rate against the objectives."""
        trial = await self._run(rate, lambda measures: judge(self._slo, measures))
        self.trials.append(trial)
        return trial

    async def beyond(self, highest: float) -> Trial:
        """More than the highest rate, against the objectives of overload, which must be set."""
        overload = self._slo.overload
        assert overload is not None
        return await self._run(overload.factor * highest, lambda measures: judge_overload(overload, highest, measures))

    async def _run(self, rate: float, verdict: Callable[[LoadMeasures], Verdict]) -> Trial:
        offer, seconds = self._offer, self._offer.seconds_at(rate)
        # Others each time: the same ones would be found in the service's caches.
        self._runs += 1
        due = due_times(rate, offer.warm_seconds + seconds, offer.arrivals, offer.seed + self._runs)
        queries = self._log.draw(len(due), offer.seed + self._runs)
        start, client, server = time.monotonic(), time.process_time(), self._server_time()
        calls = await self._loop.run(due, queries, self._requests)
        took = time.monotonic() - start
        counted = [call for call in calls if call.due >= offer.warm_seconds]
        cores = round((time.process_time() - client) / took, 3)
        theirs = None if server is None else round((cpu_seconds(self._server or 0) - server) / took, 3)
        measures = await asyncio.to_thread(measure, counted, self._log, seconds)
        trial = Trial(
            rate, seconds, measures, verdict(measures), measures.lag_p99_ms <= offer.most_lag_ms, cores, theirs
        )
        self._report(trial)
        await asyncio.sleep(_PAUSE)
        return trial

    def _server_time(self) -> float | None:
        return None if self._server is None else cpu_seconds(self._server)


def settings_in_force() -> dict[str, str]:
    """The service's settings given by the environment, for the record."""
    return {name: value for name, value in sorted(os.environ.items()) if name.startswith("TANDEM_SERVE_")}
