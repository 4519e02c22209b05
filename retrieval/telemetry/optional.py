"""What telemetry needs beyond serving: loaded where a setting asks for it, named where it is not installed."""

from importlib import import_module
from typing import Any

from core.errors import TandemError

_LACKS = "{} needs the extra `{}`: install 'tandem-retrieval[{}]', or leave {} empty"


def load_for(setting: str, extra: str, module: str) -> Any:
    """A module of this package whose libraries are an extra. Raises TandemError, naming the setting that needs it."""
    try:
        return import_module(f"retrieval.telemetry.{module}")
    except ImportError as error:
        raise TandemError(_LACKS.format(setting, extra, extra, setting)) from error
