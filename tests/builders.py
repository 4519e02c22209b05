"""Small manifests, releases and columns for tests."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from catalog.product import CATALOG_SCHEMA
from core.manifest import CatalogSnapshot, FileEntry, Manifest, ModelSet, catalog_id, model_id, release_id
from core.releases import ReleaseStore
from lifecycle.tracking.lineage import Lineage, TrackedRun

COLUMNS_FILE = "products.arrow"
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LINEAGE = Lineage(
    kind="encoder",
    base="all-MiniLM-L6-v2",
    catalog="shop",
    started=START,
    data={"catalog": "a" * 64, "judgments": "b" * 64},
    tandem_version="0",
    git="c" * 40,
    run=TrackedRun(uri="http://mlflow:5000", run_id="r1", model="tandem-shop-encoder", version="3"),
)


def entry(character: str, size: int = 1) -> FileEntry:
    """The entry of a file that need not exist."""
    return FileEntry(sha256=character * 64, size=size)


def make_manifest(
    model_files: dict[str, FileEntry], snapshot_files: dict[str, FileEntry], number: int = 0, **changes: Any
) -> Manifest:
    """A manifest made `number` seconds after the first one's time. The first snapshot file stands for the columns."""
    created = START + timedelta(seconds=number)
    model, columns = model_id(model_files), catalog_id(next(iter(snapshot_files.values())))
    values = {
        "release_id": release_id(created, model, columns),
        "created": created,
        "tandem_version": "0",
        "catalog": "shop",
        "language": "en",
        "country": None,
        "currency": None,
        "inputs": {},
        "model": ModelSet(model_id=model, encoder={}, ranker=None, files=model_files),
        "snapshot": CatalogSnapshot(catalog_id=columns, products=1, cleaning={}, index={}, files=snapshot_files),
        "validation": {},
    }
    return Manifest(**(values | changes))


def publish(
    store: ReleaseStore,
    scratch: Path,
    contents: dict[str, bytes],
    number: int = 0,
    model: dict[str, bytes] | None = None,
    **changes: Any,
) -> Manifest:
    """Adds the files and publishes them as a release; `model` names those of the model set."""
    model_files = {name: _add(store, scratch, data) for name, data in (model or {"encoder/m.onnx": b"model"}).items()}
    snapshot_files = {name: _add(store, scratch, data) for name, data in contents.items()}
    manifest = make_manifest(model_files, snapshot_files, number, **changes)
    return store.publish(manifest)


def _add(store: ReleaseStore, scratch: Path, data: bytes) -> FileEntry:
    scratch.mkdir(parents=True, exist_ok=True)
    path = scratch / "file"
    path.write_bytes(data)
    return store.add(path)


def damage(path: Path) -> None:
    """Changes one byte in the middle of a release's file, and not of the object it may be a link to."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(data)


def product(product_id: str, title: str = "thing", **fields: Any) -> dict[str, Any]:
    """A row of the catalog's columns; what is not given is missing."""
    return dict.fromkeys(CATALOG_SCHEMA.names) | {"id": product_id, "title": title} | fields


def write_columns(path: Path, rows: Sequence[dict[str, Any]], batch: int = 8192) -> Path:
    """Writes the catalog's columns in record batches of so many rows."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, CATALOG_SCHEMA) as writer:
        for start in range(0, len(rows), batch):
            writer.write_batch(pa.RecordBatch.from_pylist(list(rows[start : start + batch]), CATALOG_SCHEMA))
    return path
