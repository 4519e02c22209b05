"""How a tracking store and its models are named, and what may be printed of it."""

from pathlib import Path
from urllib.parse import unquote

_DATABASE = "mlflow.db"
_LOCAL = ("sqlite", "file")
_LONGEST = 200


def tracking_uri(location: str) -> str:
    """A URL unchanged; for a folder, the URL of the SQLite file in it."""
    return location if "://" in location else f"sqlite:///{Path(location).resolve() / _DATABASE}"


def model_name(catalog: str, kind: str) -> str:
    """What the registry calls a model."""
    return f"tandem-{catalog}-{kind}"


def redact_uri(uri: str) -> str:
    """The URI without user, password and query, fit to be written and printed."""
    scheme, _, rest = uri.partition("://")
    plain = rest if scheme.partition("+")[0] in _LOCAL else rest.rpartition("@")[2]
    return f"{scheme}://{plain.partition('?')[0].partition('#')[0]}"


def error_line(error: Exception, uri: str) -> str:
    """An error's first line, or its kind alone where that line shows what `redact_uri` leaves out."""
    line = (str(error).splitlines() or [""])[0][:_LONGEST]
    user, _, password = uri.partition("://")[2].rpartition("@")[0].partition(":")
    secrets = {user, password, unquote(password), uri.partition("?")[2]} - {""}
    return type(error).__name__ if not line or any(secret in line for secret in secrets) else line
