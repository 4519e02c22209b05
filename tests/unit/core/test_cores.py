"""The cores of a process whose control groups limit its time."""

from pathlib import Path

import pytest

from core.cores import available_cores


@pytest.fixture(autouse=True)
def sixty_four(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))


def system(folder: Path, groups: str, **files: str) -> Path:
    """A root of a file system with these control groups; of names, __ stands for a slash and _ for a dot."""
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/self/cgroup").write_text(groups)
    for name, text in files.items():
        path = folder / "sys/fs/cgroup" / name.replace("__", "/").replace("cpu_max", "cpu.max")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("limit", "cores"),
    [("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1), ("max 100000", 64), ("9900000 100000", 64)],
)
def test_a_container_uses_what_its_limit_gives(tmp_path: Path, limit: str, cores: int) -> None:
    assert available_cores(system(tmp_path, "0::/\n", cpu_max=limit + "\n")) == cores


def test_the_least_limit_of_all_groups_above_counts(tmp_path: Path) -> None:
    files = {"cpu_max": "max 100000", "pods__cpu_max": "300000 100000", "pods__one__cpu_max": "max 100000"}
    assert available_cores(system(tmp_path, "0::/pods/one\n", **files)) == 3


def test_a_system_of_the_first_version(tmp_path: Path) -> None:
    root = system(tmp_path, "4:memory:/x\n2:cpu,cpuacct:/docker/one\n0::/\n")
    group = root / "sys/fs/cgroup/cpu,cpuacct/docker/one"
    group.mkdir(parents=True)
    (group / "cpu.cfs_quota_us").write_text("400000\n")
    (group / "cpu.cfs_period_us").write_text("100000\n")
    assert available_cores(root) == 4
    (group / "cpu.cfs_quota_us").write_text("-1\n")
    assert available_cores(root) == 64


@pytest.mark.parametrize("limit", ["", "two 100000", "100000", "100000 0", "-5 100000"])
def test_what_cannot_be_read_limits_nothing(tmp_path: Path, limit: str) -> None:
    assert available_cores(system(tmp_path, "0::/\n", cpu_max=limit)) == 64
    assert available_cores(tmp_path / "nowhere") == 64


def test_this_machine_has_some() -> None:
    assert 1 <= available_cores() <= 64
