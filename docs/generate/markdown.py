"""Markdown that all generated pages are written in."""

import re
from collections.abc import Iterable, Sequence

_CODE = re.compile(r"(`+[^`]*`+)")


def notice(source: str) -> str:
    """The comment that begins a generated page: where its content comes from, and how to make it anew."""
    return f"<!-- Generated from {source}. Change that, then run `make reference`. -->\n"


def escape(text: str) -> str:
    """Text whose angle brackets a page shows as they are; what stands between backticks stays."""
    parts = _CODE.split(text)
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;").replace(">", "&gt;") for part in parts)


def paragraph(text: str) -> str:
    """One line of text, as it stands in a cell or a list."""
    return " ".join(escape(text).split())


def anchor(heading: str) -> str:
    """What a link to a heading names behind #."""
    return re.sub(r"[^\w\s-]", "", heading).strip().lower().replace(" ", "-")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], numbers: bool = False) -> str:
    """A table with a heading; with `numbers`, cells are right-aligned but for the first column's."""
    rule = ["---"] + ["---:" if numbers else "---"] * (len(columns) - 1)
    lines = [_row(columns), _row(rule), *(_row(row) for row in rows)]
    return "\n".join(lines) + "\n"


def page(*parts: str) -> str:
    """Parts with a blank line between, and one newline at the end."""
    return "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in cells)} |"
