"""Nothing phones home, whatever HOME is; each look is in a fresh interpreter, as importing is what counts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from shops import environment

LOOK = "import pathlib, os; print(*(p for p in pathlib.Path(os.environ['HOME']).rglob('*') if p.is_file()))"
CI = ("CI", "GITHUB_ACTIONS", "TF_BUILD", "JENKINS_URL", "ORT_RUNNING_UNIT_TESTS", "ORT_DISABLE_TELEMETRY")


def run(code: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Runs code where neither tests nor CI have switched anything off."""
    own = {name: value for name, value in environment().items() if name not in CI and not name.startswith("XDG_")}
    own |= {"HOME": str(home), "DO_NOT_TRACK": "0"}
    return subprocess.run([sys.executable, "-c", code], env=own, capture_output=True, text=True, check=True)


def test_serving_leaves_no_identifier_of_the_machine(tmp_path: Path) -> None:
    assert run(f"import retrieval.server.main, retrieval.release.engines; {LOOK}", tmp_path).stdout.split() == []


def test_a_home_that_cannot_be_written_is_not_complained_of(tmp_path: Path) -> None:
    home = tmp_path / "file"
    home.write_text("not a folder")
    assert run("import retrieval.server.main, engine.onnx.session", home).stderr == ""


def test_the_library_would_without_the_switch(tmp_path: Path) -> None:
    """Else the tests above hold for nothing, and the switch can go."""
    kept = run(f"import onnxruntime, time; time.sleep(.2); {LOOK}", tmp_path).stdout.lower()
    if not kept:
        pytest.skip("this build of ONNX Runtime keeps nothing")
    assert "onnxruntime" in kept


@pytest.mark.parametrize("name", ["ORT_DISABLE_TELEMETRY", "MLFLOW_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY"])
def test_what_is_started_inherits_the_switches(name: str) -> None:
    assert os.environ[name] in ("1", "true")
