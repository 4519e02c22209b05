"""A disk that is full or broken: nothing half written stays, the message states what is kept, later appends work."""

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from changes import entry

from catalog.change_log import tail
from catalog.change_log.file import FileChangeLog
from core.errors import ChangeLogError


@pytest.fixture
def log(tmp_path: Path) -> FileChangeLog:
    log = FileChangeLog(tmp_path / "log", rotate_bytes=1000)
    log.append([entry("a")])
    return log


def ids(log: FileChangeLog) -> list[str]:
    return [one.request_id for one in log.read(0)]


def test_a_full_disk_keeps_nothing_of_an_append(
    log: FileChangeLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = next((tmp_path / "log").glob("*.log"))
    content, pwrite = path.read_bytes(), os.pwrite

    def write_a_part(handle: int, data: Any, place: int) -> int:
        if len(data) <= 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return pwrite(handle, data[:20], place)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", write_a_part)
        with pytest.raises(ChangeLogError, match="No space left on device; none of these changes is kept: free some"):
            log.append([entry("b")])
    assert path.read_bytes() == content
    assert [one.revision for one in log.append([entry("c")])] == [2]
    assert ids(log) == ids(FileChangeLog(tmp_path / "log")) == ["a", "c"]


def test_what_a_failed_sync_left_is_written_again_before_it_counts(
    log: FileChangeLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sync that fails leaves clean pages behind: another one alone would report success and write nothing."""
    steps: list[str] = []
    sync, pwrite = tail.sync_data, os.pwrite

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(tail, "sync_data", fail)
        patch.setattr(os, "ftruncate", fail)
        with pytest.raises(ChangeLogError, match="it is unknown whether the changes are kept"):
            log.append([entry("b")])
    monkeypatch.setattr(tail, "sync_data", lambda handle: (steps.append("sync"), sync(handle))[1])
    monkeypatch.setattr(os, "pwrite", lambda *call: (steps.append("write"), pwrite(*call))[1])
    [after] = log.append([entry("c")])
    assert after.revision == 3 and ids(log) == ["a", "b", "c"]
    assert steps[:2] == ["write", "sync"]


def test_what_the_disk_did_not_confirm_is_taken_back_before_anyone_reads_it(
    log: FileChangeLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    sync, broken = tail.sync_data, [True]

    def sync_once_broken(handle: int) -> None:
        if broken.pop() if broken else False:
            seen.append(ids(FileChangeLog(tmp_path / "log")))  # a reader, while the write is not confirmed
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        sync(handle)

    monkeypatch.setattr(tail, "sync_data", sync_once_broken)
    with pytest.raises(ChangeLogError, match="Input/output error; none of these changes is kept"):
        log.append([entry("b")])
    assert seen == [["a"]]
    log.append([entry("c")])
    assert ids(log) == ["a", "c"]


def test_what_cannot_be_taken_back_is_called_unknown(
    log: FileChangeLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(tail, "sync_data", broken)
        patch.setattr(os, "ftruncate", broken)
        with pytest.raises(ChangeLogError, match="unknown whether the changes are kept: send them again with the same"):
            log.append([entry("b")])
    assert [one.revision for one in log.append([entry("c")])] == [3]  # it was whole, so it counts
    assert ids(log) == ids(FileChangeLog(tmp_path / "log")) == ["a", "b", "c"]


def test_a_segment_that_cannot_be_begun_leaves_no_trace(
    log: FileChangeLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = sorted(path.name for path in (tmp_path / "log").iterdir())
    log.close()
    log = FileChangeLog(tmp_path / "log", rotate_bytes=1)

    def broken(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(ChangeLogError, match="No space left on device; none of these changes is kept"):
            log.append([entry("b")])
    assert sorted(path.name for path in (tmp_path / "log").iterdir()) == names
    assert log.append([entry("c")])[0].revision == 2
    assert ids(log) == ["a", "c"]


def test_a_folder_that_may_not_be_written_is_a_clear_refusal(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("no folder")
    with pytest.raises(ChangeLogError, match=r"cannot be changed: .*; none of these changes is kept: see that"):
        FileChangeLog(tmp_path / "log").append([entry("a")])


def test_a_log_that_was_moved_away_takes_no_more(log: FileChangeLog, tmp_path: Path) -> None:
    (tmp_path / "log").rename(tmp_path / "moved")
    with pytest.raises(ChangeLogError, match="was moved away or replaced while it was used"):
        log.append([entry("b")])
    assert ids(FileChangeLog(tmp_path / "moved")) == ["a"]


def test_closing_waits_for_an_append_that_is_under_way(
    log: FileChangeLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go, sync = threading.Event(), threading.Event(), tail.sync_data

    def slow(handle: int) -> None:
        begun.set()
        go.wait(60)
        sync(handle)

    monkeypatch.setattr(tail, "sync_data", slow)
    with ThreadPoolExecutor(2) as pool:
        appending = pool.submit(log.append, [entry("b")])
        begun.wait(60)
        closing = pool.submit(log.close)
        with pytest.raises(TimeoutError):
            closing.result(0.1)
        go.set()
        assert appending.result()[0].revision == 2
        closing.result()
    assert ids(FileChangeLog(tmp_path / "log")) == ["a", "b"]
