"""A process that writes into a change log until it is killed, and states what it sent and what was acknowledged.

    python -m benchmarks.change_writer SETTING FOLDER CATALOG SEED RUN

Lines on its output: `S id` before an entry is sent, `A revision id` once it is acknowledged.
"""

import os
import random
import sys
import threading
from pathlib import Path

from catalog.change_log.file import FileChangeLog
from catalog.change_log.open import open_change_log
from catalog.changes import Change, ChangeKind, NewEntry

_ROTATE_BYTES, _KEPT = 4000, 50


def main(setting: str, folder: Path, catalog: str, seed: int, run: str) -> None:
    """Writes from three threads; now and then drops what is old."""
    log = FileChangeLog(folder, _ROTATE_BYTES) if not setting else open_change_log(setting, folder, catalog)

    def state(line: str) -> None:
        os.write(1, f"{line}\n".encode())  # one call: whole, however the process ends

    def write(thread: int) -> None:
        chance = random.Random(f"{seed} {run} {thread}")
        for number in range(1 << 20):
            names = [f"{run}-{thread}-{number}-{place}" for place in range(chance.choice([1, 1, 1, 3]))]
            for name in names:
                state(f"S {name}")
            made = log.append([_entry(name, chance.randrange(400)) for name in names])
            for one in made:
                state(f"A {one.revision} {one.request_id}")
            if chance.random() < 0.03:
                log.drop(made[-1].revision - _KEPT)

    for thread in range(3):
        threading.Thread(target=write, args=(thread,)).start()


def _entry(name: str, size: int) -> NewEntry:
    product = {"id": name, "title": "x" * size}
    return NewEntry(0, name, (Change(ChangeKind.upsert, name, product=product),))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5])
