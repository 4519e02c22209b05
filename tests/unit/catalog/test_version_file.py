from pathlib import Path

import pyarrow as pa
import pytest
from changes import entry, update, upsert

from catalog.version_file import (
    REQUESTS_FILE,
    VERSIONS_FILE,
    VersionFile,
    open_rules,
    read_requests,
    write_requests,
    write_versions,
)
from catalog.versions import Answer, Outcome
from core.errors import ReleaseError

A, S, M = Outcome.applied, Outcome.stale, Outcome.missing
IDS = ["", "a", "b", "ä", "zz", "\ue000", "😀"]  # in the order of their UTF-8


def write(path: Path, ids: list[str]) -> None:
    rows = [
        {"id": name, "version": n + 1, "version_at_cut": n, "in_feed": [True, False, None][n % 3]}
        for n, name in enumerate(ids)
    ]
    columns = {key: [row[key] for row in reversed(rows)] for key in ("id", "version", "version_at_cut", "in_feed")}
    write_versions(path, pa.table(columns))


@pytest.mark.parametrize("count", range(len(IDS) + 1))
def test_every_id_is_looked_up_and_no_other(tmp_path: Path, count: int) -> None:
    write(tmp_path / "v", IDS[:count])
    file = VersionFile(tmp_path / "v")
    assert len(file) == count
    for place, name in enumerate(IDS):
        there = place < count
        assert file.version(name) == (place + 1 if there else 0)
        assert file.version_at_cut(name) == (place if there else 0)
        assert file.in_feed(name) is ([True, False, None][place % 3] if there else None)
    assert [file.version(name) for name in ("A", "aa", "c", "~", "😁")] == [0] * 5


def test_rules_of_a_release_know_its_versions_and_requests(tmp_path: Path) -> None:
    assert open_rules(tmp_path).version("a") == 0
    write(tmp_path / VERSIONS_FILE, IDS)
    answers = [("r 1", Answer(7, (A, S))), ("r 2", Answer(9, (M,)))]
    write_requests(tmp_path / REQUESTS_FILE, answers)
    assert read_requests(tmp_path / REQUESTS_FILE) == answers
    rules = open_rules(tmp_path)
    assert rules.repeated("r 1") == Answer(7, (A, S)) and rules.repeated("r 3") is None
    assert rules.decide(upsert("a", 1), True) is S and rules.decide(update("a", 3), True) is A
    rules.remember(entry("r 3"), 100_007, [A])
    assert rules.repeated("r 1") is None and rules.repeated("r 2") is not None


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / VERSIONS_FILE).write_bytes(b"no arrow")
    with pytest.raises(ReleaseError, match=r"versions\.arrow cannot be read"):
        open_rules(tmp_path)
    write_requests(tmp_path / VERSIONS_FILE, [])
    with pytest.raises(ReleaseError, match="other columns than this version knows"):
        open_rules(tmp_path)
