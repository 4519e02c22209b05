import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from builders import START, publish

from core.errors import ReleaseError
from core.manifest import MANIFEST_NAME
from core.releases import ReleaseStore

FILES = {"products.arrow": b"columns", "index.faiss": b"index"}


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    return ReleaseStore(tmp_path / "releases")


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path / "scratch"


def overwrite(path: Path, data: bytes) -> None:
    """Changes a file of a release alone, not the object it shares."""
    path.unlink()
    path.write_bytes(data)


def objects(store: ReleaseStore) -> set[str]:
    return {path.name for path in (store.root / "objects").iterdir()}


def test_a_published_release_is_whole_current_and_listed(store: ReleaseStore, scratch: Path) -> None:
    assert store.catalogs() == [] and store.current("shop") is None
    manifest = publish(store, scratch, FILES)
    assert store.catalogs() == ["shop"]
    assert store.current("shop") == manifest.release_id
    assert store.verify("shop", manifest.release_id) == manifest
    assert store.manifests("shop") == [manifest]
    folder = store.path("shop", manifest.release_id)
    assert (folder / "products.arrow").read_bytes() == b"columns"
    assert (folder / "encoder" / "m.onnx").read_bytes() == b"model"
    assert objects(store) == {entry.sha256 for entry in manifest.files.values()}


def test_releases_are_listed_oldest_first(store: ReleaseStore, scratch: Path) -> None:
    made = [publish(store, scratch, {"products.arrow": bytes([n])}, n) for n in (2, 0, 1)]
    expected = sorted(manifest.release_id for manifest in made)
    assert [manifest.release_id for manifest in store.manifests("shop")] == expected
    assert store.current("shop") == made[-1].release_id  # the last published, not the newest


def test_files_are_shared_between_releases_by_hard_link(store: ReleaseStore, scratch: Path) -> None:
    old = publish(store, scratch, FILES, 0)
    new = publish(store, scratch, FILES | {"products.arrow": b"other"}, 1)
    first, second = store.path("shop", old.release_id), store.path("shop", new.release_id)
    for name in ("index.faiss", "encoder/m.onnx"):
        assert (first / name).stat().st_ino == (second / name).stat().st_ino
        assert (first / name).stat().st_nlink == 3  # two releases and the object
    assert (first / "products.arrow").stat().st_ino != (second / "products.arrow").stat().st_ino


def test_files_are_copied_where_there_are_no_hard_links(
    store: ReleaseStore, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    manifest = publish(store, scratch, FILES)
    assert store.verify("shop", manifest.release_id) == manifest
    assert (store.path("shop", manifest.release_id) / "index.faiss").stat().st_nlink == 1


def test_adding_moves_and_adding_a_copy_leaves(store: ReleaseStore, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"abc")
    copied = store.add_copy(path)
    assert path.read_bytes() == b"abc"
    moved = store.add(path)
    assert not path.exists()
    assert copied == moved and objects(store) == {copied.sha256}
    stored = store.root / "objects" / copied.sha256
    assert stored.read_bytes() == b"abc" and stored.stat().st_mode & 0o222 == 0


def test_a_damaged_object_is_mended_when_its_content_comes_again(store: ReleaseStore, scratch: Path) -> None:
    old = publish(store, scratch, FILES, 0)
    damaged = store.root / "objects" / old.files["index.faiss"].sha256
    damaged.chmod(0o644)
    damaged.write_bytes(b"inDex")  # by hard link, the release's file as well
    with pytest.raises(ReleaseError, match=r"index\.faiss differs"):
        store.verify("shop", old.release_id)
    new = publish(store, scratch, FILES, 1)
    assert store.verify("shop", new.release_id) == new


@pytest.mark.parametrize("name", ["products.arrow", "index.faiss", "encoder/m.onnx"])
def test_a_flipped_byte_is_found(store: ReleaseStore, scratch: Path, name: str) -> None:
    manifest = publish(store, scratch, FILES)
    path = store.path("shop", manifest.release_id) / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    overwrite(path, bytes(data))
    with pytest.raises(ReleaseError, match=f"{name} differs from its manifest"):
        store.verify("shop", manifest.release_id)


def test_a_missing_or_longer_file_is_found(store: ReleaseStore, scratch: Path) -> None:
    manifest = publish(store, scratch, FILES)
    path = store.path("shop", manifest.release_id) / "index.faiss"
    overwrite(path, b"index and more")
    with pytest.raises(ReleaseError, match=r"index\.faiss differs"):
        store.verify("shop", manifest.release_id)
    path.unlink()
    with pytest.raises(ReleaseError, match=r"index\.faiss is missing"):
        store.verify("shop", manifest.release_id)


def test_a_manifest_of_another_release_or_catalog_is_refused(store: ReleaseStore, scratch: Path) -> None:
    first = publish(store, scratch, FILES, 0)
    second = publish(store, scratch, FILES, 1)
    other = publish(store, scratch, FILES, 1, catalog="other")
    assert other.release_id == second.release_id
    for foreign in (first, other):
        text = foreign.model_dump_json()
        overwrite(store.path("shop", second.release_id) / MANIFEST_NAME, text.encode())
        with pytest.raises(ReleaseError, match=f"its manifest is that of {foreign.catalog}/{foreign.release_id}"):
            store.verify("shop", second.release_id)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"format": 9}', b"\xff\xfe\x00"])
