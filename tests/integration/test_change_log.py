"""What every change log does: one suite for files and for a real Redis server."""

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from changes import delete, entry, update, upsert

from catalog.change_log.open import open_change_log
from catalog.change_log.protocol import ChangeLog
from catalog.changes import Change, ChangeKind, NewEntry
from core.errors import ChangeLogError, EntriesDropped

Open = Callable[[], ChangeLog]


@pytest.fixture(params=["file", "redis"])
def open_log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens one and the same log, as often as a test likes."""
    setting = "" if request.param == "file" else request.getfixturevalue("redis_url")
    catalog, opened = uuid.uuid4().hex, []

    def open_it() -> ChangeLog:
        opened.append(open_change_log(setting, tmp_path / "catalog" / "changes", catalog))
        return opened[-1]

    yield open_it
    for log in opened:
        log.close()


def requests(log: ChangeLog, after: int = 0, most: int = 1000) -> list[tuple[int, str]]:
    return [(one.revision, one.request_id) for one in log.read(after, most)]


def test_an_empty_log_has_no_bounds_and_makes_nothing(open_log: Open, tmp_path: Path) -> None:
    log = open_log()
    assert (log.bounds(), log.read(0), log.id) == ((1, 0), [], "")
    assert log.append([]) == [] and not log.wait(0, 0.0)
    log.drop(5)
    assert log.bounds() == (1, 0)
    assert not (tmp_path / "catalog").exists()


def test_entries_come_back_as_they_were_given(open_log: Open) -> None:
    row = {
        "id": "ä-1",
        "title": "Tasse ☕",
        "description": None,
        "price_micros": 2**62,
        "popularity": 0.1,
        "attributes": [("a", "b"), ("a", "c")],
    }
    given = NewEntry(
        1_764_369_600_123,
        "request 1",
        (
            Change(ChangeKind.upsert, "ä-1", 7, row, b"\x00\xff" * 384, "digest"),
            Change(ChangeKind.update_fields, "b", 0, {"price_micros": None, "availability": "in_stock"}),
            Change(ChangeKind.delete, "c", 2**60),
        ),
    )
    [appended] = open_log().append([given])
    [read] = open_log().read(0)
    assert read == appended
    assert (read.revision, read.time, read.request_id, read.changes) == (1, given.time, given.request_id, given.changes)


def test_revisions_have_no_gaps_whoever_appends(open_log: Open) -> None:
    first, second = open_log(), open_log()
    assert [one.revision for one in first.append([entry("a"), entry("b")])] == [1, 2]
    assert [one.revision for one in second.append([entry("c")])] == [3]
    assert [one.revision for one in first.append([entry("d")])] == [4]
    assert requests(second) == [(1, "a"), (2, "b"), (3, "c"), (4, "d")]
    assert first.bounds() == second.bounds() == (1, 4)
    assert first.id == second.id != ""


def test_reading_begins_behind_a_revision_and_ends_at_most(open_log: Open) -> None:
    log = open_log()
    log.append([entry(str(number)) for number in range(1, 11)])
    assert requests(log, 4, 3) == [(5, "5"), (6, "6"), (7, "7")]
    assert requests(log, 7, 1) == [(8, "8")]
    assert requests(log, 9) == [(10, "10")] and requests(log, 10) == []
    assert requests(log, 0, 0) == []
    assert [number for number, _ in requests(log, 2)] == [3, 4, 5, 6, 7, 8, 9, 10]


def test_who_is_ahead_of_the_log_learns_that_it_lost_entries(open_log: Open) -> None:
    log = open_log()
    log.append([entry("a")])
    with pytest.raises(ChangeLogError, match="ends at revision 1, before 2"):
        log.read(2)


def test_many_writers_lose_and_repeat_nothing(open_log: Open) -> None:
    logs = [open_log(), open_log()]

    def write(writer: int) -> list[tuple[int, str]]:
        log = logs[writer % 2]
        made = [log.append([entry(f"{writer}-{k}-{i}") for i in range(1 + k % 3)]) for k in range(12)]
        return [(one.revision, one.request_id) for group in made for one in group]

    with ThreadPoolExecutor(6) as pool:
        written = [pair for pairs in pool.map(write, range(6)) for pair in pairs]
    assert sorted(written) == requests(open_log())
    assert [revision for revision, _ in sorted(written)] == list(range(1, 6 * 24 + 1))


def test_entries_of_one_call_stand_together(open_log: Open) -> None:
    log = open_log()
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda n: log.append([entry(f"{n}-{i}") for i in range(5)]), range(20)))
    for group in made:
        numbers = [one.revision for one in group]
        assert numbers == list(range(numbers[0], numbers[0] + 5))


def test_waiting_ends_with_an_entry_of_another_writer(open_log: Open) -> None:
    reader, writer = open_log(), open_log()
    assert not reader.wait(0, 0.01)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(reader.wait, 0, 60)
        writer.append([entry("a")])
        assert waiting.result()
    assert reader.wait(0, 0) and not reader.wait(1, 0.01)


def test_closing_ends_waiting(open_log: Open) -> None:
    log = open_log()
    log.append([entry("a")])
    begun = threading.Event()

    def wait() -> bool:
        begun.set()
        return log.wait(1, 60)

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait)
        begun.wait()
        log.close()
        assert not waiting.result()


def test_what_is_dropped_is_refused_and_revisions_go_on(open_log: Open) -> None:
    log, other = open_log(), open_log()
    log.append([entry(str(number)) for number in range(1, 6)])
    identity = log.id
    for nothing in (0, -1, -50):
        log.drop(nothing)
        assert log.bounds() == (1, 5)
    other.drop(5)
    assert log.bounds() == other.bounds() == (6, 5)
    assert log.read(5) == []
    with pytest.raises(EntriesDropped, match="from revision 6 on, and 3 is asked for") as refused:
        log.read(2)
    assert refused.value.first == 6
    assert [one.revision for one in log.append([entry("6")])] == [6]
    assert requests(open_log(), 5) == [(6, "6")]
    assert open_log().id == identity
    other.drop(3)  # again, and before what is kept
    assert other.bounds() == (6, 6)


def test_dropping_keeps_all_that_is_later(open_log: Open) -> None:
    log = open_log()
    for number in range(1, 31):
        log.append([entry(str(number))])
        if number % 7 == 0:
            log.drop(number - 3)
            first, last = log.bounds()
            assert first <= number - 2 and last == number
            assert [revision for revision, _ in requests(log, number - 3)] == [number - 2, number - 1, number]


def test_an_entry_that_cannot_be_kept_is_refused_and_leaves_no_trace(open_log: Open) -> None:
    log = open_log()
    with pytest.raises(ChangeLogError, match="cannot be kept"):
        log.append([entry("a"), entry("b", upsert("b", title="\ud800"))])
    with pytest.raises(ChangeLogError, match="send fewer at once"):
        log.append([entry("c", upsert("c", title="x" * (33 << 20)))])
    assert log.bounds() == (1, 0)
    assert log.append([entry("d", delete("d"), update("e", price_micros=1))])[0].revision == 1


def test_large_entries_are_read_piece_by_piece(open_log: Open) -> None:
    log = open_log()
    for number in range(5):
        log.append([entry(str(number), upsert("a", description="x" * (9 << 20)))])
    seen: list[int] = []
    rounds = 0
    while len(seen) < 5:
        seen += [one.revision for one in log.read(len(seen))]
        rounds += 1
    assert seen == [1, 2, 3, 4, 5] and rounds > 1
