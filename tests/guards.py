"""The lines of `guards.toml`, and the project without one of them."""

import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Guard:
    """A line that keeps a promise, what stands in its place without it, and the test that then fails."""

    file: str
    guard: str
    without: str
    test: str

    @property
    def name(self) -> str:
        """For reports."""
        return f"{self.file}: {self.guard.strip().splitlines()[0]}"


def read_guards() -> list[Guard]:
    """All guards, in the order of the file."""
    return [Guard(**entry) for entry in tomllib.loads((ROOT / "tests/guards.toml").read_text())["guards"]]


def copy_project(folder: Path) -> None:
    """Copies what git knows of the project, so that tests can run there."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        source = ROOT / name
        if name and source.is_file() and not source.is_symlink():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
