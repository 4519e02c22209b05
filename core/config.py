"""Settings from a TOML file, the environment and options, the later ones first in force."""

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from core.errors import TandemError

Settings = TypeVar("Settings", bound=BaseSettings)


def load_settings(kind: type[Settings], file: Path | None, options: dict[str, Any]) -> Settings:
    """Options that are not None win over the environment, which wins over the file, which wins over defaults.

    Raises TandemError with the first setting at fault.
    """
    chosen = {name: value for name, value in options.items() if value is not None}
    try:
        from_file = _read(file) if file else {}
        from_environment = kind().model_dump(exclude_unset=True)
        return kind(**_merged(_merged(from_file, from_environment), chosen))
    except ValidationError as error:
        raise TandemError(f"setting {_first_fault(error)}") from None


@contextmanager
def table(name: str) -> Iterator[None]:
    """Turns an invalid setting inside the block into a TandemError that names this table."""
    try:
        yield
    except ValidationError as error:
        raise TandemError(f"[{name}] {_first_fault(error)}") from None


def _first_fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    place = ".".join(map(str, fault["loc"]))
    why = str(fault.get("ctx", {}).get("error", fault["msg"]))  # in our own words, where we wrote them
    return f"{place}: {why}" if place else why


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as handle:
            return tomllib.load(handle)
    except FileNotFoundError:
        raise TandemError(f"{file}: no such settings file") from None
    except OSError as error:
        raise TandemError(f"{file}: cannot be read: {error.strerror}") from None
    except RecursionError:
        raise TandemError(f"{file}: is nested too deeply for settings") from None
    except ValueError as error:  # TOML's own errors, bytes that are not UTF-8, numbers of thousands of digits
        raise TandemError(f"{file}: is not TOML: {str(error).splitlines()[0]}") from None


def _merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """The settings of both, table by table; what is in both is taken from `over`."""
    tables = {
        name: _merged(under[name], value)
        for name, value in over.items()
        if isinstance(value, dict) and isinstance(under.get(name), dict)
    }
    return {**under, **over, **tables}
