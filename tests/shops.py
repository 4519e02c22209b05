"""Small feeds indexed with real models, and the command in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from builders import damage

from core.manifest import Manifest
from core.progress import Silent
from core.releases import ReleaseStore
from indexer.cleaning.mapping import FeedMapping
from indexer.inputs import IndexOptions
from indexer.job import IndexOutcome, index_feed
from indexer.models import ModelFolders

ROOT = Path(__file__).resolve().parents[1]
COLORS = ("red", "blue", "green", "black", "white")
THINGS = ("kettle", "garden hose", "hiking boots", "desk lamp", "cordless drill", "bed sheet")


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    """A JSONL feed."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_feed(path: Path, prefix: str, changed: int = 0) -> Path:
    """Thirty products whose ids begin with the prefix; the first `changed` of them have another title."""
    rows = []
    for i in range(len(COLORS) * len(THINGS)):
        color, thing = COLORS[i % len(COLORS)], THINGS[i // len(COLORS)]
        title = f"{color} {thing}" + (" new edition" if i < changed else "")
        rows.append({"id": f"{prefix}{i}", "title": title, "price": f"{i}.99 EUR", "availability": "in stock"})
    return write_rows(path, rows)


def index(feed: Path, models: ModelFolders, store: ReleaseStore) -> IndexOutcome:
    """Makes a release of catalog `default`, unless nothing changed."""
    return index_feed(feed, FeedMapping(), models, IndexOptions(), store, Silent())


def publish_damaged(store: ReleaseStore, good: Manifest) -> str:
    """Publishes the same release again under another name, with one byte of its index changed."""
    bad = good.model_copy(update={"release_id": good.release_id[:-8] + "deadbeef"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "point", lambda *_: None)  # not before it is damaged
        store.publish(bad)
    damage(store.path(bad.catalog, bad.release_id) / "index.faiss")
    store.point(bad.catalog, bad.release_id)
    return bad.release_id


def command(*arguments: object) -> list[str]:
    """`tandem` with its arguments, of this working tree."""
    return [sys.executable, "-m", "lifecycle.cli", *map(str, arguments)]


def environment() -> dict[str, str]:
    """For a child process that imports this working tree."""
    return os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'protos'}"}


@contextmanager
def process(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """The command, running beside the test; killed in the end unless it ended before."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command(*arguments), text=True, env=environment(), **pipes) as running_process:
        try:
            yield running_process
        finally:
            running_process.kill()
