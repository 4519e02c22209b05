"""What `make bench` runs: a short set on the sample shop, or on files of your own, and one table of what came of it.

    python -m benchmarks.short [--releases releases --queries judgments.parquet --output benchmarks/results]

Each part is a benchmark of its own, in a process of its own, and leaves its JSON; longer runs give steadier figures.
The parts that compare with a straightforward program need the models that `make run` trained, and run only there.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.common import RESULTS
from benchmarks.peers.environments import PLAIN
from benchmarks.peers.ours import SAME
from benchmarks.peers.table import RESCORED
from core.errors import TandemError

_INVALID = 4
Row = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Part:
    """A benchmark: its module and options, the JSON it leaves, how rows are made of its results, and the exit statuses
    that leave some."""

    arguments: list[str]
    file: str
    rows: Callable[[Any], list[Row]]
    statuses: tuple[int, ...] = (0,)


def main() -> None:
    """Runs all parts and prints the table; exit status 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--releases", type=Path, default=Path("releases"))
    parser.add_argument("--queries", type=Path, help="default: the sample shop's judgments")
    parser.add_argument("--slo", type=Path, default=Path(__file__).parent / "load" / "slo.toml")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    queries = options.queries or options.releases / "sample" / "judgments.parquet"
    if not queries.is_file():
        raise TandemError(f"{queries}: not there; run `make run` first, or name your own --releases and --queries")
    with_models = options.queries is None
    rows, failed = [], []
    for part in parts(options.releases, queries, options.slo, options.output, with_models):
        part_rows = run(part, options.output)
        rows += part_rows or [(part.arguments[0], "failed")]
        failed += [] if part_rows else [part.arguments[0]]
    show(rows)
    if failed:
        raise TandemError(f"no figures came of {', '.join(failed)}")


def parts(releases: Path, queries: Path, slo: Path, output: Path, with_models: bool) -> list[Part]:
    """The set, in the order in which it runs."""
    shop = ["--releases", str(releases), "--queries", str(queries), "--output", str(output)]
    load = ["--slo", str(slo), *shop]
    statuses = (0, 3, _INVALID)
    plain = ["--releases", str(releases), "--peers", PLAIN.name, "--in-place"]
    compared = [
        Part(["benchmarks.peers", *plain, "--work", str(releases / "peers"), "--seconds", "8"], "peers", _peers),
        Part(["benchmarks.embedding", "--releases", str(releases)], "embedding", _embedding),
    ]
    return [
        *(compared if with_models else []),
        Part(["benchmarks.overhead", *shop, "--calls", "1000"], "overhead", _overhead),
        Part(["benchmarks.caches", *shop, "--fill", "2000", "--seconds", "8"], "caches", _caches),
        Part(
            ["benchmarks.load", "open", *load, "--seconds", "8", "--calls", "100", "--precision", "0.25"],
            "load_open", _open, statuses,
        ),
        Part(["benchmarks.load", "locust", *load, "--seconds", "20", "--users", "4"], "load_locust", _locust, statuses),
    ]  # fmt: skip


def run(part: Part, output: Path) -> list[Row]:
    """The part's rows; none where it failed."""
    place = RESULTS if part.file in ("peers", "embedding") else output
    path = place / f"{part.file}.json"
    path.unlink(missing_ok=True)  # lest an older run be taken for this one
    status = subprocess.run([sys.executable, "-m", *part.arguments], check=False).returncode
    if status not in part.statuses or not path.is_file():
        return []
    return part.rows(json.loads(path.read_text())["results"])


def show(rows: list[Row]) -> None:
    """The one table."""
    table = Table("what", "seen")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _peers(results: Any) -> list[Row]:
    """Where either of the two failed there is nothing to compare."""
    result = results[RESCORED]
    if not {PLAIN.name, SAME} <= result["rows"].keys():
        return []
    ratios = result[f"to {PLAIN.name}"][SAME]
    speeds = {
        f"{name}, clients {clients}: queries/s (p50, p99)": _speed(speed)
        for name in (SAME, PLAIN.name)
        for clients, speed in result["rows"][name]["speeds"].items()
    }
    times = {name: f"{ratio} times" for name, ratio in ratios.items() if name.startswith("queries/s")}
    return [*speeds.items(), *((f"{SAME} to {PLAIN.name}: {name}", ratio) for name, ratio in times.items())]


def _embedding(results: Any) -> list[Row]:
    rates = results["products_per_s"]
    figures = f"{rates['tandem']} and {rates['plain']}, {results['ratio']} times"
    return [("products embedded/s, tandem and plain", figures)]


def _overhead(results: Any) -> list[Row]:
    over = results["search less health check"]
    return [
        ("a request around a fake engine, p50", f"{results['search']['p50_ms']} ms"),
        ("the same less a health check's", f"{over['p50_ms']} ms"),
    ]


def _caches(results: Any) -> list[Row]:
    return [
        ("Zipf log without caches: queries/s (p50, p99)", _speed(results["without"][0])),
        ("Zipf log with caches", _speed(results["with"])),
        ("with caches to without", f"{results['ratio']['with']} times"),
    ]


def _open(results: Any) -> list[Row]:
    note = "" if results["valid"] else ", the client could not keep up"
    return [("highest rate within the objectives", f"{results['highest_rate']}/s{note}")]


def _locust(results: Any) -> list[Row]:
    held = "the objectives hold" if results["verdict"]["holds"] else "the objectives do not hold"
    return [("shoppers: answers/s (p50, p99)", f"{_speed(results, 'answered_per_s')}, {held}")]


def _speed(row: Any, rate: str = "queries_per_s") -> str:
    return f"{row[rate]} ({row['p50_ms']} ms, {row['p99_ms']} ms)"


if __name__ == "__main__":
    try:
        main()
    except TandemError as error:
        sys.exit(f"tandem: {error}")
