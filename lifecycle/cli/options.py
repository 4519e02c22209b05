"""Options of commands that their ranges let pass: inf where a range has no end, any number where there is none."""

import math

import typer

from core.errors import TandemError

LONGEST_SECONDS = 86_400.0


def finite(option: typer.CallbackParam, value: float | None) -> float | None:
    """The value of a float option. Raises TandemError for one that is no finite number."""
    if value is not None and not math.isfinite(value):
        raise TandemError(f"{option.opts[0]} is {value}; give a finite number")
    return value


def duration(option: typer.CallbackParam, value: float) -> float:
    """Seconds to wait, from a thousandth to a day. Raises TandemError for others."""
    if not 0.001 <= value <= LONGEST_SECONDS:
        raise TandemError(f"{option.opts[0]} is {value:g}; give 0.001 to {LONGEST_SECONDS:,.0f} seconds")
    return value
