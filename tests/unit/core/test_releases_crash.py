"""Publishing cut off, or refused by the disk, at every step that touches it: what is served is whole, old or new."""

import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from builders import publish

from core.errors import ReleaseError
from core.manifest import Manifest
from core.releases import ReleaseStore

_OLD = {"products.arrow": b"old columns", "index.faiss": b"index"}
_NEW = {"products.arrow": b"new columns", "index.faiss": b"index", "ranker/t.npy": b"tokens"}
_LAST = {"products.arrow": b"last columns", "index.faiss": b"new index"}
_STEPS = [
    (os, "fsync"),
    (os, "link"),
    (Path, "rename"),
    (Path, "mkdir"),
    (Path, "chmod"),
    (Path, "unlink"),
    (Path, "open"),
    (tempfile, "mkstemp"),
    (shutil, "rmtree"),
]


class Cut(BaseException):
    """The machine stops here. No handler of the code under test may catch it."""


class Disk:
    """Counts what touches the disk, and stops everything at the step numbered `stop`, counted from 1.

    With an `error` that step alone fails, by it.
    """

    def __init__(self, patch: pytest.MonkeyPatch, stop: int | None, error: OSError | None = None) -> None:
        self.steps = 0
        self._stop = stop
        self._error = error
        for owner, name in _STEPS:
            patch.setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **options: Any) -> Any:
            self.steps += 1
            if self._error is not None and self.steps == self._stop:
                raise self._error
            if self._error is None and self._stop is not None and self.steps >= self._stop:
                raise Cut
            return real(*args, **options)

        return counted


def _publish_cut(
    store: ReleaseStore, scratch: Path, stop: int | None, error: OSError | None = None
) -> tuple[Manifest | None, int]:
    scratch.mkdir(exist_ok=True)
    (scratch / "model").write_bytes(b"copied model")
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch, stop, error)
        try:
            with store.lock("shop"):
                store.add_copy(scratch / "model")
                return publish(store, scratch, _NEW, 1, model={"encoder/m.onnx": b"new model"}), disk.steps
        except Cut:
            return None, disk.steps


def _check(store: ReleaseStore, old: Manifest | None) -> str | None:
    """What is served is whole; every release that is listed is whole; returns the one in service."""
    current = store.current("shop")
    for manifest in store.manifests("shop"):
        store.verify("shop", manifest.release_id)
    if current is None:
        assert old is None
        return None
    files = store.verify("shop", current).files
    assert old is None or current == old.release_id or set(files) == {"encoder/m.onnx", *_NEW}
    return current


@pytest.mark.parametrize("has_old", [True, False], ids=["over an old release", "the first release"])
def test_publishing_cut_off_at_every_step(tmp_path: Path, has_old: bool) -> None:
    start = ReleaseStore(tmp_path / "start")
    old = publish(start, tmp_path / "scratch", _OLD, 0) if has_old else None
    with start.lock("shop"):
        pass
    shutil.copytree(start.root, tmp_path / "whole")
    done, steps = _publish_cut(ReleaseStore(tmp_path / "whole"), tmp_path / "scratch", None)
    assert done is not None and steps > 20
    seen = set()
    for stop in range(1, steps + 1):
        store = ReleaseStore(tmp_path / f"cut-{stop}")
        shutil.copytree(start.root, store.root)
        published, _ = _publish_cut(store, tmp_path / "scratch", stop)
        assert published is None, "the cut was swallowed"
        seen.add(_check(store, old))
        with store.lock("shop"):
            last = publish(store, tmp_path / "scratch", _LAST, 2)
        assert _check(store, last) == last.release_id
        assert not list(store.folder("shop").glob(".staging-*"))
        shutil.rmtree(store.root)
    # Cuts before the pointer's swap leave the old release in service, the one after it the new one.
    assert seen == {old.release_id if old else None, done.release_id}


