"""The results of a run as JSON, as tables, and as Markdown: `python -m benchmarks.peers.table results/peers.json`."""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.peers.environments import PLAIN
from benchmarks.peers.ours import SAME
from benchmarks.peers.programs.loop import Task
from benchmarks.peers.rows import Row, ahead, make_row, quality, ratios, strongest
from evaluation.measures import Grades

RESCORED, RETRIEVED = "rescored", "retrieved only"
_TO, _AHEAD = f"to {PLAIN.name}", "ahead of tandem"
STRONGEST, _TO_STRONGEST = "strongest peer", "to the strongest peer"


def summarize_results(
    reports: Mapping[str, Mapping[str, Any]], failed: Mapping[str, str], grades: Grades, task: Task, products: int
) -> dict[str, Any]:
    """All rows by depth, each beside the straightforward program's, where peers are ahead of the same weights in
    Tandem, the vectors' likeness, versions, and failures with their reasons."""
    results: dict[str, Any] = {"failed": dict(failed)}
    for title, depth in ((RESCORED, task.depth), (RETRIEVED, 0)):
        answers = {
            name: dict(zip(task.queries, each["answers"][str(depth)], strict=False))  # of the first queries
            for name, each in reports.items()
            if str(depth) in each["answers"]
        }
        base = answers.get(PLAIN.name)
        rows = {
            name: make_row(
                reports[name], depth, quality(ranking, None if name == PLAIN.name else base, grades), products
            )
            for name, ranking in answers.items()
        }
        results[title] = _compared(rows, {name for name in rows if "build_seconds" in reports[name]})
    for key in ("versions", "index", "load_seconds", "build_seconds"):
        results[key] = {name: each[key] for name, each in reports.items() if key in each}
    results["mean_cosine"] = {
        name: each["embedding"]["mean_cosine"] for name, each in reports.items() if "mean_cosine" in each["embedding"]
    }
    return results


def _compared(rows: Mapping[str, Row], peers: set[str]) -> dict[str, Any]:
    base, same = rows.get(PLAIN.name), rows.get(SAME)
    best = strongest({name: each for name, each in rows.items() if name in peers})
    better = {name: ahead(rows[name], same) for name in rows if name in peers and same}
    return {
        "rows": {name: each.as_json() for name, each in rows.items()},
        _TO: {name: ratios(each, base) for name, each in rows.items() if base and name != PLAIN.name},
        STRONGEST: best,
        _TO_STRONGEST: {name: ratios(each, rows[best]) for name, each in rows.items() if best and name not in peers},
        _AHEAD: {name: better_figures for name, better_figures in better.items() if better_figures},
    }


def show(results: Mapping[str, Any], console: Console | None = None) -> None:
    """Prints a table for each depth, and a summary in words."""
    console = console or Console(width=max(Console().width, 150))
    for title in (RESCORED, RETRIEVED):
        heads, *rows = cells(title, results)
        table = Table(*heads)
        for each in rows:
            table.add_row(*each)
        console.print(table)
        console.print("\n".join(lines(title, results)), highlight=False)


def markdown(results: Mapping[str, Any]) -> str:
    """The same tables as Markdown, for a README."""
    parts = []
    for title in (RESCORED, RETRIEVED):
        heads, *rows = cells(title, results)
        table = [heads, ["---"] * len(heads), *rows]
        parts.append("\n".join(f"| {' | '.join(each)} |" for each in table))
        parts.append("\n".join(f"- {line}" for line in lines(title, results)))
    return "\n\n".join(part for part in parts if part)


def cells(title: str, results: Mapping[str, Any]) -> list[list[str]]:
    """Heads, and a row for each program; one that failed has a row that states it."""
    rows = results[title]["rows"]
    clients = next((list(each["speeds"]) for each in rows.values()), [])
    speed_heads = [f"queries/s (p50, p99 ms), {count} client{'s' * (int(count) > 1)}" for count in clients]
    last = ["nDCG@10 (queries)", "less baseline's (p)", "same top 10", "embedded/s", "ready s", "peak MiB"]
    table_rows = [[title, *speed_heads, "client's cores", *last]]
    for name, each in rows.items():
        quality_row = each["quality"]
        less = "" if quality_row["difference"] is None else f"{quality_row['difference']:+.4f} ({quality_row['p']:.3f})"
        # Peers answer fewer queries: only the difference compares the same ones.
        ndcg = f"{quality_row['ndcg']} ({quality_row['queries']})"
        values = (ndcg, less, quality_row["overlap"], each["products_per_s"], each["ready_seconds"], each["peak_mib"])
        speeds = [each["speeds"][count] for count in clients]
        cores = max((speed["client_cores"] or 0.0 for speed in speeds), default=0.0)
        columns = ["" if value is None else str(value) for value in (cores or None, *values)]
        table_rows.append([name, *map(_speed, speeds), *columns])
    return [*table_rows, *([name, *["failed"] * len(speed_heads), *[""] * 7] for name in results["failed"])]


def lines(title: str, results: Mapping[str, Any]) -> Iterator[str]:
    """Ratios, where peers are ahead, and why programs failed."""
    for name, ratio in results[title][_TO].items():
        yield f"{name} {_TO}: {', '.join(f'{what} {value}' for what, value in ratio.items())}"
    best = results[title].get(STRONGEST)
    for name, ratio in results[title].get(_TO_STRONGEST, {}).items():
        yield f"{name} {_TO_STRONGEST}, {best}: {', '.join(f'{what} {value}' for what, value in ratio.items())}"
    for name, better in results[title][_AHEAD].items():
        yield f"{name} is ahead: " + ", ".join(
            f"{what} {theirs:,g} (tandem {mine:,g})" for what, (theirs, mine) in better.items()
        )
    if title == RESCORED:
        yield from (f"{name} {reason}" for name, reason in results["failed"].items())


def _speed(speed: Mapping[str, Any]) -> str:
    return f"{speed['queries_per_s']:.1f} ({speed['p50_ms']:.1f}, {speed['p99_ms']:.1f})"


if __name__ == "__main__":
    print(markdown(json.loads(Path(sys.argv[1]).read_text())["results"]))
