"""An index job killed while it embeds goes on where it was."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from core.columns import Columns
from core.releases import ReleaseStore

ROOT = Path(__file__).resolve().parents[2]
PRODUCTS = 6000
CHECKPOINT = 2048
_COLORS = ("red", "blue", "green", "black", "white", "grey", "brown", "pink", "gold", "teal")
_THINGS = ("kettle", "hose", "boots", "lamp", "drill", "sheet", "chair", "knife", "bag", "clock")


def write_feed(path: Path) -> Path:
    with path.open("w") as file:
        for i in range(PRODUCTS):
            title = f"{_COLORS[i % 10]} {_THINGS[i // 10 % 10]} model {i}"
            file.write(json.dumps({"id": str(i), "title": title}) + "\n")
    return path


def start(arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'protos'}"}
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "lifecycle.cli", *arguments], env=environment, stdout=file, stderr=subprocess.STDOUT
        )


def segments(root: Path) -> list[Path]:
    return list(root.glob("catalogs/default/work/embeddings/*/segment-*.npz"))


def test_a_killed_job_goes_on_where_it_was(tmp_path: Path, encoder_dir: Path) -> None:
    store = ReleaseStore(tmp_path / "releases")
    feed = write_feed(tmp_path / "feed.jsonl")
    arguments = ["index", "--catalog", str(feed), "--encoder", str(encoder_dir), "--releases", str(store.root)]
    log = tmp_path / "log"
    with start(arguments, log) as job:
        until = time.monotonic() + 60
        while not segments(store.root):
            assert job.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.01)
        job.send_signal(signal.SIGKILL)
        assert job.wait() == -signal.SIGKILL
    kept = CHECKPOINT * len(segments(store.root))
    assert 0 < kept < PRODUCTS
    assert store.catalogs() == []  # nothing half done is served

    with start(arguments, log) as job:
        assert job.wait(120) == 0, log.read_text()
    [counts] = re.findall(r"([\d,]+) products embedded, ([\d,]+) reused", log.read_text())
    assert [int(count.replace(",", "")) for count in counts] == [PRODUCTS - kept, kept]
    release = store.current("default")
    assert release is not None
    manifest = store.verify("default", release)
    assert manifest.snapshot.products == PRODUCTS
    columns = Columns(store.path("default", release) / "products.arrow")
    assert columns.ids() == [str(i) for i in range(PRODUCTS)]
    assert manifest.validation["self_retrieval_at_10"] > 0.9
