"""Without a guard, the test that is named beside it fails; with it, it passes."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from guards import Guard, copy_project, read_guards
from torture import SCALE, SEED, amount

GUARDS = read_guards()
SHORT = 2


def passes(folder: Path, test: str) -> bool:
    """Whether it passes there; a test that cannot be run at all raises."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", test],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{folder}:{folder / 'protos'}", "TANDEM_TORTURE": "0"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    if done.returncode not in (0, 1):
        raise AssertionError(f"{test} did not run: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.returncode == 0


@pytest.mark.torture
def test_each_guard_is_missed(tmp_path: Path) -> None:
    chosen = random.Random(SEED).sample(GUARDS, min(len(GUARDS), amount(SHORT, len(GUARDS))))
    copy_project(tmp_path)
    missed: list[Guard] = []
    for guard in chosen:
        path = tmp_path / guard.file
        whole = path.read_text()
        if SCALE:
            assert passes(tmp_path, guard.test), f"{guard.test} fails with its guard"
        path.write_text(whole.replace(guard.guard, guard.without))
        if passes(tmp_path, guard.test):
            missed.append(guard)
        path.write_text(whole)
    assert not missed, "no test fails without " + "; ".join(guard.name for guard in missed)
