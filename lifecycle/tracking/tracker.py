"""Where trainings are recorded: an MLflow server or SQLite file, or nowhere. A failed record stops no training."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from lifecycle.tracking.lineage import Lineage, TrackedRun
from lifecycle.tracking.store import tracking_uri

OFF = "off"
FOLDER = "tracking"


class Tracking(BaseModel):
    """Where to record."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str | None = Field(
        default=None,
        min_length=1,
        description="URL of an MLflow server, a folder, or off; none: a folder beside the output.",
    )


class TrackingSettings(BaseSettings):
    """Settings of trainings and of the registry: `TANDEM_TRACKING__URI`, `[tracking] uri` in TOML, or `--track`."""

    model_config = SettingsConfigDict(env_prefix="TANDEM_", env_nested_delimiter="__", extra="forbid", frozen=True)

    tracking: Tracking = Tracking()


class Run(Protocol):
    """One training under way."""

    def record(self, report: Mapping[str, Any], digest: str, files: Sequence[Path]) -> TrackedRun | None:
        """Stores the report and the files, and registers the model of that digest as the candidate."""
        ...


class Tracker(Protocol):
    """Records runs."""

    def run(self, lineage: Lineage, settings: Mapping[str, Any]) -> AbstractContextManager[Run]:
        """A run from here to the block's end; it is marked as failed when the block raises."""
        ...


class NullTracker:
    """Records nothing."""

    @contextmanager
    def run(self, lineage: Lineage, settings: Mapping[str, Any]) -> Iterator["NullTracker"]:
        """A run that is not recorded."""
        yield self

    def record(self, report: Mapping[str, Any], digest: str, files: Sequence[Path]) -> None:
        """Does nothing."""


def open_tracker(location: str | None, beside: Path, notify: Callable[[str], None]) -> Tracker:
    """The tracker for a URL, a folder or `off`; None means a folder beside the models, `beside`/tracking.

    Beside, since models and the record of their training are then moved, kept and removed together. `notify` receives
    at most one line a training.
    """
    if location == OFF:
        return NullTracker()
    if find_spec("mlflow") is None:
        notify("not tracked: runs and curves need pip install 'tandem-retrieval[track]'")
        return NullTracker()
    from lifecycle.tracking.mlflow_tracker import MlflowTracker

    return MlflowTracker(tracking_uri(location or str(beside / FOLDER)), notify)