@pytest.mark.parametrize("has_links", [True, False], ids=["hard links", "copies"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_publishing_refused_by_the_disk_at_every_step_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, has_links: bool
) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    if not has_links:
        monkeypatch.setattr(os, "link", no_links)
    start = ReleaseStore(tmp_path / "start")
    old = publish(start, tmp_path / "scratch", _OLD, 0)
    shutil.copytree(start.root, tmp_path / "whole")
    _, steps = _publish_cut(ReleaseStore(tmp_path / "whole"), tmp_path / "scratch", None)
    kept = {entry.sha256 for entry in old.files.values()}
    seen = set()
    for stop in range(1, steps + 1):
        store = ReleaseStore(tmp_path / f"refused-{stop}")
        shutil.copytree(start.root, store.root)
        refusal = OSError(number, os.strerror(number))
        try:
            _publish_cut(store, tmp_path / "scratch", stop, refusal)
        except (OSError, ReleaseError) as error:
            assert error is refusal or os.strerror(number) in str(error)
        seen.add(current := _check(store, old))
        names = {path.name for path in store.folder("shop").iterdir()}
        objects = {path.name for path in (store.root / "objects").iterdir()}
        assert names - {".lock"} <= {"current", *(release.name for release in store.releases("shop"))}
        if current == old.release_id:
            assert objects == kept and names - {".lock"} == {"current", old.release_id}
        with store.lock("shop"):
            last = publish(store, tmp_path / "scratch", _LAST, 2)
        assert _check(store, last) == last.release_id
        shutil.rmtree(store.root)
    assert old.release_id in seen and len(seen) == 2


def test_everything_is_durable_before_what_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of syncs and renames, which decides what a power cut can lose."""
    store = ReleaseStore(tmp_path / "releases")
    events: list[tuple[str, Path]] = []
    real_fsync, real_rename = os.fsync, Path.rename

    def fsync(handle: int) -> None:
        events.append(("sync", Path(f"/proc/self/fd/{handle}").readlink()))
        real_fsync(handle)

    def rename(path: Path, target: Path) -> Path:
        events.append(("rename", Path(target)))
        assert ("sync", path) in events, f"{path} is named before it is durable"
        return real_rename(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", rename)
    manifest = publish(store, tmp_path / "scratch", _NEW)
    folder, staging = store.folder("shop"), store.folder("shop") / f".staging-{manifest.release_id}"
    named, pointed = (
        events.index(("rename", folder / manifest.release_id)),
        events.index(("rename", folder / "current")),
    )
    assert {staging, staging / "encoder", staging / "ranker", staging / "manifest.json"} <= {
        p for _, p in events[:named]
    }
    for content in manifest.files.values():
        made = events.index(("rename", store.root / "objects" / content.sha256))
        assert ("sync", store.root / "objects") in events[made:named]
    assert ("sync", folder) in events[named:pointed]
    assert events[-1] == ("sync", folder)


def test_pruning_cut_off_at_every_step(tmp_path: Path) -> None:
    start = ReleaseStore(tmp_path / "start")
    for number in range(4):
        publish(start, tmp_path / "scratch", {"products.arrow": bytes([number]), "index.faiss": b"shared"}, number)
    current = start.current("shop")
    for stop in range(1, 100):
        store = ReleaseStore(tmp_path / f"cut-{stop}")
        shutil.copytree(start.root, store.root)
        with pytest.MonkeyPatch.context() as patch:
            Disk(patch, stop)
            try:
                store.prune("shop", 1)
            except Cut:
                pass
            else:
                break
        assert _check(store, None) == current
        store.prune("shop", 1)
        assert [manifest.release_id for manifest in store.manifests("shop")] == [current]
        assert _check(store, None) == current
        assert len(list(store.folder("shop").glob("r-*"))) == 1
    else:
        raise AssertionError("pruning never ended")
    assert stop > 3


def test_an_object_that_vanished_publishes_nothing(tmp_path: Path) -> None:
    store = ReleaseStore(tmp_path / "releases")
    old = publish(store, tmp_path / "scratch", _OLD, 0)
    lost = old.model_copy(update={"release_id": "r-20270101T000000Z-00000000"})
    (store.root / "objects" / old.files["index.faiss"].sha256).unlink()
    with pytest.raises((OSError, ReleaseError)):
        store.publish(lost)
    assert _check(store, old) == old.release_id
