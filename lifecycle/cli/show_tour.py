"""Tables of answers as shoppers see them, once, or before and after training; and the gain of the training."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lifecycle.cli.show_answer import format_price
from lifecycle.improvement import Improvement, MeanInterval
from tandem.v1 import search_pb2

Grades = Mapping[str, float]

_LEAST_TITLE, _MOST_TITLE = 12, 72
_BESIDE = 3  # characters before the first title, and between two sides
_PRICE, _GRADE = 12, 5


def show_once(console: Console, query: str, answer: search_pb2.SearchResponse, grades: Grades) -> None:
    """The products of an answer, with their prices and, where they are judged, their grades."""
    table = _table(query)
    _add_side(table, "product", console.width - _BESIDE, bool(grades))
    for hit in answer.hits:
        table.add_row(str(hit.rank), *_cells(hit, grades))
    _show(console, table, answer)


def show_both(
    console: Console,
    query: str,
    before: search_pb2.SearchResponse,
    after: search_pb2.SearchResponse,
    grades: Grades,
) -> None:
    """Two answers to the same query, side by side."""
    table = _table(query)
    for name in ("before", "now"):
        _add_side(table, name, (console.width - 2 * _BESIDE) // 2, bool(grades))
    nothing = [""] * (2 + bool(grades))
    for place in range(max(len(before.hits), len(after.hits))):
        sides = [_cells(side.hits[place], grades) if place < len(side.hits) else nothing for side in (before, after)]
        table.add_row(str(place + 1), *sides[0], *sides[1])
    _show(console, table, after)


def show_improvement(console: Console, improvement: Improvement) -> None:
    """nDCG@10 before and after, on held-out queries, and the release that is served therefore."""
    learned = "of which nothing was learned" if improvement.split == "test" else "which chose the best of each training"
    title = f"nDCG@10 on {improvement.queries} {improvement.split} queries, {learned}"
    console.print(title, style="bold", highlight=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("", "mean", "95% interval"):
        table.add_column(name, justify="right" if name else "left")
    for name, mean in (("before", improvement.before), ("trained", improvement.after)):
        table.add_row(name, f"{mean.mean:.3f}", _interval(mean))
    table.add_row("gain", f"{improvement.gain.mean:+.3f}", _interval(improvement.gain, "+"))
    console.print(table)
    verdict = (
        "what was trained ranks worse, so it is not published and the release in service stays"
        if improvement.release is None
        else f"published as {improvement.release}, in place of {improvement.replaced}"
    )
    console.print(verdict, highlight=False, markup=False, soft_wrap=True)


def _table(query: str) -> Table:
    # Text, since what shoppers and feeds put in brackets is no markup.
    title = Text(f"“{query}”", style="bold")
    table = Table(
        title=title, title_justify="left", box=None, pad_edge=False, collapse_padding=True, header_style="dim"
    )
    table.add_column("#", justify="right")
    return table


def _add_side(table: Table, name: str, room: int, graded: bool) -> None:
    """Columns that share `room` characters: a title, which gives way, a price and a grade."""
    room -= _PRICE + 1 + graded * (_GRADE + 1)
    table.add_column(name, width=max(_LEAST_TITLE, min(_MOST_TITLE, room)), no_wrap=True, overflow="ellipsis")
    table.add_column("price", width=_PRICE, justify="right", no_wrap=True)
    if graded:
        table.add_column("grade", width=_GRADE, justify="right", no_wrap=True)


def _cells(hit: search_pb2.Hit, grades: Grades) -> list[Text | str]:
    product = hit.product
    price = format_price(product.price) if product.HasField("price") else ""
    cells: list[Text | str] = [Text(product.title), price]
    if grades:
        grade = grades.get(hit.product_id)
        cells.append("-" if grade is None else f"{grade:g}")
    return cells


def _show(console: Console, table: Table, answer: search_pb2.SearchResponse) -> None:
    console.print(table)
    if answer.searched_query:
        console.print(f"   searched as “{answer.searched_query}”", style="dim", highlight=False, markup=False)
    console.print()


def _interval(mean: MeanInterval, sign: str = "") -> str:
    return f"[{mean.low:{sign}.3f}, {mean.high:{sign}.3f}]"


def spread(count: int, shown: int) -> Sequence[int]:
    """Up to so many places of `count`, evenly apart."""
    shown = min(shown, count)
    return [place * count // shown for place in range(shown)]
