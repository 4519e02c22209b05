"""The lineage of a model: `run.json` beside it, which indexing copies into the manifest of every release with it."""

import os
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import ModelError
from core.manifest import Manifest

RUN_FILE = "run.json"
_GIT_SECONDS = 10


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TrackedRun(_Frozen):
    """Where the run is recorded, without credentials, and the name and version of its model in the registry."""

    uri: str
    run_id: str
    model: str | None = None
    version: str | None = None


class Lineage(_Frozen):
    """The content of `run.json`. `base` has its revision, `base_origin` is where it was taken from (folder, cache,
    hub or package), `data` has a SHA-256 for each input, `git` is the commit of Tandem's own code, `verdict` is why
    it is served, where something decided that after the training."""

    format: Literal[1] = 1
    kind: Literal["encoder", "ranker"]
    base: str
    base_origin: str | None = None
    catalog: str
    started: datetime
    data: dict[str, str]
    tandem_version: str
    git: str | None = None
    run: TrackedRun | None = None
    verdict: str | None = None


def write_verdict(folder: Path, verdict: str) -> None:
    """Adds why it is served to the lineage of a model, where the folder has one. Raises ModelError."""
    if known := read_lineage(folder):
        write_lineage(folder, Lineage.model_validate(known).model_copy(update={"verdict": verdict}))


def write_lineage(folder: Path, lineage: Lineage) -> None:
    """Writes `run.json` into the folder of a trained model."""
    (folder / RUN_FILE).write_text(lineage.model_dump_json(indent=2) + "\n")


def read_lineage(folder: Path) -> dict[str, Any] | None:
    """The content of `run.json` in a model's folder, or None without one. Raises ModelError when it cannot be read."""
    path = folder / RUN_FILE
    try:
        return Lineage.model_validate_json(path.read_bytes()).model_dump(mode="json")
    except FileNotFoundError:
        return None
    except (OSError, ValidationError):
        raise ModelError(f"{path}: is not what a training leaves; remove it to go on without the lineage") from None


def release_lineage(manifest: Manifest) -> dict[str, Any]:
    """From a release back to its inputs: the digests of its indexed inputs, its model set and their runs.

    The spec of its final score has in its report what each stage earned where it was learned.
    """
    known = manifest.model.lineage or {}
    return {
        "release": manifest.release_id,
        "catalog": manifest.catalog,
        "snapshot": manifest.snapshot.catalog_id,
        "inputs": manifest.inputs,
        "model_set": manifest.model.model_id,
        "encoder": known.get("encoder"),
        "ranker": known.get("ranker"),
        "final": manifest.model.final,
    }


def git_revision(file: Path) -> str | None:
    """The commit of a file of Tandem's, with `+changes` where tracked files differ; None where git has none."""
    try:
        _git(file, "ls-files", "--error-unmatch", file.name)  # an installed copy may lie in a repository not its own
        changed = _git(file, "status", "--porcelain", "--untracked-files=no")
        return _git(file, "rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(file: Path, *arguments: str) -> str:
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
    options: dict[str, Any] = {"cwd": file.parent, "env": environment, "timeout": _GIT_SECONDS, "check": True}
    return subprocess.run(["git", *arguments], capture_output=True, text=True, **options).stdout.strip()
