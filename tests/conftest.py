"""What every test sees: the stubs' folder on the path and no setting of the user's shell."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

_ROOT = Path(__file__).resolve().parents[1]
for folder in (_ROOT, _ROOT / "protos", Path(__file__).resolve().parent):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

# Machines that run tests are busy: a slow example is no failure, and the same run tries the same examples.
settings.register_profile("tandem", deadline=None, derandomize=True)
settings.load_profile("tandem")


def pytest_report_header() -> str:
    """The seed of random moments and inputs."""
    from torture import SEED

    return f"TANDEM_TORTURE_SEED={SEED}"


@pytest.fixture(autouse=True)
def no_settings_from_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's TANDEM_* variables change no test."""
    ours = ("TANDEM_SERVE_", "TANDEM_TRACKING_", "TANDEM_GATE_")
    for name in [name for name in os.environ if name.startswith(ours)]:
        monkeypatch.delenv(name)
