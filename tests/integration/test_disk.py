"""Index jobs on a disk that refuses to write, and over releases that are damaged. Models are tiny."""

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from builders import damage
from shops import write_rows
from tiny import COLOURS, NAMES, write_base

from core.durable import write_text
from core.errors import ReleaseError
from core.manifest import MANIFEST_NAME
from core.progress import Silent
from core.releases import ReleaseStore
from encoder.train.export import export_encoder
from indexer.build import IndexSettings
from indexer.cleaning.mapping import FeedMapping
from indexer.inputs import IndexOptions
from indexer.job import IndexOutcome, index_feed
from indexer.models import ModelFolders
from indexer.publish import LEXICAL_FOLDER
from lifecycle.models import resolve_models
from lifecycle.rollback import rollback_models, rollback_release

DAMAGES = {"cut": b"{", "other": b"{}\n", "empty": b""}


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folders = []
    for seed in range(2):
        folder = tmp_path_factory.mktemp("encoder")
        export_encoder(write_base(folder / "base", seed), folder / "exported")
        folders.append(folder / "exported")
    return folders


@pytest.fixture
def feed(tmp_path: Path) -> Path:
    rows = [{"id": f"{name}-{colour}", "title": f"{name} {colour}"} for name in NAMES for colour in COLOURS]
    return write_rows(tmp_path / "feed.jsonl", [*rows, {"id": "without a title"}])


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    return ReleaseStore(tmp_path / "releases")


