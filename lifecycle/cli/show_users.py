"""What was learned from behaviour, as a table on the terminal."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from lifecycle.users.measure import mean_estimate

if TYPE_CHECKING:
    from lifecycle.users.train import UserTrainingResult


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
        estimates = [mean_estimate(ranking.values[group]) for group in groups.values()]
        cells = (f"{one.mean:.4f} [{one.low:.4f}, {one.high:.4f}]" if one.queries else "" for one in estimates)
        table.add_row(way, *cells)
    console.print(table)
    recall = ", ".join(f"{name} {values[known].mean():.3f}" for name, values in measured.recall.items() if known.any())
    console.print(f"recall of candidates, users with a history: {recall or 'none'}", highlight=False, style="dim")
    tower = result.report["tower"]
    if "left out" in tower:
        console.print(f"no user tower: {tower['left out']}", highlight=False, style="dim")
    console.print(f"learned lists for people: {output}; publish with `tandem index --users {output}`", highlight=False)
