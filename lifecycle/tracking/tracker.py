"""Where trainings are recorded: an MLflow server or SQLite file, or nowhere. A record that fails stops no training."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from lifecycle.tracking.lineage import Lineage, Tracked

OFF = "off"
FOLDER = "tracking"
_DATABASE = "mlflow.db"
_LOCAL = ("sqlite", "file")
_LONGEST = 200

Tell = Callable[[str], None]


class Tracking(BaseModel):
    """Where to record."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str | None = Field(default=None, min_length=1, description="URL or folder; off; none: beside the models")


class TrackingSettings(BaseSettings):
    """Settings of trainings and of the registry: `TANDEM_TRACKING__URI`, `[tracking] uri` in TOML, or `--track`."""

    model_config = SettingsConfigDict(env_prefix="TANDEM_", env_nested_delimiter="__", extra="forbid", frozen=True)

    tracking: Tracking = Tracking()


class Run(Protocol):
    """One training under way."""

    def record(self, report: Mapping[str, Any], digest: str, files: Sequence[Path]) -> Tracked | None:
        """Keeps what `report.json` says and the files, and registers the model of that digest as the candidate."""
        ...


class Tracker(Protocol):
    """Keeps runs."""

    def run(self, lineage: Lineage, settings: Mapping[str, Any]) -> AbstractContextManager[Run]:
        """A run from here to the block's end; it is marked as failed when the block raises."""
        ...


class Untracked:
    """Keeps nothing."""

    @contextmanager
    def run(self, lineage: Lineage, settings: Mapping[str, Any]) -> Iterator["Untracked"]:
        """A run that nobody keeps."""
        yield self

    def record(self, report: Mapping[str, Any], digest: str, files: Sequence[Path]) -> None:
        """Nothing is kept."""


def open_tracker(given: str | None, beside: Path, tell: Tell) -> Tracker:
    """The tracker for a URL, a folder or `off`; None means a folder beside the models, `beside`/tracking.

    Beside, since models and the record of how they came about are then moved, kept and removed together. `tell` gets
    at most one line a training.
    """
    if given == OFF:
        return Untracked()
    if find_spec("mlflow") is None:
        tell("not tracked: runs and curves need pip install 'tandem-retrieval[track]'")
        return Untracked()
    from lifecycle.tracking.mlflow_tracker import MlflowTracker

    return MlflowTracker(tracking_uri(given or str(beside / FOLDER)), tell)


def tracking_uri(given: str) -> str:
    """A URL as it is; a folder as that of the SQLite file in it."""
    return given if "://" in given else f"sqlite:///{Path(given).resolve() / _DATABASE}"


def model_name(catalog: str, kind: str) -> str:
    """What the registry calls a model."""
    return f"tandem-{catalog}-{kind}"


def shown(uri: str) -> str:
    """The URI without user, password and query, fit to be written and printed."""
    scheme, _, rest = uri.partition("://")
    plain = rest if scheme.partition("+")[0] in _LOCAL else rest.rpartition("@")[2]
    return f"{scheme}://{plain.partition('?')[0].partition('#')[0]}"


def reason(error: Exception, uri: str) -> str:
    """An error's first line, or its kind alone where that line would tell what `shown` leaves out."""
    line = (str(error).splitlines() or [""])[0][:_LONGEST]
    user, _, password = uri.partition("://")[2].rpartition("@")[0].partition(":")
    secrets = {user, password, unquote(password), uri.partition("?")[2]} - {""}
    return type(error).__name__ if not line or any(secret in line for secret in secrets) else line
