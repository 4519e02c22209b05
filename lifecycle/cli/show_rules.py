"""Rules on the terminal: what a file would change, query by query, and the published versions."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from core.pointer import PointerContent
from core.rule_store import RulesVersion
from lifecycle.rules import Side, Trial

_BESIDE = 6  # characters of the place, and of what moved


def show_trial(console: Console, trial: Trial) -> None:
    """Both answers side by side, with what moved; one line where they are the same."""
    if not trial.changes:
        note = _notes(trial.after)
        console.print(Text(f"“{trial.query}”: nothing changes{f' ({note})' if note else ''}"), style="dim")
        return
    table = Table(title=Text(f"“{trial.query}”"), title_justify="left", title_style="bold")
    table.add_column("#", justify="right")
    width = max(12, (console.width - 4 * _BESIDE) // 2)
    table.add_column("in service", width=width, no_wrap=True)
    table.add_column("with the file", width=width, no_wrap=True)
    table.add_column("moved", justify="right")
    places = {product: place for place, (product, _) in enumerate(trial.before.products)}
    for place in range(max(len(trial.before.products), len(trial.after.products))):
        moved = _moved(trial.after.products[place][0], place, places) if place < len(trial.after.products) else ""
        table.add_row(str(place + 1), _cell(trial.before, place), _cell(trial.after, place), moved)
    console.print(table)
    for name, side in (("in service", trial.before), ("with the file", trial.after)):
        if note := _notes(side):
            console.print(Text(f"{name}: {note}"), highlight=False, soft_wrap=True)


def show_trials(console: Console, trials: Sequence[Trial], release: str) -> None:
    """How many queries change."""
    changed = sum(trial.changes for trial in trials)
    console.print(f"{changed:,} of {len(trials):,} queries change on release {release}", highlight=False)


def show_versions(console: Console, versions: Sequence[RulesVersion], trail: Sequence[PointerContent]) -> None:
    """The versions in their order, the one in service marked; what is damaged, and why, below."""
    table = Table()
    for name in ("", "rules", "published (UTC)", "number"):
        table.add_column(name, justify="right" if name == "number" else "left")
    served = trail[0].release if trail else ""
    for one in versions:
        number = "damaged" if one.rules is None else f"{one.rules:,}"
        table.add_row("→" if one.name == served else "", one.name, f"{one.created:%Y-%m-%d %H:%M:%S}", number)
    console.print(table)
    for one in versions:
        if one.damage:
            console.print(f"damaged: {one.damage}", style="yellow", highlight=False, markup=False, soft_wrap=True)


def _cell(side: Side, place: int) -> Text:
    if place >= len(side.products):
        return Text("")
    product, title = side.products[place]
    return Text(f"{product}  {title}")


def _moved(product: str, place: int, before: dict[str, int]) -> str:
    if product not in before:
        return "new"
    steps = before[product] - place
    return f"{steps:+d}" if steps else ""


def _notes(side: Side) -> str:
    notes = [f"searched as “{side.searched}”"] if side.searched else []
    notes += [f"{effect.rule_id}: {effect.action} {effect.detail}" for effect in side.effects]
    return "; ".join(notes)
