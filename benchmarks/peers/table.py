"""The results of a run as JSON and as tables."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.peers.environments import PLAIN
from benchmarks.peers.ours import SAME
from benchmarks.peers.programs.loop import Task
from benchmarks.peers.rows import Row, ahead, quality, ratios, row
from core.measures import Grades

RESCORED, RETRIEVED = "rescored", "retrieved only"


def told(
    seen: Mapping[str, Mapping[str, Any]], failed: Mapping[str, str], grades: Grades, task: Task, products: int
) -> dict[str, Any]:
    """All rows by depth, each beside the straightforward program's, where peers are ahead of the same weights in
    Tandem, the vectors' likeness, versions, and who failed of what."""
    results: dict[str, Any] = {"failed": dict(failed)}
    for title, depth in ((RESCORED, task.depth), (RETRIEVED, 0)):
        answers = {
            name: dict(zip(task.queries, each["answers"][str(depth)], strict=False))
            for name, each in seen.items()
            if str(depth) in each["answers"]
        }
        base = answers.get(PLAIN.name)
        rows = {
            name: row(seen[name], depth, quality(found, None if name == PLAIN.name else base, grades), products)
            for name, found in answers.items()
        }
        results[title] = _compared(rows, {name for name in rows if "build_seconds" in seen[name]})
    for key in ("versions", "index", "load_seconds", "build_seconds"):
        results[key] = {name: each[key] for name, each in seen.items() if key in each}
    results["mean_cosine"] = {name: each["embedding"].get("mean_cosine") for name, each in seen.items()}
    return results


def _compared(rows: Mapping[str, Row], peers: set[str]) -> dict[str, Any]:
    base, same = rows.get(PLAIN.name), rows.get(SAME)
    return {
        "rows": {name: each.as_json() for name, each in rows.items()},
        f"to {PLAIN.name}": {name: ratios(each, base) for name, each in rows.items() if base and name != PLAIN.name},
        "ahead of tandem": {
            name: found for name in rows if name in peers and same and (found := ahead(rows[name], same))
        },
    }


def show(results: Mapping[str, Any], console: Console | None = None) -> None:
    """A table for each depth, ratios and where peers are ahead."""
    console = console or Console(width=max(Console().width, 150))
    for name, reason in results["failed"].items():
        console.print(f"{name} {reason}", highlight=False)
    for title in (RESCORED, RETRIEVED):
        found = results[title]
        console.print(_table(title, found["rows"], results["failed"]))
        for name, ratio in found[f"to {PLAIN.name}"].items():
            console.print(f"{name} to {PLAIN.name}: {_pairs(ratio)}", highlight=False)
        for name, better in found["ahead of tandem"].items():
            told = ", ".join(f"{what} {theirs:,g} (tandem {mine:,g})" for what, (theirs, mine) in better.items())
            console.print(f"{name} is ahead: {told}", highlight=False)


def _table(title: str, rows: Mapping[str, Any], failed: Mapping[str, str]) -> Table:
    clients = next((list(each["speeds"]) for each in rows.values()), [])
    heads = [
        f"{head}, {count} cl." for count in clients for head in ("queries/s", "p50 ms", "p99 ms", "cores (client)")
    ]
    table = Table(title, *heads, "nDCG@10", "less baseline's (p)", "same top 10", "embedded/s", "ready s", "peak MiB")
    for name, each in rows.items():
        cells = [cell for count in clients for cell in _speed(each["speeds"][count])]
        quality = each["quality"]
        beside = "" if quality["difference"] is None else f"{quality['difference']:+.4f} ({quality['p']:.3f})"
        last = (quality["ndcg"], beside, quality["overlap"], each["products_per_s"], each["ready_seconds"])
        table.add_row(name, *cells, *(_cell(value) for value in (*last, each["peak_mib"])))
    for name in failed:
        table.add_row(name, "failed")
    return table


def _speed(speed: Mapping[str, Any]) -> list[str]:
    client = "" if speed["client_cores"] is None else f" ({speed['client_cores']})"
    return [*(f"{speed[key]:.1f}" for key in ("queries_per_s", "p50_ms", "p99_ms")), f"{speed['cores']}{client}"]


def _cell(value: float | str | None) -> str:
    return "" if value is None else str(value)


def _pairs(ratio: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value}" for name, value in ratio.items())
