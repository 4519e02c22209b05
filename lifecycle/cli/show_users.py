"""What was learned from behaviour, as a table on the terminal."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from evaluation.measures import Estimate
from lifecycle.users.measure import mean_estimate

if TYPE_CHECKING:
    from lifecycle.users.train import UserTrainingResult


_WITH_INTERVALS = ("all", "with a history")  # more would not fit into the width of a terminal


def _cell(name: str, value: Estimate) -> str:
    if not value.queries:
        return ""
    interval = f" [{value.low:.4f}, {value.high:.4f}]" if name in _WITH_INTERVALS else ""
    return f"{value.mean:.4f}{interval}"


def show_users(console: Console, result: "UserTrainingResult", output: Path) -> None:
    """What was read and left out, MAP@12 on the days held out, recall by source, and what to do next."""
    for line in result.counts.lines():
        console.print(line, highlight=False, soft_wrap=True)
    measured = result.measured
    known = measured.people.known
    table = Table(title="MAP@12 on the latest days, learned from those before", title_justify="left")
    table.add_column("order by", min_width=28)
    groups = {"all": known | True, "with a history": known, "one product": measured.one_product, "without": ~known}
    for name, group in groups.items():
        table.add_column(f"{name}, {int(group.sum()):,}", justify="right")
    for way, ranking in measured.ways.items():
        table.add_row(way, *(_cell(name, mean_estimate(ranking.values[group])) for name, group in groups.items()))
    console.print(table)
    recall = ", ".join(f"{name} {values[known].mean():.3f}" for name, values in measured.recall.items() if known.any())
    console.print(f"recall of candidates, users with a history: {recall or 'none'}", highlight=False, style="dim")
    tower = result.report["tower"]
    if "left out" in tower:
        console.print(f"no user tower: {tower['left out']}", highlight=False, style="dim")
    console.print(f"learned lists for people: {output}; publish with `tandem index --users {output}`", highlight=False)