def index(feed: Path, models: ModelFolders, store: ReleaseStore, options: IndexOptions | None = None) -> IndexOutcome:
    return index_feed(feed, FeedMapping(), models, options or IndexOptions(), store, Silent())


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process may grow beyond, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_disk_that_takes_no_more_leaves_what_was_served_and_nothing_else(
    store: ReleaseStore, feed: Path, encoders: list[Path]
) -> None:
    first = index(feed, ModelFolders(encoders[0], None), store).manifest
    before = files(store.root)
    models = ModelFolders(encoders[1], None)
    probe = index(feed, models, ReleaseStore(feed.parent / "probe")).manifest
    sizes = sorted({entry.size - 1 for entry in probe.files.values() if entry.size > 1})
    vectors = 2 * probe.snapshot.products * probe.snapshot.index["dimensions"]  # mapped, written, and then removed
    refused = 0
    for size in [*sizes, vectors]:
        with largest_file(size), pytest.raises((ReleaseError, OSError)) as error:
            index(feed, models, store)
        refused += 1
        assert "\n" not in str(error.value)
        assert store.current("default") == first.release_id
        store.verify("default", first.release_id)
        left = {name for name in files(store.root) - before if "/work/embeddings/segment" not in name}
        left = {name for name in left if "/work/embeddings/" not in name or name.endswith(".part")}
        assert not left - {"catalogs/default/work/quarantine.parquet"}, (size, left)
    assert refused > 10
    assert index(feed, models, store).manifest.model == probe.model


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_library_that_forgets_which_file_it_wrote_is_reported_with_the_folder(
    store: ReleaseStore, feed: Path, encoders: list[Path], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", refuse)  # the mapped vectors
    with pytest.raises(ReleaseError, match=f"work stopped: {os.strerror(number)}; .* MiB are free: "):
        index(feed, ModelFolders(encoders[0], None), store)
    assert not [name for name in files(store.root) if "vectors" in name or "products" in name]


@pytest.mark.parametrize("what", [MANIFEST_NAME, "encoder/model.onnx", f"{LEXICAL_FOLDER}/terms.npy"])
@pytest.mark.parametrize("served", [True, False], ids=["in service", "an old one"])
def test_a_damaged_release_keeps_nobody_from_indexing(
    store: ReleaseStore, feed: Path, encoders: list[Path], what: str, served: bool
) -> None:
    old = index(feed, ModelFolders(encoders[0], None), store).manifest
    new = index(feed, ModelFolders(encoders[1], None), store).manifest
    damage(store.path("default", (new if served else old).release_id) / what)
    again = index(feed, resolve_models(str(encoders[1]), None, store, "default"), store)
    made = again.manifest
    assert (again.embedded is None) == (not served)  # whole and of the same inputs: nothing to do
    assert store.verify("default", made.release_id) == made
    assert store.current("default") == made.release_id
    assert (made.sequence, made.model) == (3 if served else 2, new.model)
    if what == MANIFEST_NAME and served:  # models come from the release that stands in
        damage(store.path("default", made.release_id) / what)
        assert resolve_models(None, None, store, "default").encoder.parent.name == old.release_id


def test_where_no_manifest_can_be_read_models_have_to_be_given(
    store: ReleaseStore, feed: Path, encoders: list[Path]
) -> None:
    bad = index(feed, ModelFolders(encoders[0], None), store).manifest
    damage(store.path("default", bad.release_id) / MANIFEST_NAME)
    with pytest.raises(ReleaseError, match=r"manifest\.json differs .*with --encoder"):
        resolve_models(None, None, store, "default")
    made = index(feed, resolve_models(str(encoders[0]), None, store, "default"), store).manifest
    assert store.current("default") == made.release_id and made.sequence == 2


def test_damaged_synonyms_have_to_be_given(store: ReleaseStore, feed: Path, encoders: list[Path]) -> None:
    bad = index(feed, ModelFolders(encoders[0], None), store).manifest
    damage(store.path("default", bad.release_id) / LEXICAL_FOLDER / "synonyms.json")
    with pytest.raises(ReleaseError, match="give --synonyms a file, or off"):
        index(feed, ModelFolders(encoders[0], None), store)


def test_an_earlier_model_set_is_indexed_as_the_products_were(
    store: ReleaseStore, feed: Path, encoders: list[Path]
) -> None:
    settings = IndexSettings(kind="ivf_sq8", recall_target=0.6, exact_budget_ms=3.0)
    options = IndexOptions(index=settings, max_rejected=0.5)
    old = index(feed, ModelFolders(encoders[0], None), store, options).manifest
    index(feed, ModelFolders(encoders[1], None), store, options)
    back = rollback_models(store, "default", old.model.model_id, Silent()).manifest
    assert back.model.model_id == old.model.model_id
    assert back.snapshot.index["kind"] == "ivf_sq8"
    assert back.settings == old.settings == {"index": settings.model_dump(), "max_rejected": 0.5}
    assert back.inputs == old.inputs
    assert index(feed, ModelFolders(encoders[0], None), store, options).embedded is None
    for change in (
        IndexOptions(),
        replace(options, max_rejected=0.4),
        IndexOptions(index=IndexSettings(kind="ivf_fp16")),
    ):
        assert index(feed, ModelFolders(encoders[0], None), store, change).embedded == 0
        assert rollback_release(store, "default", back.release_id) == back.release_id


@pytest.mark.parametrize("damaged", ["keys", "vectors", "cut", "empty", "text"])
def test_damaged_embeddings_are_made_anew(store: ReleaseStore, feed: Path, encoders: list[Path], damaged: str) -> None:
    made = index(feed, ModelFolders(encoders[0], None), store).manifest
    [segment] = store.folder("default").glob("work/embeddings/*/segment-*.npz")
    data = bytearray(segment.read_bytes())
    if damaged in ("keys", "vectors"):
        data[data.index(damaged.encode() + b".npy") + 300] ^= 1
    segment.write_bytes({"cut": data[:-100], "empty": b"", "text": b"no zip"}.get(damaged, data))
    rows = feed.read_text()
    write_text(feed, rows + '{"id": "new", "title": "new lamp"}\n')
    again = index(feed, ModelFolders(encoders[0], None), store)
    assert again.embedded == made.snapshot.products + 1
    assert store.verify("default", again.manifest.release_id).snapshot.products == made.snapshot.products + 1
