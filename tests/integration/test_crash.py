"""An index job killed while it embeds goes on where it was."""

import re
import signal
import time
from pathlib import Path

from shops import process, write_rows

from catalog.table import ProductTable
from core.releases import ReleaseStore

PRODUCTS = 6000
CHECKPOINT = 2048
_COLORS = ("red", "blue", "green", "black", "white", "grey", "brown", "pink", "gold", "teal")
_THINGS = ("kettle", "hose", "boots", "lamp", "drill", "sheet", "chair", "knife", "bag", "clock")


def write_shop(path: Path) -> Path:
    titles = (f"{_COLORS[i % 10]} {_THINGS[i // 10 % 10]} model {i}" for i in range(PRODUCTS))
    return write_rows(path, ({"id": str(i), "title": title} for i, title in enumerate(titles)))


def segments(root: Path) -> list[Path]:
    return list(root.glob("catalogs/default/work/embeddings/*/segment-*.npz"))


def test_a_killed_job_goes_on_where_it_was(tmp_path: Path, encoder_dir: Path) -> None:
    store = ReleaseStore(tmp_path / "releases")
    feed = write_shop(tmp_path / "feed.jsonl")
    arguments = ("index", "--catalog", feed, "--encoder", encoder_dir, "--releases", store.root)
    with process(*arguments) as job:
        until = time.monotonic() + 60
        while not segments(store.root):
            assert job.poll() is None and time.monotonic() < until
            time.sleep(0.01)
        job.send_signal(signal.SIGKILL)
        assert job.wait() == -signal.SIGKILL
    kept = CHECKPOINT * len(segments(store.root))
    assert 0 < kept < PRODUCTS
    assert store.catalogs() == []  # nothing half done is served

    with process(*arguments) as job:
        reported, errors = job.communicate(timeout=120)
    assert job.returncode == 0, errors
    [counts] = re.findall(r"([\d,]+) products embedded, ([\d,]+) reused", reported)
    assert [int(count.replace(",", "")) for count in counts] == [PRODUCTS - kept, kept]
    release = store.current("default")
    assert release is not None
    manifest = store.verify("default", release)
    assert manifest.snapshot.products == PRODUCTS
    columns = ProductTable(store.path("default", release) / "products.arrow")
    assert columns.ids() == [str(i) for i in range(PRODUCTS)]
    assert manifest.validation["self_retrieval_at_10"] > 0.9
