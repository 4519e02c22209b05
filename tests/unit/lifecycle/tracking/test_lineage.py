import subprocess
from pathlib import Path

import pytest
from builders import LINEAGE, entry, make_manifest

from core.errors import ModelError
from lifecycle.tracking.lineage import git_revision, read_lineage, release_lineage, write_lineage


def test_what_training_leaves_is_read_again(tmp_path: Path) -> None:
    write_lineage(tmp_path, LINEAGE)
    assert read_lineage(tmp_path) == LINEAGE.model_dump(mode="json")


def test_a_model_from_elsewhere_has_none(tmp_path: Path) -> None:
    assert read_lineage(tmp_path) is None


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"format": 1')
    with pytest.raises(ModelError, match=r"run\.json: is not what a training leaves"):
        read_lineage(tmp_path)


def test_a_release_leads_back_to_runs_and_data() -> None:
    manifest = make_manifest({"encoder/a": entry("a")}, {"products.arrow": entry("b")}, inputs={"feed": "d" * 64})
    reported = LINEAGE.model_dump(mode="json")
    model = manifest.model.model_copy(update={"lineage": {"encoder": reported}})
    result = release_lineage(manifest.model_copy(update={"model": model}))
    assert (result["release"], result["model_set"]) == (manifest.release_id, manifest.model.model_id)
    assert result["inputs"] == {"feed": "d" * 64}
    assert result["encoder"]["run"]["run_id"] == "r1" and result["encoder"]["data"]["judgments"] == "b" * 64
    assert result["ranker"] is None


def test_the_revision_is_that_of_the_files_own_repository(tmp_path: Path) -> None:
    file = tmp_path / "code.py"
    file.write_text("1\n")
    assert git_revision(file) is None  # no repository

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=n", "-c", "user.email=e@x"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    assert git_revision(file) is None  # in one, and not of it
    git("add", "code.py")
    git("commit", "-m", "first")
    revision = git_revision(file)
    assert revision is not None and len(revision) == 40
    file.write_text("2\n")
    assert git_revision(file) == revision + "+changes"
