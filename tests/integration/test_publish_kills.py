"""Publishing, publishing rules, and the change log, killed, refused by the disk or hit by a power cut at each call.

The work runs in traced processes, see `crash_points.py`, which can be called by itself as well.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from crash_scenarios import BEFORE, write_draft
from shops import ROOT, environment, index, write_rows
from system_calls import unavailable
from tiny import COLOURS, NAMES, write_base
from torture import SEED, amount

from core.releases import ReleaseStore
from encoder.train.export import export_encoder
from indexer.models import ModelFolders

pytestmark = [pytest.mark.torture, pytest.mark.skipif(bool(unavailable()), reason=unavailable() or "traced")]


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders to start from, by scenario: each with `releases`, and the files of a release to be published."""
    base = tmp_path_factory.mktemp("starts")
    rows = [{"id": f"{name}-{colour}", "title": f"{name} {colour}"} for name in NAMES for colour in COLOURS]
    made = ReleaseStore(base / "made")
    manifests = []
    for seed in range(2):
        export_encoder(write_base(base / f"base-{seed}", seed), base / f"encoder-{seed}")
        feed = write_rows(base / f"{seed}.jsonl", rows[seed:])
        manifests.append(index(feed, ModelFolders(base / f"encoder-{seed}", None), made).manifest)
    old, new = manifests
    (base / "first" / "releases").mkdir(parents=True)
    write_draft(made, new.release_id, base / "first")
    shutil.copytree(base / "first", base / "publish")
    store = ReleaseStore(base / "publish" / "releases")
    with store.lock(old.catalog):
        for name in old.files:
            store.add_copy(made.path(old.catalog, old.release_id) / name)
        store.publish(old.model_copy(update={"release_id": BEFORE}))
    for name in ("rules", "changes"):
        (base / name / "releases").mkdir(parents=True)
    return {name: base / name for name in ("first", "publish", "rules", "changes")} | {"prune": base / "publish"}


def disturb(scenario: str, modes: dict[str, int], starts: dict[str, Path], work: Path) -> dict[str, Any]:
    """Disturbs the work in each mode at so many points, and checks that everything held; returns what was tried."""
    arguments = [scenario, starts[scenario], work, "--seed", SEED, *(f"{mode}={modes[mode]}" for mode in modes)]
    command = [sys.executable, ROOT / "tests" / "crash_points.py", *arguments]
    run = subprocess.run([*map(str, command)], capture_output=True, text=True, env=environment(), check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    results: dict[str, Any] = json.loads(run.stdout)
    for mode, result in results.items():
        print(f"{scenario}, {mode}: {result}")
        assert result["faults"] == [], f"{mode}: {result['count']}"
    return results


# How many points in `make test` and `make torture`; where there are fewer calls, each is tried.
_KILLED = {
    "publish": {"kill": (10, 500), "tear": (2, 60), "random": (4, 100)},
    "first": {"kill": (3, 80)},
    "prune": {"kill": (3, 80)},
    "rules": {"kill": (8, 50), "tear": (4, 50)},
    "changes": {"kill": (10, 100), "tear": (10, 100)},
}
_REFUSED = {
    "publish": {"refuse": (6, 80), "full": (3, 60), "broken": (3, 60)},
    "rules": {"refuse": (6, 50), "full": (4, 50), "broken": (2, 50)},
    "changes": {"refuse": (10, 100), "full": (6, 100), "broken": (4, 100)},
}
_POWER_CUTS = {"publish": (2, 40), "first": (0, 40), "prune": (0, 15), "rules": (4, 50), "changes": (6, 100)}


@pytest.mark.parametrize("scenario", _KILLED)
def test_killed_at_any_call_old_or_new_is_served_whole(scenario: str, starts: dict[str, Path], tmp_path: Path) -> None:
    modes = {mode: amount(*points) for mode, points in _KILLED[scenario].items()}
    for mode, result in disturb(scenario, modes, starts, tmp_path / "work").items():
        # What ends before a random moment is not killed.
        assert mode == "random" or result["ends"]["killed"] == min(modes[mode], result["calls"])
        assert result["slowest"] < 10


@pytest.mark.parametrize("scenario", _REFUSED)
def test_a_disk_that_refuses_harms_nothing_that_is_served_and_gets_its_space_back(
    scenario: str, starts: dict[str, Path], tmp_path: Path
) -> None:
    disturb(scenario, {mode: amount(*points) for mode, points in _REFUSED[scenario].items()}, starts, tmp_path / "work")


@pytest.mark.parametrize("scenario", _POWER_CUTS)
def test_a_power_cut_loses_nothing_that_was_reported(scenario: str, starts: dict[str, Path], tmp_path: Path) -> None:
    """What is not synced is lost in four ways at each point, and after the last call."""
    results = disturb(scenario, {"lose": amount(*_POWER_CUTS[scenario])}, starts, tmp_path / "work")
    assert results["lose"]["ends"]["done"] == 5  # undisturbed, and after the last call


def test_a_refused_sync_is_never_taken_for_one_that_worked(starts: dict[str, Path], tmp_path: Path) -> None:
    """A later sync does not write what an earlier one could not: Linux takes it for clean."""
    disturb("changes", {"gate": amount(8, 100)}, starts, tmp_path / "work")
