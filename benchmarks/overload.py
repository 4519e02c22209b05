"""Whether answers keep coming in good time when up to ten times as many calls arrive as can be answered.

    python -m benchmarks.overload --releases releases --queries judgments.parquet [--seconds 10]

The service runs in a process of its own, without caches. A client of hand-made frames, light enough to share the
machine, keeps all places busy at first and at the end: so many answers come at best, with all the quality given up that
can be. Multiples of that are offered, each call once; by a client that sends refused calls again within its budget, as
`SearchClient` does; and by one without a budget. Then come: half as much again as is answered in full quality; an
overload that ends; processes that take the cores; and deadlines from 1 to 500 ms.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.common import NO_CACHES, RESULTS, free_address, save, serving
from benchmarks.load.queries import read_queries
from benchmarks.load.raw_load import LATE, OK, REFUSED, RawLoad, Retries, Run
from benchmarks.load.schedule import Arrivals, due_times
from core.errors import TandemError
from tandem.v1 import search_pb2

_PLACES_A_CORE = 6
_WIDTH = 150
_REST_SECONDS = 10.0
_GRACE = 0.010  # after a deadline, for its answer to arrive


def main() -> None:
    """Measures, prints a table and saves the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--releases", type=Path, default=Path("releases"))
    parser.add_argument("--queries", type=Path, default=Path("releases/sample/judgments.parquet"))
    parser.add_argument("--rerank", type=int, help="candidates to rescore; unless set, as many as the release does")
    parser.add_argument("--factors", type=float, nargs="*", default=[1, 2, 5, 10], help="of what is answered at best")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each run")
    parser.add_argument("--settle", type=float, default=3.0, help="seconds before figures count")
    parser.add_argument("--objective", type=float, default=0.6, help="for 99 of 100 answers, in seconds")
    parser.add_argument("--deadline", type=float, default=1.0, help="of each call, in seconds")
    parser.add_argument("--calls", type=int, default=50_000, help="with deadlines from 1 to 500 ms; 0 for none")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    queries = read_queries(options.queries).queries
    messages = [search_pb2.SearchRequest(query=query, top_k=10).SerializeToString() for query in queries]
    address = free_address()
    environment = {**NO_CACHES, "TANDEM_SERVE_LATENCY_OBJECTIVE": str(options.objective)}
    if options.rerank is not None:
        environment["TANDEM_SERVE_PLAN__RERANK_DEPTH"] = str(options.rerank)
    busy_before = round(os.getloadavg()[0], 2)
    with serving(options.releases, address, environment):
        results = _Overload(options, RawLoad(address, messages, options.connections, options.deadline)).measure()
    _print(results)
    names = ("rerank", "seconds", "settle", "objective", "deadline", "calls", "connections")
    parameters = {name: getattr(options, name) for name in names}
    parameters |= {"queries": len(queries), "busy_before": busy_before}
    print(save("overload", parameters, results, options.output))


