"""The terminal the commands write to."""

import io
import json
import os
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

if sys.stdout is None:  # closed by the parent process
    sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115

# Wide enough for the tables where the output is a file or a pipe.
console = Console() if sys.stdout.isatty() else Console(width=120)


def print_line(line: str) -> None:
    """Prints a line unchanged, neither wrapped nor coloured."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def accept_any_text() -> None:
    """Makes output escape letters that its encoding lacks; else Python would end the command at the first."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_json(value: Any) -> None:
    """Prints the value as JSON, with escapes where the output's encoding lacks letters."""
    encoding = (sys.stdout.encoding or "ascii").lower().replace("_", "-")
    print(json.dumps(value, ensure_ascii=not encoding.startswith("utf"), indent=2))