def test_an_unreadable_manifest_is_told_on_one_line(store: ReleaseStore, scratch: Path, text: bytes) -> None:
    manifest = publish(store, scratch, FILES)
    overwrite(store.path("shop", manifest.release_id) / MANIFEST_NAME, text)
    calls = (
        lambda: store.manifest("shop", manifest.release_id),
        lambda: store.verify("shop", manifest.release_id),
        lambda: store.manifests("shop"),
        lambda: store.point("shop", manifest.release_id),
    )
    for call in calls:
        with pytest.raises(ReleaseError, match="is not a manifest this version reads") as error:
            call()
        assert "\n" not in str(error.value)


def test_a_release_that_is_not_there_is_told(store: ReleaseStore, scratch: Path) -> None:
    publish(store, scratch, FILES)
    for call in (store.manifest, store.verify, store.point):
        with pytest.raises(ReleaseError, match="there is no release at"):
            call("shop", "r-nothing")
    assert store.manifests("never-seen") == [] and store.current("never-seen") is None


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a b", "x" * 65, "shop\n", "é"])
def test_a_name_that_cannot_be_a_folder_is_refused(store: ReleaseStore, name: str) -> None:
    with pytest.raises(ReleaseError, match="is not usable"):
        store.folder(name)
    with pytest.raises(ReleaseError), store.lock(name):
        pass


def test_pointing_swaps_the_release_in_service(store: ReleaseStore, scratch: Path) -> None:
    first, second = (publish(store, scratch, FILES, n) for n in (0, 1))
    store.point("shop", first.release_id)
    assert store.current("shop") == first.release_id
    assert {manifest.release_id for manifest in store.manifests("shop")} == {first.release_id, second.release_id}


def test_pruning_keeps_the_newest_the_served_and_what_they_share(store: ReleaseStore, scratch: Path) -> None:
    made = [publish(store, scratch, {"products.arrow": bytes([n]), "index.faiss": b"shared"}, n) for n in range(5)]
    other = publish(store, scratch, {"products.arrow": b"\x01"}, 9, catalog="other")
    store.point("shop", made[0].release_id)
    with store.lock("shop", alone=True):
        gone = store.prune("shop", 2)
    assert gone == [made[n].release_id for n in (1, 2)]
    kept = [made[n] for n in (0, 3, 4)]
    assert store.manifests("shop") == kept
    for manifest in (*kept, other):
        store.verify(manifest.catalog, manifest.release_id)
    assert objects(store) == {entry.sha256 for manifest in (*kept, other) for entry in manifest.files.values()}
    with store.lock("shop", alone=True):
        assert store.prune("shop", 2) == []


def test_pruning_clears_what_an_interrupted_pruning_left(store: ReleaseStore, scratch: Path) -> None:
    old, new = (publish(store, scratch, {"products.arrow": bytes([n])}, n) for n in (0, 1))
    (store.path("shop", old.release_id) / MANIFEST_NAME).unlink()  # where pruning starts
    store.prune("shop", 1)
    assert not store.path("shop", old.release_id).exists()
    assert store.verify("shop", new.release_id) == new


def test_a_catalog_is_changed_by_one_at_a_time(store: ReleaseStore) -> None:
    again = ReleaseStore(store.root)
    with store.lock("shop"):
        with pytest.raises(ReleaseError, match="another job is changing catalog 'shop'"), again.lock("shop"):
            pass
        with again.lock("other"):  # another catalog may be changed at the same time
            pass
        with pytest.raises(ReleaseError, match="another job"), again.lock("other", alone=True):
            pass
    with store.lock("shop", alone=True), pytest.raises(ReleaseError, match="another job"), again.lock("other"):
        pass
    with again.lock("shop"):
        pass


def test_a_lock_holds_against_another_process_and_ends_with_it(store: ReleaseStore) -> None:
    code = (
        "import sys; from pathlib import Path; from core.releases import ReleaseStore\n"
        "with ReleaseStore(Path(sys.argv[1])).lock('shop'):\n"
        "    print('locked', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(store.root)]
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None and process.stdout.readline() == "locked\n"
        with pytest.raises(ReleaseError, match="another job"), store.lock("shop"):
            pass
        process.kill()
        process.wait()
    with store.lock("shop"):
        pass


def test_the_lock_is_let_go_after_an_error(store: ReleaseStore) -> None:
    with pytest.raises(KeyError), store.lock("shop"):
        raise KeyError
    with store.lock("shop"):
        pass


def test_a_locked_catalog_is_cleared_of_what_an_interrupted_publishing_left(store: ReleaseStore) -> None:
    leftover = store.folder("shop") / ".staging-r-1" / "encoder"
    leftover.mkdir(parents=True)
    with store.lock("shop"):
        assert not leftover.parent.exists()


def test_times_of_releases_are_kept(store: ReleaseStore, scratch: Path) -> None:
    publish(store, scratch, FILES, 61)
    assert store.manifests("shop")[0].created == START + timedelta(seconds=61)
