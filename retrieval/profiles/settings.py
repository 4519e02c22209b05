"""How profiles of shoppers are kept."""

from dataclasses import dataclass
from pathlib import Path

REDIS = ("redis://", "rediss://", "unix://")
EMBEDDED, OFF = "embedded", "off"
MOST_KEPT = 10_000
"""Events that may be kept of a shopper in a catalog, at the most."""


@dataclass(frozen=True, slots=True)
class ProfileSettings:
    """Where profiles are kept: `embedded` in a file in `folder`, `off`, or the URL of a Redis. Events are kept for
    `days`, and the latest `most` of each shopper."""

    store: str
    folder: Path
    key_file: Path | None = None
    key: str = ""
    days: float = 90.0
    most: int = 200
