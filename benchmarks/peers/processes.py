"""Runs peers' programs, each in a separate process, and reads their reports."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.peers.environments import Peer, PeerFailed, last_line
from benchmarks.peers.programs.loop import Task

Seen = dict[str, dict[str, Any]]  # by program

_ROOT = Path(__file__).resolve().parents[2]
# All weights are local: no hub is contacted, and no telemetry is sent.
_SETTINGS = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "DO_NOT_TRACK": "1", "TOKENIZERS_PARALLELISM": "false"}


def run_all(
    pythons: dict[Peer, Path], task: Task, ids: list[str], folder: Path, timeout: float, failed: dict[str, str]
) -> Seen:
    """Each peer's report, one after another, with product ids instead of rows; a peer that fails is recorded in
    `failed`, by name, and stops no other."""
    results = {}
    for peer, python in pythons.items():
        try:
            outcome = run(peer, python, task, folder, timeout)
        except PeerFailed as error:
            failed[peer.name] = str(error)
            continue
        answers = {
            depth: [[ids[place] for place in rows] for rows in lists] for depth, lists in outcome["answers"].items()
        }
        results[peer.name] = outcome | {"answers": answers}
    return results


def run(peer: Peer, python: Path, task: Task, folder: Path, timeout: float) -> dict[str, Any]:
    """The program's report, once it has ended; its files and its log stay in the folder.

    Raises PeerFailed when it fails, reports nothing or takes longer than so many seconds.
    """
    task_file, report_file, log_file = (folder / f"{peer.module}.{kind}" for kind in ("task.json", "seen.json", "log"))
    task.write(task_file)
    report_file.unlink(missing_ok=True)
    command = [
        str(python),
        "-m",
        f"benchmarks.peers.programs.{peer.module}",
        str(task_file.absolute()),
        str(report_file.absolute()),
    ]
    environment = {**os.environ, **_SETTINGS, "PYTHONPATH": str(_ROOT)}
    with log_file.open("wb") as log:
        try:
            done = subprocess.run(
                command, cwd=_ROOT, env=environment, stdout=log, stderr=log, timeout=timeout, check=False
            )
        except subprocess.TimeoutExpired:
            raise PeerFailed(f"took longer than {timeout:.0f} s") from None
    if done.returncode:
        raise PeerFailed(f"failed: {last_line(log_file.read_text('utf-8', 'replace'))}")
    try:
        return json.loads(report_file.read_bytes())
    except (OSError, ValueError):
        raise PeerFailed("ended without a report") from None
