"""Kills what writes or folds a change log at random moments, and compares what is left with what was acknowledged."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from catalog.change_log.open import open_change_log
from catalog.change_log.protocol import ChangeLog
from catalog.changes import Change, ChangeKind, NewEntry

_ROOT = Path(__file__).resolve().parents[1]
_MEAN_SECONDS = 0.05
_CHANGES = 5  # before each fold


@dataclass(frozen=True, slots=True)
class Losses:
    """What killings cost. Ghosts were never sent; of duplicates one request stands twice."""

    kills: int
    acknowledged: int
    lost: int
    ghosts: int
    duplicates: int


class Writer:
    """A process that writes, and what it stated."""

    def __init__(self, *arguments: object) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.change_writer", *map(str, arguments)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
            cwd=_ROOT,
            text=True,
        )
        self._begun = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def kill_after(self, seconds: float) -> None:
        """Kills it so many seconds after its first acknowledgement."""
        assert self._begun.wait(120), "the writer does not begin"
        time.sleep(seconds)
        assert self.process.poll() is None, "the writer ended by itself"
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self.lines.append(line.strip())
                if line.startswith("A "):
                    self._begun.set()


def kill_writers(setting: str, folder: Path, catalog: str, kills: int, seed: int) -> Losses:
    """Kills one or two writers of one log, so many times, and reads the log after each."""
    chance = random.Random(f"{seed} {setting[:5]}")
    acknowledged: dict[int, str] = {}
    sent: set[str] = set()
    lost: set[int] = set()
    ghosts: set[str] = set()
    repeated: set[str] = set()
    for kill in range(kills):
        seconds = chance.expovariate(1 / _MEAN_SECONDS)
        print(f"seed {seed}, kill {kill} after {seconds:.4f} s")
        writers = [Writer(setting, folder, catalog, seed, f"{kill}{name}") for name in "ab"[: 1 + kill % 2]]
        for writer in writers:
            writer.kill_after(seconds)
        for line in (line for writer in writers for line in writer.lines):
            state, *rest = line.split()
            if state == "S":
                sent.add(rest[0])
            elif acknowledged.setdefault(int(rest[0]), rest[1]) != rest[1]:
                lost.add(int(rest[0]))  # two were given one revision
        log = open_change_log(setting, folder, catalog)
        kept = _read_kept(log)
        log.close()
        lost |= {number for number, name in acknowledged.items() if number >= min(kept) and kept.get(number) != name}
        ghosts |= set(kept.values()) - sent
        repeated |= {name for name, count in Counter(kept.values()).items() if count > 1}
    return Losses(kills, len(acknowledged), len(lost), len(ghosts), len(repeated))


def _read_kept(log: ChangeLog) -> dict[int, str]:
    """The request of every entry that is kept, by revision."""
    first, last = log.bounds()
    kept: dict[int, str] = {}
    while first + len(kept) <= last:
        kept |= {one.revision: one.request_id for one in log.read(first - 1 + len(kept))}
    assert list(kept) == list(range(first, last + 1)), "revisions have gaps"
    return kept


def kill_folds(
    command: Sequence[str],
    open_log: Callable[[], ChangeLog],
    catalog: Callable[[], dict[str, str]],
    time_of_changes: int,
    kills: int,
    seed: int,
) -> Losses:
    """Kills `tandem index` so many times, each after some changes; `catalog` returns titles by id as a service has
    them.

    Moments are spread over what the command takes when it is not killed.
    """
    chance, plain = random.Random(seed), catalog()
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    whole = 1.1 * (time.monotonic() - began)
    names = sorted(plain) + [f"live{number}" for number in range(len(plain))]
    lost: set[str] = set()
    ghosts: set[str] = set()
    for kill in range(kills):
        log = open_log()
        for number in range(_CHANGES):
            name, request = chance.choice(names), f"{kill}-{number}"
            change = Change(ChangeKind.delete, name)
            plain.pop(name, None)
            if chance.random() < 0.7:
                plain[name] = f"mug {request}"
                change = Change(ChangeKind.upsert, name, product={"id": name, "title": plain[name]})
            log.append([NewEntry(time_of_changes, request, (change,))])
        log.close()
        seconds = chance.uniform(0, whole)
        print(f"seed {seed}, kill {kill} after {seconds:.3f} s")
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as job:
            try:
                job.wait(seconds)
            except subprocess.TimeoutExpired:
                job.send_signal(signal.SIGKILL)
        there = catalog()
        lost |= {f"{kill} {name}" for name in plain if there.get(name) != plain[name]}
        ghosts |= {f"{kill} {name}" for name in there if name not in plain}
    return Losses(kills, kills * _CHANGES, len(lost), len(ghosts), 0)
