"""Suggestions on the terminal."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tandem.v1 import search_pb2

_KIND = "SUGGESTION_KIND_"


def show_suggestions(console: Console, prefix: str, answer: search_pb2.SuggestResponse) -> None:
    """A row for each suggestion; what was completed where that was not what was typed."""
    # Text, since what shoppers and feeds put in brackets is no markup.
    table = Table(title=Text(f"“{prefix}”"), title_justify="left", title_style="bold")
    for name in ("suggestion", "from", "count"):
        table.add_column(name, justify="right" if name == "count" else "left")
    for one in answer.suggestions:
        kind = search_pb2.SuggestionKind.Name(one.kind).removeprefix(_KIND).lower().replace("_", " ")
        table.add_row(Text(one.text), kind, f"{one.count:,}")
    console.print(table)
    if answer.corrected_prefix:
        console.print(f"completed as “{answer.corrected_prefix}”", highlight=False, markup=False)
