"""Where a training is recorded, and that a record which fails neither stops it nor tells a secret."""

from pathlib import Path
from typing import Any

import pytest
from builders import LINEAGE

from core.config import load_settings
from core.errors import TandemError
from lifecycle.tracking import tracker as tracking
from lifecycle.tracking.mlflow_tracker import MlflowTracker, flatten_numbers
from lifecycle.tracking.registry import Registry
from lifecycle.tracking.store import error_line, redact_uri, tracking_uri
from lifecycle.tracking.tracker import NullTracker, TrackingSettings, open_tracker

SECRET = "http://me:s3cret%21@mlflow:5000"


@pytest.mark.parametrize(
    ("uri", "seen"),
    [
        (SECRET + "/x", "http://mlflow:5000/x"),
        ("http://me:s3/cr@et@mlflow", "http://mlflow"),
        ("http://mlflow:5000?token=s3cret", "http://mlflow:5000"),
        ("postgresql+psycopg://me:s3cret@db/mlflow", "postgresql+psycopg://db/mlflow"),
        ("sqlite:////models/a@b/mlflow.db", "sqlite:////models/a@b/mlflow.db"),
    ],
)
def test_a_uri_is_shown_without_its_secrets(uri: str, seen: str) -> None:
    assert redact_uri(uri) == seen


@pytest.mark.parametrize("reason", [f"GET {SECRET}/api failed", "bad password s3cret!", "user me", ""])
def test_a_reason_that_contains_a_secret_is_not_given(reason: str) -> None:
    assert error_line(ConnectionError(reason), SECRET) == "ConnectionError"


def test_a_reason_is_its_first_line() -> None:
    assert error_line(ConnectionError("refused\nand so on"), "http://mlflow") == "refused"


def test_a_folder_is_an_sqlite_file_in_it(tmp_path: Path) -> None:
    assert tracking_uri(str(tmp_path)) == f"sqlite:///{tmp_path}/mlflow.db"
    assert tracking_uri("http://mlflow:5000") == "http://mlflow:5000"


def test_settings_come_from_option_environment_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "s.toml"
    file.write_text('[tracking]\nuri = "http://file"\n')
    assert load_settings(TrackingSettings, file, {}).tracking.uri == "http://file"
    monkeypatch.setenv("TANDEM_TRACKING__URI", "http://environment")
    assert load_settings(TrackingSettings, file, {}).tracking.uri == "http://environment"
    assert load_settings(TrackingSettings, file, {"tracking": {"uri": "off"}}).tracking.uri == "off"


def test_off_is_silent(tmp_path: Path) -> None:
    lines: list[str] = []
    assert isinstance(open_tracker("off", tmp_path, lines.append), NullTracker) and not lines


def test_without_mlflow_one_line_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    lines: list[str] = []
    assert isinstance(open_tracker(None, tmp_path, lines.append), NullTracker)
    assert lines == ["not tracked: runs and curves need pip install 'tandem-retrieval[track]'"]


class Down:
    """A server that refuses, with the password in what it says."""

    def __init__(self) -> None:
        self.requests = 0

    def __call__(self, uri: str) -> Any:
        self.requests += 1
        raise ConnectionError(f"{uri} refused")


def test_a_server_that_is_down_is_told_once_and_loses_no_training() -> None:
    lines: list[str] = []
    down = Down()
    with MlflowTracker(SECRET, lines.append, down).run(LINEAGE, {}) as run:
        assert run.record({}, "digest", []) is None
    assert lines == ["not tracked in http://mlflow:5000, training goes on: ConnectionError"]
    assert down.requests == 1


def test_a_training_that_fails_fails_as_without_tracking() -> None:
    with pytest.raises(KeyboardInterrupt), MlflowTracker(SECRET, lambda line: None, Down()).run(LINEAGE, {}):
        raise KeyboardInterrupt


def test_a_registry_that_is_down_is_a_users_error_without_secrets() -> None:
    with pytest.raises(TandemError, match="the registry at http://mlflow:5000 fails: ConnectionError"):
        Registry(SECRET, Down()).versions()


def test_numbers_are_found_in_tables_and_not_in_lists() -> None:
    report = {"best": 0.5, "data": {"examples": 3}, "loss": [{"step": 1}], "name": "x", "flag": True}
    assert flatten_numbers(report) == [("best", 0.5), ("data.examples", 3)]
