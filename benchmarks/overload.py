"""Whether answers keep coming when five and ten times as many calls arrive as can be answered.

    python -m benchmarks.overload --releases releases --queries judgments.parquet [--seconds 6]

The service runs in a process of its own, by default with a plan that rescores nothing. A client of hand-made frames,
light enough to share the machine, keeps all places busy, at first and at the end: so many answers come at best. Between
it offers multiples of that, each call once, and again sending refused calls as gRPC's clients do: three times at most,
when the service asks for it, and not where it forbids it.
"""

import argparse
import heapq
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.common import NO_CACHES, RESULTS, cpu_seconds, free_address, latencies, save, serving
from benchmarks.load.queries import read_queries
from benchmarks.load.raw import Outcome, RawConnection
from benchmarks.load.schedule import Arrivals, due_times
from core.errors import TandemError
from tandem.v1 import search_pb2

_METHOD = "/tandem.v1.SearchService/Search"
_FACTORS = (5, 10)
_ATTEMPTS = 3
_PAUSE, _WIDTH = 0.001, 140
_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}
_OK, _REFUSED = 0, grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]


def main() -> None:
    """Measures, prints a table and saves the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--releases", type=Path, default=Path("releases"))
    parser.add_argument("--queries", type=Path, default=Path("releases/sample/judgments.parquet"))
    parser.add_argument("--rerank", type=int, default=0, help="candidates to rescore")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each run")
    parser.add_argument("--deadline", type=float, default=1.0, help="of each call, in seconds")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    queries = read_queries(options.queries).queries
    address = free_address()
    environment = {**NO_CACHES, "TANDEM_SERVE_PLAN__RERANK_DEPTH": str(options.rerank)}
    with serving(options.releases, address, environment) as server:
        rows = _measure(options, address, queries, server)
    _print(rows)
    names = ("rerank", "seconds", "deadline", "connections")
    parameters = {name: getattr(options, name) for name in names} | {"queries": len(queries)}
    print(save("overload", parameters, rows, options.output))


@dataclass(slots=True)
class _Run:
    """One run against the service."""

    options: argparse.Namespace
    address: str
    messages: Any
    server: int
    connections: list[RawConnection] = field(default_factory=list)

    def open(self) -> None:
        self.connections = [RawConnection(self.address, _METHOD) for _ in range(self.options.connections)]

    def close(self) -> None:
        for connection in self.connections:
            connection.close()

    def turn(self) -> None:
        """Sends and reads what there is."""
        for connection in self.connections:
            connection.write()
            connection.read()
        time.sleep(_PAUSE)

    def at_best(self, in_flight: int) -> dict[str, Any]:
        """So many calls at any time."""
        self.open()
        start, before = time.monotonic(), cpu_seconds(self.server)
        own = time.process_time()
        while (now := time.monotonic()) < start + self.options.seconds:
            for connection in self.connections:
                while len(connection.open) < max(1, in_flight // len(self.connections)):
                    connection.call(next(self.messages), self.options.deadline, now)
            self.turn()
        return self.outcome([call for each in self.connections for call in each.calls.values()], start, before, own)

    def offer(self, rate: float, retries: bool, seed: int) -> dict[str, Any]:
        """Calls when they are due, whether or not others were answered; of each the last attempt counts."""
        self.open()
        limit = self.options.deadline
        due = due_times(rate, self.options.seconds, Arrivals.POISSON, seed).tolist()[::-1]
        start, before, own = time.monotonic(), cpu_seconds(self.server), time.process_time()
        waiting: list[tuple[float, int, float, int]] = []  # when, a number, when it was due, which attempt
        in_flight: dict[tuple[int, int], tuple[float, int]] = {}
        ended: list[Outcome] = []
        turns = cycle(range(len(self.connections)))
        number = sent = 0
        while due or waiting or in_flight:
            now = time.monotonic() - start
            while due and due[-1] <= now:
                heapq.heappush(waiting, (due[-1], number := number + 1, due.pop(), 1))
            while waiting and waiting[0][0] <= now:
                _, _, first, attempt = heapq.heappop(waiting)
                place, sent = next(turns), sent + 1
                stream = self.connections[place].call(
                    next(self.messages), max(0.001, first + limit - now), start + first
                )
                in_flight[place, stream] = (first, attempt)
            self.turn()
            for place, stream in [key for key in in_flight if key[1] not in self.connections[key[0]].open]:
                call, (first, attempt) = self.connections[place].calls.pop(stream), in_flight.pop((place, stream))
                again = time.monotonic() - start + (call.pushback or 0) / 1000
                asks = call.code == _REFUSED and call.pushback is not None and call.pushback >= 0
                if retries and asks and attempt < _ATTEMPTS and again < first + limit:
                    heapq.heappush(waiting, (again, number := number + 1, first, attempt + 1))
                else:
                    ended.append(call)
            if now > self.options.seconds + 3 * limit:
                break
        ended += [self.connections[place].calls[stream] for place, stream in in_flight]
        return {"offered_per_s": round(rate, 1), "sent": sent} | self.outcome(ended, start, before, own)

    def outcome(self, calls: list[Outcome], start: float, before: float, own: float) -> dict[str, Any]:
        took = time.monotonic() - start
        in_time = [call for call in calls if call.code == _OK and call.done - call.sent <= self.options.deadline]
        refused = [call for call in calls if call.code == _REFUSED]
        self.close()
        return {
            "answered_per_s": round(len(in_time) / self.options.seconds, 1),
            **({} if not in_time else latencies([call.done - call.sent for call in in_time])),
            "codes": dict(Counter("open" if c.code is None else _NAMES.get(c.code, "RESET") for c in calls)),
            "retry_info_share": round(float(np.mean([call.details for call in refused])), 4) if refused else None,
            "server_cores": round((cpu_seconds(self.server) - before) / took, 2),
            "client_cores": round((time.process_time() - own) / took, 2),
        }


def _measure(options: argparse.Namespace, address: str, queries: list[str], server: int) -> dict[str, Any]:
    messages = [search_pb2.SearchRequest(query=query, top_k=10).SerializeToString() for query in queries]
    run = _Run(options, address, cycle(messages), server)
    places = 6 * len(os.sched_getaffinity(0))
    run.at_best(places)  # warms the service
    rows: dict[str, Any] = {"at best": run.at_best(places)}
    for factor in _FACTORS:
        for retries in (False, True):
            rate = factor * rows["at best"]["answered_per_s"]
            rows[f"{factor} times{', retrying' if retries else ''}"] = run.offer(rate, retries, factor)
    rows["at best, again"] = run.at_best(places)  # machines that are shared change their pace
    peak = max((rows["at best"]["answered_per_s"] + rows["at best, again"]["answered_per_s"]) / 2, 0.001)
    return {name: row | {"of_best": round(row["answered_per_s"] / peak, 3)} for name, row in rows.items()}


def _print(rows: dict[str, Any]) -> None:
    table = Table("", "answers/s", "of best", "p99 ms", "RetryInfo", "server", "client", "codes")
    for name, row in rows.items():
        codes = ", ".join(f"{code} {count}" for code, count in row["codes"].items())
        retry_share = "" if row["retry_info_share"] is None else f"{row['retry_info_share']:.1%}"
        cells = (f"{row['answered_per_s']:.0f}", f"{row['of_best']:.0%}", f"{row.get('p99_ms', 0):.0f}", retry_share)
        table.add_row(name, *cells, f"{row['server_cores']:.2f}", f"{row['client_cores']:.2f}", codes)
    Console(width=_WIDTH).print(table)


if __name__ == "__main__":
    try:
        main()
    except TandemError as error:
        sys.exit(f"tandem: {error}")
