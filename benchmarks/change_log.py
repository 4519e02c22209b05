"""What the change log costs and keeps: appends, folding, and writers and index jobs that are killed.

    python -m benchmarks.change_log [--kills 300] [--redis redis://127.0.0.1:6379/9] [--entries 100000]

Writers are killed at random moments of writing, rotating and dropping, index jobs while they fold. The Redis database
is written to; give one of its own. Folding is timed without embedding and indexing.
"""

import argparse
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.common import RESULTS, latencies, save
from benchmarks.killing import kill_folds, kill_writers
from catalog.change_log.file import FileChangeLog
from catalog.change_log.open import CHANGES_FOLDER, open_change_log
from catalog.change_log.protocol import ChangeLog
from catalog.changes import Change, ChangeKind, NewEntry
from catalog.product import CATALOG_SCHEMA
from catalog.table import ProductTable
from catalog.version_file import open_rules
from core.progress import ignore
from core.releases import ReleaseStore
from indexer.changes import Changes
from indexer.fold import fold_into_feed, plan_fold
from indexer.overlay import Overlay
from indexer.product_files import ColumnsWriter, make_batch

_THREADS, _APPENDS = (1, 8, 32), 300
_BATCH = 500
_FEWER_KILLS = 5  # one writer into Redis and one index job is killed for so many writers of files
_DIMENSIONS = 384


def main() -> None:
    """Measures, prints and saves the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=23)
    parser.add_argument("--redis", default="", help="URL of a database to write to")
    parser.add_argument("--entries", type=int, default=100_000, help="to fold")
    parser.add_argument("--products", type=int, default=200_000, help="of the feed they are folded into")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    appends: dict[str, Any] = {}
    killed: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folding = _fold(folder / "fold", options.entries, options.products, options.seed)
        for kind, setting in (("file", ""), ("redis", options.redis)):
            if kind == "file" or setting:
                appends |= {
                    f"{kind}, {row.pop('threads')} threads": row for row in _appends(setting, folder / "appends")
                }
                kills = options.kills if kind == "file" else max(1, options.kills // _FEWER_KILLS)
                losses = kill_writers(setting, folder / "killed", uuid.uuid4().hex, kills, options.seed)
                killed[f"writers, {kind}"] = asdict(losses)
        kills = max(1, options.kills // _FEWER_KILLS)
        killed["index jobs, file"] = _kill_jobs(folder / "jobs", kills, options.seed)
    results = {"killed": killed, "appends": appends, "folding": folding}
    Console(width=120).print(results)
    names = ("kills", "seed", "entries", "products")
    print(save("change_log", {name: getattr(options, name) for name in names}, results, options.output))


def _appends(setting: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Appends of one small entry each, by several threads at once."""
    for threads in _THREADS:
        log = open_change_log(setting, folder, uuid.uuid4().hex)
        seconds: list[float] = []
        entry = NewEntry(0, "", (Change(ChangeKind.update_fields, "a", product={"price_micros": 1}),))

        def append(log: ChangeLog = log, entry: NewEntry = entry, seconds: list[float] = seconds) -> None:
            for _ in range(_APPENDS):
                began = time.perf_counter()
                log.append([entry])
                seconds.append(time.perf_counter() - began)

        workers = [threading.Thread(target=append) for _ in range(threads)]
        began = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        whole = time.perf_counter() - began
        log.close()
        yield {"threads": threads, "appends_per_second": round(len(seconds) / whole), **latencies(seconds)}


def _fold(folder: Path, entries: int, products: int, seed: int) -> dict[str, Any]:
    """Folds upserts, updates and deletes of products of a feed, and of as many as a tenth of it beside it."""
    store = ReleaseStore(folder / "releases")
    log = FileChangeLog(store.folder("shop") / CHANGES_FOLDER)
    chance, batch = random.Random(seed), []
    for number in range(entries):
        batch.append(NewEntry(number + 1, f"request {number}", (_change(chance, products, number + 1),)))
        if len(batch) == _BATCH or number == entries - 1:
            log.append(batch)
            batch = []
    columns = folder / "products.arrow"
    with ColumnsWriter(columns) as writer:
        for start in range(0, products, _BATCH):
            rows = [_row(str(number)) for number in range(start, min(products, start + _BATCH))]
            writer.add(make_batch([tuple(map(row.get, CATALOG_SCHEMA.names)) for row in rows]))
    before, began = _peak_mib(), time.perf_counter()
    changes = Changes(log, log.id, *log.bounds())
    plan = plan_fold(store, "shop", changes, None, 0)
    folded = fold_into_feed(plan, store, columns, np.ones(products, np.int64), ignore)
    seconds = time.perf_counter() - began
    log.close()
    assert folded.report is not None
    counts = {name: getattr(folded.report, name) for name in ("folded", "upserted", "updated", "deleted")}
    return {"seconds": round(seconds, 1), "peak_mib": round(_peak_mib() - before), **counts}


def _change(chance: random.Random, products: int, version: int) -> Change:
    name, kind = str(chance.randrange(products + products // 10)), chance.random()
    if kind < 0.5:
        return Change(ChangeKind.upsert, name, version + 1, _row(name), bytes(2 * _DIMENSIONS), "digest")
    if kind < 0.9:
        return Change(ChangeKind.update_fields, name, version + 1, {"price_micros": version})
    return Change(ChangeKind.delete, name, version + 1)


def _row(name: str) -> dict[str, Any]:
    texts = {"title": f"a title of some forty letters, number {name}", "description": "x" * 400}
    return {"id": name, **texts, "price_micros": 1, "currency": "EUR", "attributes": [("a", "b"), ("c", "d")]}


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _kill_jobs(folder: Path, kills: int, seed: int) -> dict[str, Any]:
    """Kills `tandem index` of a shop of thirty products."""
    folder.mkdir()
    feed, store = folder / "feed.csv", ReleaseStore(folder / "releases")
    feed.write_text("id,title\n" + "".join(f"p{number},red mug {number}\n" for number in range(30)))
    command = [sys.executable, "-m", "lifecycle.cli", "index", "--catalog", str(feed), "--releases", str(store.root)]
    subprocess.run(command, check=True, capture_output=True)

    def open_log() -> ChangeLog:
        return FileChangeLog(store.folder("default") / CHANGES_FOLDER)

    now = int(time.time() * 1000) + 1000
    return asdict(kill_folds(command, open_log, lambda: _titles(store, open_log()), now, kills, seed))


def _titles(store: ReleaseStore, log: ChangeLog) -> dict[str, str]:
    """Titles by id, as a service has them: those of the release in service, and later entries over it."""
    manifest = store.in_service("default")
    assert manifest is not None
    folder = store.path("default", manifest.release_id)
    table = ProductTable(folder / "products.arrow")
    titles = {str(row["id"]): str(row["title"]) for row in map(table.row, range(len(table)))}
    overlay = Overlay(open_rules(folder), set(titles).__contains__)
    changes = Changes(log, log.id, *log.bounds())
    for entry in changes.entries(changes.of(manifest).revision):
        for change in entry.changes:
            overlay.apply(change)
    log.close()
    for name, state in overlay.states.items():
        if not state.exists:
            titles.pop(name, None)
        elif state.row is not None:
            titles[name] = state.row["title"]
    return titles


if __name__ == "__main__":
    main()
