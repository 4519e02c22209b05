"""The report of an adaptation as tables on the terminal."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from lifecycle.adapt.record import AdaptReport


def show_adapt(console: Console, report: AdaptReport, output: Path) -> None:
    """Voters, nDCG@10 before and after, and the verdict in one line."""
    made = {part: sum(ways.values()) for part, ways in report.queries.items()}
    searched = "" if report.searched == report.products else f", {report.searched:,} of them searched"
    _line(
        console,
        f"{report.products:,} products{searched}; {made.get('train', 0):,} queries to learn from, "
        f"{made.get('held out', 0):,} held out; {report.steps:,} steps",
    )
    if report.voters:
        table = Table("voter", "rank of known products (MRR)", "weight", title="voters", title_justify="left")
        for name, weight in report.voters.items():
            table.add_row(name, f"{report.quality[name]:.3f}", f"{weight:.2f}")
        console.print(table, highlight=False)
    rows = {f"served, {way}": gain for way, gain in report.known.items()}
    if report.agreement is not None:
        rows["towers alone, agreement with the voters"] = report.agreement
    if rows:
        columns = ("held-out queries", "queries", "before", "after", "gain, 95% interval")
        table = Table(*columns, title="nDCG@10", title_justify="left")
        for name, gain in rows.items():
            interval = f"{gain.gain:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
            table.add_row(name, str(gain.queries), f"{gain.before:.3f}", f"{gain.after:.3f}", interval)
        console.print(table, highlight=False)
    for note in report.notes:
        _line(console, note)
    if report.accepted:
        _line(console, f"adapted: {output}")
    else:
        _line(console, f"refused: {'; '.join(report.reasons)}; {output} holds the models it started from")


def _line(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
