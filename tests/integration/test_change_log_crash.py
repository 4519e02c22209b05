"""Writers killed at random moments of writing, rotating and dropping: nothing acknowledged is lost, nothing is made up.

TANDEM_TORTURE=300 sets how many are killed (`make torture`), TANDEM_TORTURE_SEED another choice of moments.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from pathlib import Path

import pytest

from catalog.change_log.open import open_change_log
from catalog.change_log.protocol import ChangeLog

ROOT = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("TANDEM_TORTURE", "10"))
SEED = int(os.environ.get("TANDEM_TORTURE_SEED", "23"))


class Writer:
    """A process that writes, and what it stated."""

    def __init__(self, *arguments: object) -> None:
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "change_writer.py"), *map(str, arguments)],
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        self.lines: list[str] = []
        self.begun = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def kill_after(self, seconds: float) -> None:
        """Kills it so many seconds after its first acknowledgement."""
        assert self.begun.wait(60), "the writer does not begin"
        time.sleep(seconds)
        assert self.process.poll() is None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self.lines.append(line.strip())
                if line.startswith("A "):
                    self.begun.set()


def read_kept(log: ChangeLog) -> dict[int, str]:
    """Every entry that is kept, by revision."""
    first, last = log.bounds()
    kept: dict[int, str] = {}
    while first + len(kept) <= last:
        kept |= {one.revision: one.request_id for one in log.read(first - 1 + len(kept))}
    assert list(kept) == list(range(first, last + 1))
    return kept


@pytest.mark.torture
@pytest.mark.parametrize("kind", ["file", "redis"])
def test_killed_writers_lose_repeat_and_invent_nothing(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    setting = request.getfixturevalue("redis_url") if kind == "redis" else ""
    folder, catalog, chance = tmp_path / "shop" / "changes", uuid.uuid4().hex, random.Random(f"{SEED} {kind}")
    acknowledged: dict[int, str] = {}
    sent: set[str] = set()
    for kill in range(KILLS if kind == "file" else max(2, KILLS // 5)):
        seconds = chance.expovariate(20)
        print(f"seed {SEED}, kill {kill} after {seconds:.4f} s")
        writers = [Writer(setting, folder, catalog, SEED, f"{kill}{name}") for name in "ab"[: 1 + kill % 2]]
        for writer in writers:
            writer.kill_after(seconds)
        for line in (line for writer in writers for line in writer.lines):
            state, *rest = line.split()
            if state == "S":
                sent.add(rest[0])
            else:
                revision, name = int(rest[0]), rest[1]
                assert acknowledged.setdefault(revision, name) == name
        log = open_change_log(setting, folder, catalog)
        kept = read_kept(log)
        log.close()
        first = min(kept, default=1)
        lost = {revision: name for revision, name in acknowledged.items() if revision >= first and revision not in kept}
        changed = {revision for revision, name in acknowledged.items() if kept.get(revision, name) != name}
        assert (lost, changed, set(kept.values()) - sent) == ({}, set(), set())
        assert [name for name, count in Counter(kept.values()).items() if count > 1] == []
    assert acknowledged and max(acknowledged) <= max(kept)
