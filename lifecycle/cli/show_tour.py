"""A few answers as shoppers would see them, once, or before and after beside each other; and what training brought."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lifecycle.cli.show import price_of
from lifecycle.improvement import Improvement, Mean
from tandem.v1 import search_pb2

Grades = Mapping[str, float]

_LEAST_TITLE, _MOST_TITLE = 12, 72
_BESIDE = 3  # signs before the first title, and between two sides
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
    """Two answers to the same query, beside each other."""
    table = _table(query)
    for name in ("before", "now"):
        _add_side(table, name, (console.width - 2 * _BESIDE) // 2, bool(grades))
    nothing = [""] * (2 + bool(grades))
    for place in range(max(len(before.hits), len(after.hits))):
        sides = [_cells(side.hits[place], grades) if place < len(side.hits) else nothing for side in (before, after)]
        table.add_row(str(place + 1), *sides[0], *sides[1])
    _show(console, table, after)


def show_improvement(console: Console, found: Improvement) -> None:
    """nDCG@10 before and after, on queries that nothing was learned of, and what is served therefore."""
    learned = "of which nothing was learned" if found.split == "test" else "which chose the best of each training"
    title = f"nDCG@10 on {found.queries} {found.split} queries, {learned}"
    console.print(title, style="bold", highlight=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("", "mean", "95% interval"):
        table.add_column(name, justify="right" if name else "left")
    for name, mean in (("before", found.before), ("trained", found.after)):
        table.add_row(name, f"{mean.mean:.3f}", _interval(mean))
    table.add_row("gain", f"{found.gain.mean:+.3f}", _interval(found.gain, "+"))
    console.print(table)
    verdict = (
        "what was trained ranks worse, so it is not published and the release in service stays"
        if found.release is None
        else f"published as {found.release}, in place of {found.replaced}"
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
    """Columns that share so many signs: a title, which gives way, a price and a grade."""
    room -= _PRICE + 1 + graded * (_GRADE + 1)
    table.add_column(name, width=max(_LEAST_TITLE, min(_MOST_TITLE, room)), no_wrap=True, overflow="ellipsis")
    table.add_column("price", width=_PRICE, justify="right", no_wrap=True)
    if graded:
        table.add_column("grade", width=_GRADE, justify="right", no_wrap=True)


def _cells(hit: search_pb2.Hit, grades: Grades) -> list[Text | str]:
    product = hit.product
    price = price_of(product.price) if product.HasField("price") else ""
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


def _interval(mean: Mean, sign: str = "") -> str:
    return f"[{mean.low:{sign}.3f}, {mean.high:{sign}.3f}]"


def spread(count: int, shown: int) -> Sequence[int]:
    """Up to so many places of `count`, evenly apart."""
    shown = min(shown, count)
    return [place * count // shown for place in range(shown)]
