"""The log of what administrators did: each change of what it holds is seen."""

import errno
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from core.audit import AuditError, AuditLog, current_user


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    kept = AuditLog(tmp_path / "audit.jsonl")
    for number in range(4):
        kept.record("publish", "shop", f"user-{number}", release=f"r-{number}")
    return kept


def test_an_entry_has_who_what_and_when_and_follows_the_one_before(log: AuditLog) -> None:
    entries = log.check()
    assert [(entry.sequence, entry.who, entry.action, entry.catalog) for entry in entries] == [
        (number + 1, f"user-{number}", "publish", "shop") for number in range(4)
    ]
    assert entries[2].facts == {"release": "r-2"} and entries[2].time.endswith("Z")
    assert [entry.previous for entry in entries] == ["0" * 64, *(entry.digest for entry in entries[:-1])]


def test_digests_are_of_the_whole_entry_as_its_format_says(log: AuditLog) -> None:
    content = json.loads(log.path.read_text().splitlines()[1])
    digest = content.pop("digest")
    assert digest == sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def test_without_a_name_it_is_the_user_of_the_process(log: AuditLog) -> None:
    assert log.record("rollback", "shop").who == current_user()
    assert current_user()


def _replace(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data.replace(old, new)


def _without(number: int) -> Callable[[bytes], bytes]:
    def leave_out(data: bytes) -> bytes:
        lines = data.splitlines(keepends=True)
        return b"".join(lines[:number] + lines[number + 1 :])

    return leave_out


def _swapped(data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    return b"".join([lines[0], lines[2], lines[1], lines[3]])


def _forged(data: bytes) -> bytes:
    """The second entry with another user and a digest that is right for it."""
    lines = data.splitlines(keepends=True)
    content = json.loads(lines[1]) | {"who": "nobody"}
    content.pop("digest")
    digest = sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    lines[1] = json.dumps(content | {"digest": digest}, sort_keys=True).encode() + b"\n"
    return b"".join(lines)


TAMPERINGS = {
    "a user": _replace(b"user-2", b"user-9"),
    "a fact": _replace(b"r-0", b"r-9"),
    "a digest": lambda data: data.replace(json.loads(data.splitlines()[1])["digest"].encode(), b"0" * 64, 1),
    "the first entry left out": _without(0),
    "an entry left out": _without(1),
    "the last entry left out": _without(3),
    "two entries swapped": _swapped,
    "an entry with a digest of its own": _forged,
    "an entry twice": lambda data: data + data.splitlines(keepends=True)[-1],
    "a line that is none": lambda data: data + b"{}\n",
    "a field more": _replace(b'{"action"', b'{"more": 1, "action"'),
    "bytes": lambda data: b"\xff\xfe\n" + data,
    "nested": lambda data: b"[" * 50_000 + b"\n" + data,
    "all of it gone": lambda data: b"",
}


@pytest.mark.parametrize("change", TAMPERINGS.values(), ids=TAMPERINGS)
def test_every_change_is_seen(log: AuditLog, change: Callable[[bytes], bytes]) -> None:
    before = log.path.read_bytes()
    changed = change(before)
    assert changed != before
    log.path.write_bytes(changed)
    with pytest.raises(AuditError, match=r"audit\.jsonl"):
        log.check()


@pytest.mark.parametrize("length", range(1, 5))
def test_an_end_that_is_cut_is_seen_by_check_and_by_the_next_entry(log: AuditLog, length: int) -> None:
    lines = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(b"".join(lines[:-length]))
    for use in (log.check, lambda: log.record("publish")):
        with pytest.raises(AuditError, match=r"has \d entries and had 4"):
            use()


def test_a_chain_made_anew_is_seen_by_a_digest_that_was_kept(log: AuditLog, tmp_path: Path) -> None:
    kept = log.check()[1].digest
    assert len(log.check(kept)) == 4
    for path in tmp_path.iterdir():
        path.unlink()
    for _ in range(4):
        log.record("publish", "shop", "nobody")
    log.check()
    with pytest.raises(AuditError, match="no entry has the digest"):
        log.check(kept)


def test_an_entry_that_a_crash_cut_off_is_removed_and_named(log: AuditLog) -> None:
    whole = log.path.read_bytes()
    half = b'{"action": "publish", "cata'
    log.path.write_bytes(whole + half)
    assert len(log.check()) == 4
    assert log.record("rollback").facts["removed"] == f"{len(half)} bytes of an entry that was cut off"
    assert log.path.read_bytes().startswith(whole) and len(log.check()) == 5


def test_a_head_that_lags_by_a_crash_is_no_fault(log: AuditLog, tmp_path: Path) -> None:
    first = log.check()[0]
    (tmp_path / "audit.jsonl.head").write_text(f"1 {first.digest}\n")
    assert len(log.check()) == 4
    assert log.record("rollback").sequence == 5


@pytest.mark.parametrize("text", ["", "4", "four " + "0" * 64, "4 " + "0" * 64])
def test_a_head_of_another_chain_is_a_fault(log: AuditLog, tmp_path: Path, text: str) -> None:
    (tmp_path / "audit.jsonl.head").write_text(text)
    with pytest.raises(AuditError):
        log.check()


def test_a_full_disk_leaves_the_log_as_it_was(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    before = log.path.read_bytes()

    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, pytest.raises(OSError, match=r"No space left.*audit\.jsonl"):
        patch.setattr(os, "fsync", fail)
        log.record("publish")
    assert log.path.read_bytes() == before and len(log.check()) == 4


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        AuditLog(tmp_path / "file" / "audit.jsonl").record("publish")


def test_long_and_odd_texts_are_bounded_and_kept_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tandem")
    log = AuditLog(tmp_path / "audit.jsonl")
    odd = "\U0001f600\n\udcff" * 1_000
    log.record(odd[:9], odd[:9], odd, **{f"fact{number}": odd for number in range(100)})
    log.record("publish")
    assert all(one.getMessage().isprintable() for one in caplog.records) and len(caplog.records) == 2
    [first, _] = log.check()
    assert len(first.who) == 300 and len(first.facts) == 12
    assert len(log.path.read_bytes().splitlines()) == 2


def test_entries_of_several_processes_make_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    program = (
        "import sys; from pathlib import Path; from core.audit import AuditLog\n"
        "for number in range(20): AuditLog(Path(sys.argv[1])).record('publish', who=sys.argv[2])"
    )
    command = [sys.executable, "-c", program, str(path)]
    writers = [subprocess.Popen([*command, f"writer-{number}"]) for number in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    entries = AuditLog(path).check()
    assert len(entries) == 60 and {entry.who for entry in entries} == {f"writer-{number}" for number in range(3)}


def test_what_others_add_while_it_is_checked_is_no_fault(log: AuditLog) -> None:
    class Checked(AuditLog):
        def _read(self) -> Any:
            read = super()._read()
            AuditLog(self.path).record("publish", "shop", release="r-5")
            return read

    assert len(Checked(log.path).check()) == 4
    assert len(log.check()) == 5
