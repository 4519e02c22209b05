import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from core import durable
from core.durable import allocate, make_folder, read_file, replace_text, whole_folder
from core.errors import ReleaseError


def test_a_plain_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"abc")
    assert read_file(path, 3) == b"abc"
    with pytest.raises(ReleaseError, match="longer than 2 bytes"):
        read_file(path, 2)
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "none", 9)


@pytest.mark.parametrize("kind", ["link", "folder", "pipe", "device"])
def test_what_is_no_plain_file_is_not_read_nor_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "f"
    if kind == "link":
        (tmp_path / "g").write_bytes(b"abc")
        path.symlink_to(tmp_path / "g")
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path = Path("/dev/zero")
    with pytest.raises(ReleaseError, match=r"is a link|is not a file"):
        read_file(path, 9)


def test_a_refused_replacement_leaves_the_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    path = tmp_path / "f"
    replace_text(path, "old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="full"):
        replace_text(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_new_folders_are_durable_in_what_holds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(durable, "sync", synced.append)
    make_folder(tmp_path / "a" / "b" / "c")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b" / "c").is_dir()
    assert synced == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]


def test_a_whole_folder_is_synced_before_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(durable, "sync", lambda path: synced.append(path.name))
    with whole_folder(tmp_path / "model") as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "weights").write_text("x")
    assert synced == ["inner", "weights", folder.name, tmp_path.name]


def test_a_folder_is_whole_or_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "models" / "m"
    for text in ("one", "two"):
        with whole_folder(target) as folder:
            (folder / "f").write_text(text)
            assert folder != target
        assert (target / "f").read_text() == text
    with pytest.raises(KeyError), whole_folder(target) as folder:
        (folder / "f").write_text("three")
        raise KeyError
    assert (target / "f").read_text() == "two" and list(target.parent.iterdir()) == [target]
    assert target.stat().st_mode & 0o777 == 0o755


def test_unfinished_folders_of_ended_processes_go_and_those_under_way_stay(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from core.durable import whole_folder\n"
        "with whole_folder(Path(sys.argv[1])) as folder:\n"
        "    print(folder, flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "theirs")]
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        theirs = Path(process.stdout.readline().strip())
        with whole_folder(tmp_path / "ours"):
            assert theirs.is_dir()
        process.kill()
        process.wait()
    assert theirs.is_dir()
    with whole_folder(tmp_path / "ours"):
        assert not theirs.exists()


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP, None])
def test_room_for_a_mapped_file_is_taken_where_the_file_system_cannot_promise_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int | None
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, "not here")

    if number is not None:
        monkeypatch.setattr(os, "posix_fallocate", refuse)
    path = tmp_path / "f"
    with path.open("wb") as file:
        file.write(b"head")
        file.truncate(3 << 20)
    allocate(path)
    assert path.stat().st_blocks * 512 >= 3 << 20
    assert path.read_bytes() == b"head" + bytes((3 << 20) - 4)


def test_a_full_disk_is_reported_before_a_file_is_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "posix_fallocate", full)
    (tmp_path / "f").write_bytes(b"abc")
    with pytest.raises(OSError, match="full"):
        allocate(tmp_path / "f")
