"""The report of an adaptation as tables on the terminal."""

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lifecycle.adapt.check import PairedGain
from lifecycle.adapt.ranker_check import RankerReport
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
    rows: dict[str, PairedGain | None] = {f"served, {way}": gain for way, gain in report.known.items()}
    _show_gains(console, "nDCG@10", rows | {"towers alone, agreement with the voters": report.agreement})
    if report.ranker:
        _show_ranker(console, report.ranker)
    for note in report.notes:
        _line(console, note)
    if report.accepted:
        _line(console, f"adapted: {output}")
    elif report.adapted_ranker:
        _line(console, f"towers refused: {'; '.join(report.reasons)}; {output} holds those it started from")
    else:
        _line(console, f"refused: {'; '.join(report.reasons)}; {output} holds the models it started from")


def _show_ranker(console: Console, ranker: RankerReport) -> None:
    rows: dict[str, PairedGain | None] = {f"adapted, {way}": gain for way, gain in ranker.known.items()}
    rows |= {"adapted, agreement with the voters": ranker.agreement, "that of the start": ranker.original}
    _show_gains(console, "nDCG@10 of what is served, without and with the cross-encoder", rows)
    _line(console, f"cross-encoder: {ranker.choice}: {ranker.reason}")


def _show_gains(console: Console, title: str, rows: Mapping[str, PairedGain | None]) -> None:
    gains = {name: gain for name, gain in rows.items() if gain is not None}
    if not gains:
        return
    columns = ("held-out queries", "queries", "before", "after", "gain, 95% interval")
    table = Table(*columns, title=title, title_justify="left")
    for name, gain in gains.items():
        interval = f"{gain.gain:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
        table.add_row(name, str(gain.queries), f"{gain.before:.3f}", f"{gain.after:.3f}", interval)
    console.print(table, highlight=False)


def _line(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