class _Overload:
    """The runs against one service."""

    def __init__(self, options: argparse.Namespace, load: RawLoad) -> None:
        self._options, self._load = options, load
        self._rows: dict[str, Any] = {}
        self._best = self._full = 0.0

    def measure(self) -> dict[str, Any]:
        """All runs, and what of the best rate each answered."""
        options, cores = self._options, len(os.sched_getaffinity(0))
        places = _PLACES_A_CORE * cores
        self._load.closed(places, 2.0)  # warms the service
        self._rest()
        self._full = self._note("in full quality", self._load.closed(cores, options.seconds))
        self._best = self._note("at best", self._load.closed(places, options.seconds))
        for factor in options.factors:
            for retries in (Retries.NEVER, Retries.CLIENT, Retries.ALWAYS):
                name = f"{factor:g} times" + ("" if retries is Retries.NEVER else f", retries: {retries}")
                self._note(name, self._load.open(self._due(factor * self._best, options.seconds), retries))
        self._rest()
        self._note("1.5 times full quality", self._load.open(self._due(1.5 * self._full, options.seconds)))
        self._note("at best, again", self._load.closed(places, options.seconds))  # shared machines change their pace
        rows = self._rows
        peak = max((self._best + rows["at best, again"]["answered_per_s"]) / 2, 0.001)
        for row in rows.values():
            row["of_best"] = round(row["answered_per_s"] / peak, 3)
        results = {"loads": rows, "recovery": self._recover(10 * peak), "neighbour": self._share_the_cores(2 * peak)}
        if options.calls:
            self._rest()
            results["deadlines"] = self._by_deadlines()
        return results

    def _note(self, name: str, run: Run) -> float:
        """Adds a row, and returns the answers a second once the service had settled."""
        settled = run.since(min(self._options.settle, run.seconds / 2))
        whole = run.summary(self._options.objective)
        row = settled.summary(self._options.objective)
        self._rows[name] = row | {"p99_ms_from_the_start": whole.get("p99_ms")}
        return row["answered_per_s"]

    def _rest(self) -> None:
        """Little load, until the service gives up nothing any more."""
        self._load.closed(1, _REST_SECONDS)

    def _due(self, rate: float, seconds: float, seed: int = 0) -> Any:
        return due_times(rate, seconds, Arrivals.POISSON, seed)

    def _recover(self, rate: float) -> dict[str, Any]:
        """An overload, and then less than is answered in full quality: after how long all is answered in good time."""
        long, after, objective = self._options.seconds, 10.0, self._options.objective
        due = np.concatenate([self._due(rate, long), long + self._due(0.7 * self._full, after, 1)])
        run = self._load.open(due)
        late = [
            call.due - long
            for call in run.calls
            if call.due >= long and not (call.code == OK and call.seconds <= objective)
        ]
        calm = run.since(long + 5, long + after).summary(objective)
        return {"recovered_after_s": round(max(late, default=0.0), 2), "from_5_s_on": calm}

    def _share_the_cores(self, rate: float) -> dict[str, Any]:
        """As many processes as cores that only compute come, and go."""
        long = 2 * self._options.seconds
        burners: list[subprocess.Popen] = []

        def come() -> None:
            burners.extend(
                subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in os.sched_getaffinity(0)
            )

        def go() -> None:
            for burner in burners:
                burner.kill()
                burner.wait()
            burners.clear()

        try:
            run = self._load.open(self._due(rate, 3 * long), events=[(long, come), (2 * long, go)])
        finally:
            go()
        parts = {"before": 0.0, "beside": long, "after": 2 * long}
        return {name: self._settled(run, start, start + long) for name, start in parts.items()}

    def _settled(self, run: Run, start: float, end: float) -> dict[str, Any]:
        """The second half of a part; `in_flight` are the calls at work on average, by Little's law."""
        part = run.since((start + end) / 2, end)
        row = part.summary(self._options.objective)
        seconds = sum(call.seconds for call in part.calls if call.code == OK)
        return row | {"in_flight": round(seconds / part.seconds, 1)}

    def _by_deadlines(self) -> dict[str, Any]:
        """Calls with deadlines from 1 to 500 ms, as many a second as are answered at best: how many have ended, with an
        answer or without, 10 ms after their deadlines at the latest, as they were due and as the client sent them."""
        calls = self._options.calls
        due = due_times(self._best, calls / self._best, Arrivals.CONSTANT, 0)
        deadlines = np.random.default_rng(0).uniform(0.001, 0.5, len(due))
        run = self._load.open(due, deadlines=deadlines)
        over = np.array([(c.done if c.code is not None else np.inf) - c.due - c.deadline for c in run.calls])
        lags = np.array([call.sent - call.due for call in run.calls])
        row = run.summary(1.0)
        ended = {code: sum(call.code == code for call in run.calls) for code in (OK, LATE, REFUSED)}
        return row | {
            "calls": len(run.calls),
            "by_deadline_and_10_ms": round(float(np.mean(over <= _GRACE)), 5),
            "by_deadline_and_10_ms_as_sent": round(float(np.mean(over - lags <= _GRACE)), 5),
            "worst_ms_over": round(float(over.max()) * 1000, 1),
            "answered_share": round(ended[OK] / len(run.calls), 4),
        }


def _print(results: dict[str, Any]) -> None:
    table = Table("", "offered/s", "answers/s", "of best", "p99 ms", "refused p99 ms", "lag p99 ms", "sent", "gave up")
    for name, row in results["loads"].items():
        gave_up = ", ".join(f"{reason} {share:.0%}" for reason, share in row["gave_up"].items())
        cells = (f"{row['offered_per_s']:.0f}", f"{row['answered_per_s']:.0f}", f"{row['of_best']:.0%}")
        times = (_number(row.get(key)) for key in ("p99_ms", "refused_p99_ms", "lag_p99_ms"))
        table.add_row(name, *cells, *times, f"{row['sent_per_call']:.2f}", gave_up)
    console = Console(width=_WIDTH)
    console.print(table)
    for name in ("recovery", "neighbour", "deadlines"):
        if name in results:
            console.print(name, results[name])


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


if __name__ == "__main__":
    try:
        main()
    except TandemError as error:
        sys.exit(f"tandem: {error}")
