"""The terminal the commands write to."""

import sys

from rich.console import Console

# Wide enough for the tables where the output is a file or a pipe.
console = Console() if sys.stdout.isatty() else Console(width=120)


def tell(line: str) -> None:
    """One line as it is, neither wrapped nor coloured."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)
