"""The record of a Locust run and its report. Independent of Locust, so that it can be tested without."""

import random
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.common import cpu_seconds, save
from benchmarks.load.measured import Call, LoadMeasures, measure, percentiles
from benchmarks.load.plots import plot
from benchmarks.load.queries import QueryLog, read_queries
from benchmarks.load.rates import settings_in_force
from benchmarks.load.report import Report, number, write_report
from benchmarks.load.slo import Verdict, judge, read_slo

HOLDS, REFUSED_EXIT, INVALID_EXIT = 0, 3, 4
_WINDOWS = 24
_BUSY_CORES = 0.9


@dataclass(frozen=True, slots=True)
class NamedOptions:
    """The options of a run, as they are recorded. Times are in seconds; `zipf` 0 takes the shares of the file."""

    queries: str
    objectives: str
    host: str
    split: str = "test"
    zipf: float = 0.0
    load_shape: str = "steady"
    num_users: int | None = 1
    run_time: int | None = None
    think_seconds: float = 1.0
    deadline: float = 1.0
    top_k: int = 10
    seed: int = 0
    output: str = "benchmarks/results"
    name: str = "load_locust"
    service_caches: str = "as the service is set"
    server_process: int = 0

    @classmethod
    def from_options(cls, options: Namespace) -> "NamedOptions":
        """Selects them from all of Locust's options."""
        return cls(**{field.name: getattr(options, field.name) for field in fields(cls)})


class LocustRun:
    """The calls of one run; `start` resets it."""

    def __init__(self, options: NamedOptions) -> None:
        """Raises TandemError when queries or objectives cannot be used."""
        self.options = options
        log = read_queries(Path(options.queries), options.split)
        self.log: QueryLog = log.skewed(options.zipf, options.seed) if options.zipf else log
        self._bounds = np.cumsum(self.log.shares)
        self._slo = read_slo(Path(options.objectives), bool(log.grades))
        self._shoppers = 0
        self.start()

    def start(self) -> None:
        """Discards earlier calls."""
        self._calls: list[Call] = []
        self.began = time.perf_counter()
        self._client = time.process_time()
        self._server = self._server_time()
        self.stop()

    def stop(self) -> None:
        """Ends the measurement, once the shoppers have stopped."""
        self._seconds = max(time.perf_counter() - self.began, 1e-9)
        self._client_used = time.process_time() - self._client
        now = self._server_time()
        self._server_used = None if now is None or self._server is None else now - self._server

    def next_seed(self) -> int:
        """Another for each shopper, the same ones in every run."""
        self._shoppers += 1
        return self.options.seed * 1_000_003 + self._shoppers

    def draw(self, source: random.Random) -> int:
        """The place of a query, drawn by its share."""
        return min(int(np.searchsorted(self._bounds, source.random(), "right")), len(self.log.queries) - 1)

    def take(self, call: Call) -> None:
        """Records one call."""
        self._calls.append(call)

    def finish(self) -> int:
        """Judges, writes JSON and HTML, prints the results; returns the exit status."""
        seconds, server = self._seconds, self._server_used
        client = round(self._client_used / seconds, 3)
        cores = {"client_cores": client, "server_cores": None if server is None else round(server / seconds, 3)}
        measures = measure(self._calls, self.log, seconds)
        verdict = judge(self._slo, measures)
        valid = client < _BUSY_CORES  # one process: with more, shoppers wait for each other
        self._keep(measures, verdict, valid, cores, seconds)
        return INVALID_EXIT if not valid else HOLDS if verdict.holds else REFUSED_EXIT

    def _keep(
        self, measures: LoadMeasures, verdict: Verdict, valid: bool, cores: dict[str, float | None], seconds: float
    ) -> None:
        options = self.options
        windows = windowed(self._calls, self.log, seconds)
        parameters = asdict(options) | {"queries": Path(options.queries).name, "service_settings": settings_in_force()}
        parameters |= {"objectives": self._slo.model_dump(), "different_queries": len(self.log.queries)}
        for name in ("output", "host", "server_process"):
            del parameters[name]
        results = {"valid": valid, **cores, **measures.as_json(), "verdict": verdict.as_json(), "windows": windows}
        summary = _summary(verdict, valid)
        plots = {
            "Latency over time": plot(windows, "second", "seconds since the start", self._slo),
            "Latency against rate": plot(windows, "offered_per_s", "calls a second, by window", self._slo),
        }
        folder, page = Path(options.output), f"{options.name}_requests.html"
        report = Report(
            f"Load test, shoppers, {options.load_shape}",
            summary,
            valid and verdict.holds,
            parameters,
            {"The whole run": verdict},
            plots,
            windows,
            {"Locust's own report": page},
        )
        path = save(options.name, parameters, results, folder)
        console = Console(soft_wrap=True, highlight=False)
        for finding in verdict.findings:
            console.print(f"{finding.name}: {number(finding.seen)}, limit {number(finding.limit)}")
        console.print(f"client {cores['client_cores']} cores, server {number(cores['server_cores'])}")
        console.print(f"{summary} {path} {write_report(report, folder / f'{options.name}.html')}")

    def _server_time(self) -> float | None:
        return cpu_seconds(self.options.server_process) if self.options.server_process else None


def windowed(calls: Sequence[Call], log: QueryLog, seconds: float, windows: int = _WINDOWS) -> list[dict[str, Any]]:
    """The run cut into equal parts by when calls were sent: rate, latency, errors and nDCG@10 of each."""
    width = seconds / windows
    rows = []
    for i in range(windows):
        part = [call for call in calls if i * width <= call.sent < (i + 1) * width]
        if part:
            measures = measure(part, log, width)
            row = {"second": round((i + 0.5) * width, 1), "offered_per_s": measures.offered_per_s, **percentiles(part)}
            rows.append(
                row
                | {
                    "error_share": measures.error_share,
                    "degraded_share": measures.degraded_share,
                    "ndcg": measures.ndcg,
                }
            )
    return rows


def _summary(verdict: Verdict, valid: bool) -> str:
    if not valid:
        return "The client was too busy to measure: use fewer users, or more think time."
    return "The objectives hold." if verdict.holds else "The objectives do not hold."
