import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from catalog.change_log.group import GroupCommit


class Disk:
    """Commits when it is let, and counts how many payloads each commit has."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.committed: list[bytes] = []
        self.begun, self.let = threading.Semaphore(0), threading.Semaphore(0)
        self.fails = False

    def commit(self, payloads: Sequence[bytes]) -> int:
        self.begun.release()
        assert self.let.acquire(timeout=60)
        self.sizes.append(len(payloads))
        if self.fails:
            raise OSError("full")
        self.committed += payloads
        return len(self.committed) - len(payloads) + 1


def add_many(group: GroupCommit, pool: ThreadPoolExecutor, names: Sequence[str]) -> list[Future[int]]:
    """Adds them one behind the other, each waiting before the next comes."""
    futures = []
    for count, name in enumerate(names, 1):
        futures.append(pool.submit(group.add, [name.encode()]))
        while len(group._queue) < count:
            pass
    return futures


def test_all_who_come_during_a_commit_share_the_next_one_in_their_order() -> None:
    disk = Disk()
    group = GroupCommit(disk.commit, 1000)
    with ThreadPoolExecutor(32) as pool:
        first = pool.submit(group.add, [b"first", b"second"])
        assert disk.begun.acquire(timeout=60)
        names = [f"{number:02d}" for number in range(31)]
        futures = add_many(group, pool, names)
        disk.let.release()
        assert first.result(60) == 1 and disk.begun.acquire(timeout=60)
        disk.let.release()
        assert [future.result(60) for future in futures] == list(range(3, 34))
    assert disk.sizes == [2, 31]
    assert disk.committed == [b"first", b"second", *(name.encode() for name in names)]


def test_a_commit_has_a_bound_and_the_rest_follows() -> None:
    disk = Disk()
    group = GroupCommit(disk.commit, 10)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(group.add, [b"x" * 50])  # larger than the bound: alone
        assert disk.begun.acquire(timeout=60)
        futures = add_many(group, pool, ["aaaa", "bbbb", "cccc", "dddd", "e" * 50])
        for _ in range(4):
            disk.let.release()
        assert first.result(60) == 1 and [future.result(60) for future in futures] == [2, 3, 4, 5, 6]
    assert disk.sizes == [1, 2, 2, 1]


def test_a_failure_is_everybodys_in_the_group_and_of_no_other() -> None:
    disk = Disk()
    group = GroupCommit(disk.commit, 1000)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(group.add, [b"a"])
        assert disk.begun.acquire(timeout=60)
        futures = add_many(group, pool, ["b", "c"])
        disk.let.release()
        assert first.result(60) == 1 and disk.begun.acquire(timeout=60)
        disk.fails = True
        disk.let.release()
        for future in futures:
            with pytest.raises(OSError, match="full"):
                future.result(60)
        disk.fails = False
        disk.let.release()
        assert group.add([b"d"]) == 2


def test_who_was_committed_does_not_wait_for_the_commit_behind() -> None:
    disk = Disk()
    group = GroupCommit(disk.commit, 1000)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(group.add, [b"a"])
        assert disk.begun.acquire(timeout=60)
        second = add_many(group, pool, ["b", "c", "d"])
        disk.let.release()
        assert first.result(60) == 1 and disk.begun.acquire(timeout=60)
        [third] = add_many(group, pool, ["e"])
        disk.let.release()
        assert disk.begun.acquire(timeout=60)  # the third commit is under way
        assert [future.result(60) for future in second] == [2, 3, 4] and not third.done()
        disk.let.release()
        assert third.result(60) == 5


def test_callers_that_come_again_and_again_share_commits() -> None:
    sizes: list[int] = []

    def commit(payloads: Sequence[bytes]) -> int:
        time.sleep(0.0005)  # a disk
        sizes.append(len(payloads))
        return sum(sizes) - len(payloads) + 1

    group = GroupCommit(commit, 1000)
    with ThreadPoolExecutor(32) as pool:
        callers = [pool.submit(lambda: [group.add([b"a"]) for _ in range(30)]) for _ in range(32)]
        revisions = [number for caller in callers for number in caller.result(60)]
    assert sorted(revisions) == list(range(1, 961))
    assert len(sizes) < 300  # one each would be 960
