import contextlib
import errno
import json
import os
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from builders import START, publish

from core.errors import ReleaseError
from core.manifest import MANIFEST_NAME, Manifest
from core.release import DIGEST_NAME
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


def test_releases_are_listed_in_the_order_of_their_publishing_whatever_the_clock_said(
    store: ReleaseStore, scratch: Path
) -> None:
    made = [publish(store, scratch, {"products.arrow": bytes([n])}, n) for n in (2, 0, 1)]
    assert [manifest.sequence for manifest in made] == [1, 2, 3]
    assert store.manifests("shop") == made
    assert store.current("shop") == made[-1].release_id
    assert store.earlier("shop") == [made[1].release_id, made[0].release_id]


def make_old(store: ReleaseStore, *made: Manifest) -> list[Manifest]:
    """Releases as versions wrote them that knew neither sequence nor digest, the last one being in service."""
    old = [manifest.model_copy(update={"sequence": 0}) for manifest in made]
    for manifest in old:
        folder = store.path(manifest.catalog, manifest.release_id)
        (folder / DIGEST_NAME).unlink()
        values = manifest.model_dump(mode="json")
        del values["sequence"], values["settings"]
        overwrite(folder / MANIFEST_NAME, json.dumps(values).encode())
    (store.folder("shop") / "current").write_text(old[-1].release_id + "\n")
    return old


def test_a_store_of_the_version_before_is_read_and_upgraded_at_the_next_publishing(
    store: ReleaseStore, scratch: Path
) -> None:
    old = make_old(store, *(publish(store, scratch, {"products.arrow": bytes([n])}, n) for n in range(3)))
    assert store.current("shop") == old[2].release_id
    assert store.manifests("shop") == old
    assert store.verify("shop", old[2].release_id) == old[2]
    assert store.earlier("shop") == [old[1].release_id, old[0].release_id]
    new = publish(store, scratch, FILES, -5)  # made by a clock that is behind
    assert new.sequence == 1 and store.manifests("shop") == [*old, new]
    assert store.earlier("shop") == [manifest.release_id for manifest in reversed(old)]
    path = store.path("shop", old[1].release_id) / MANIFEST_NAME  # protected by the pointer from now on
    overwrite(path, path.read_bytes().replace(b'"en"', b'"de"'))
    with pytest.raises(ReleaseError, match=r"manifest\.json differs from its digest"):
        store.verify("shop", old[1].release_id)


def test_pointing_goes_back_along_what_was_served(store: ReleaseStore, scratch: Path) -> None:
    made = [publish(store, scratch, {"products.arrow": bytes([n])}, n).release_id for n in range(4)]
    assert store.earlier("shop") == made[2::-1]
    store.point("shop", made[2])
    store.point("shop", made[1])
    assert store.earlier("shop") == made[:1]
    store.point("shop", made[3])  # forward again: what was served before is 1
    assert store.earlier("shop") == [made[1], made[0]]
    store.point("shop", made[3])
    assert store.earlier("shop") == [made[1], made[0]]
    store.point("shop", made[0])
    new = publish(store, scratch, {"products.arrow": b"new"}, 9)
    assert store.earlier("shop") == made[:1] and new.sequence == 5


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
    make_old(store, first, second)
    for foreign in (first, other):
        text = foreign.model_dump_json()
        overwrite(store.path("shop", second.release_id) / MANIFEST_NAME, text.encode())
        with pytest.raises(ReleaseError, match=f"its manifest is that of {foreign.catalog}/{foreign.release_id}"):
            store.verify("shop", second.release_id)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"format": 9}', b"\xff\xfe\x00"])
def test_an_unreadable_manifest_is_told_on_one_line(store: ReleaseStore, scratch: Path, text: bytes) -> None:
    manifest = publish(store, scratch, FILES)
    make_old(store, manifest)
    overwrite(store.path("shop", manifest.release_id) / MANIFEST_NAME, text)
    calls = (
        lambda: store.manifest("shop", manifest.release_id),
        lambda: store.verify("shop", manifest.release_id),
        lambda: store.point("shop", manifest.release_id),
    )
    for call in calls:
        with pytest.raises(ReleaseError, match="is not a manifest this version reads") as error:
            call()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("how", ["byte", "bit", "edit", "empty", "none", "link", "folder", "pipe"])
@pytest.mark.parametrize("place", [0, 1], ids=["rolled back from", "in service"])
def test_a_manifest_that_is_not_what_was_published_is_refused_and_listed_so(
    store: ReleaseStore, scratch: Path, how: str, place: int
) -> None:
    made = [publish(store, scratch, {"products.arrow": bytes([n])}, n) for n in range(2)]
    if place == 0:
        store.point("shop", made[0].release_id)
    bad, good = made[1].release_id, made[0].release_id  # the bad one is in the pointer, or only on disk
    path = store.path("shop", bad) / MANIFEST_NAME
    data = path.read_bytes()
    path.unlink()
    if how == "link":
        (scratch / "m").write_bytes(data)
        path.symlink_to(scratch / "m")
    elif how == "folder":
        path.mkdir()
    elif how == "pipe":
        os.mkfifo(path)
    elif how != "none":
        flipped = bytes([data[40] ^ 4])
        path.write_bytes(
            {
                "byte": data[:40] + b"~" + data[41:],
                "bit": data[:40] + flipped + data[41:],
                "edit": data.replace(b'"currency": null', b'"currency": "EUR"'),
                "empty": b"",
            }[how]
        )
    for call in (store.manifest, store.verify, store.point):
        with pytest.raises(ReleaseError) as error:
            call("shop", bad)
        assert "\n" not in str(error.value) and "manifest.json" in str(error.value)
    assert [manifest.release_id for manifest in store.manifests("shop")] == [good]
    [damaged] = [release for release in store.listing("shop") if release.manifest is None]
    assert damaged.sequence == 2 * place  # as the pointer knows it
    assert damaged.name == bad and "manifest.json" in damaged.damage
    assert publish(store, scratch, FILES, 5).release_id == store.current("shop")


def test_every_bit_of_a_manifest_counts(store: ReleaseStore, scratch: Path) -> None:
    release = publish(store, scratch, FILES).release_id
    path = store.path("shop", release) / MANIFEST_NAME
    data = path.read_bytes()
    for place in range(0, len(data), 7):
        overwrite(path, data[:place] + bytes([data[place] ^ (1 << place % 8)]) + data[place + 1 :])
        with pytest.raises(ReleaseError, match="differs from its digest"):
            store.verify("shop", release)
    overwrite(path, data)
    assert store.verify("shop", release).release_id == release


@pytest.mark.parametrize("damage", [b"", b"zzz\n", b"\xff" * 65])
def test_a_manifests_digest_beside_it_is_needed_where_the_pointer_has_none(
    store: ReleaseStore, scratch: Path, damage: bytes
) -> None:
    old, new = (publish(store, scratch, FILES, n) for n in range(2))
    store.point("shop", old.release_id)  # from now on the pointer knows nothing of the new one
    beside = store.path("shop", new.release_id) / DIGEST_NAME
    assert store.verify("shop", new.release_id) == new
    overwrite(beside, damage)
    with pytest.raises(ReleaseError, match=r"manifest\.sha256 is missing or damaged"):
        store.verify("shop", new.release_id)
    beside.unlink()
    with pytest.raises(ReleaseError, match=r"manifest\.sha256 is missing or damaged"):
        store.verify("shop", new.release_id)
    (store.path("shop", old.release_id) / DIGEST_NAME).unlink()
    assert store.verify("shop", old.release_id) == old  # the pointer knows it


def test_the_digest_beside_is_what_sha256sum_checks(store: ReleaseStore, scratch: Path) -> None:
    release = publish(store, scratch, FILES).release_id
    checked = subprocess.run(
        ["sha256sum", "-c", DIGEST_NAME], cwd=store.path("shop", release), check=False, capture_output=True, text=True
    )
    assert (checked.returncode, checked.stdout) == (0, "manifest.json: OK\n")


@pytest.mark.parametrize("text", [b"", b"\n", b"\xff\xfe", b"r-1 abc\n", b"r-../x\n", b"/etc\n", b"r-1 r-2\n", b"{}"])
def test_a_damaged_pointer_is_told_and_mended_by_the_next_pointing(
    store: ReleaseStore, scratch: Path, text: bytes
) -> None:
    made = [publish(store, scratch, FILES, n).release_id for n in range(3)]
    (store.folder("shop") / "current").write_bytes(text)
    with pytest.raises(ReleaseError, match=r"current is damaged \(.*index again"):
        store.current("shop")
    assert store.catalogs() == ["shop"] and store.earlier("shop") == made[::-1]
    manifest = store.in_service("shop")
    assert manifest is not None and manifest.release_id == made[2]
    store.point("shop", made[1])
    assert (store.current("shop"), store.earlier("shop")) == (made[1], made[:1])


def test_a_damaged_line_of_what_was_before_is_left_out(store: ReleaseStore, scratch: Path) -> None:
    made = [publish(store, scratch, FILES, n).release_id for n in range(3)]
    pointer = store.folder("shop") / "current"
    first, second, third = pointer.read_text().splitlines()
    pointer.write_text("\n".join([first, second[:-3] + "\x00 ?", third]))
    assert (store.current("shop"), store.earlier("shop")) == (made[2], made[:1])


@pytest.mark.parametrize("kind", ["folder", "pipe", "link", "device"])
def test_a_pointer_that_is_no_file_is_told(store: ReleaseStore, scratch: Path, kind: str) -> None:
    publish(store, scratch, FILES)
    pointer = store.folder("shop") / "current"
    pointer.unlink()
    if kind == "folder":
        pointer.mkdir()
    elif kind == "pipe":
        os.mkfifo(pointer)
    else:
        pointer.symlink_to("/dev/zero" if kind == "device" else scratch)
    with pytest.raises(ReleaseError, match="current is damaged"):
        store.current("shop")


@pytest.mark.parametrize("kind", ["link to a file", "link to a folder", "pipe", "folder"])
def test_a_file_of_a_release_that_is_no_plain_file_is_refused(store: ReleaseStore, scratch: Path, kind: str) -> None:
    release = publish(store, scratch, FILES).release_id
    path = store.path("shop", release) / "encoder" / "m.onnx"
    elsewhere = scratch / "encoder"
    elsewhere.mkdir()
    path.rename(elsewhere / "m.onnx")
    if kind == "link to a file":
        path.symlink_to(elsewhere / "m.onnx")
    elif kind == "link to a folder":
        path.parent.rmdir()
        path.parent.symlink_to(elsewhere)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(ReleaseError, match=r"encoder/m\.onnx is missing, or no plain file"):
        store.verify("shop", release)
    assert [bool(entry.damage) for entry in store.listing("shop")] == [True]


def test_what_a_manifest_does_not_list_is_no_part_of_a_release(store: ReleaseStore, scratch: Path) -> None:
    release = publish(store, scratch, FILES).release_id
    folder = store.path("shop", release)
    (folder / "notes.txt").write_text("mine")
    (folder / "encoder" / ".nfs0001").write_text("a network file system's")
    store.verify("shop", release)
    (folder / "encoder" / "m.half.safetensors").write_text("another model")
    with pytest.raises(ReleaseError, match=r"encoder/m\.half\.safetensors is not in its manifest; take it away"):
        store.verify("shop", release)


def test_a_release_folder_that_is_a_link_is_damaged_and_goes_when_pruned(store: ReleaseStore, scratch: Path) -> None:
    release = publish(store, scratch, FILES).release_id
    link = store.folder("shop") / "r-link"
    link.symlink_to(store.path("shop", release))
    (store.folder("shop") / "r-file").write_text("no folder")
    assert [entry.name for entry in store.listing("shop") if entry.damage] == ["r-file", "r-link"]
    assert sorted(store.prune("shop", 1)) == ["r-file", "r-link"]
    assert not link.is_symlink() and store.verify("shop", release)


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
    with store.lock("shop", exclusive=True):
        gone = store.prune("shop", 2)
    assert gone == [made[n].release_id for n in (1, 2)]
    kept = [made[n] for n in (0, 3, 4)]
    assert store.manifests("shop") == kept
    for manifest in (*kept, other):
        store.verify(manifest.catalog, manifest.release_id)
    assert objects(store) == {entry.sha256 for manifest in (*kept, other) for entry in manifest.files.values()}
    with store.lock("shop", exclusive=True):
        assert store.prune("shop", 2) == []


def test_pruning_clears_what_an_interrupted_pruning_left(store: ReleaseStore, scratch: Path) -> None:
    old, new = (publish(store, scratch, {"products.arrow": bytes([n])}, n) for n in (0, 1))
    (store.path("shop", old.release_id) / MANIFEST_NAME).unlink()  # where pruning starts
    store.prune("shop", 1)
    assert not store.path("shop", old.release_id).exists()
    assert store.verify("shop", new.release_id) == new


@pytest.mark.parametrize("what", ["products.arrow", MANIFEST_NAME, DIGEST_NAME])
def test_pruning_counts_whole_releases_and_keeps_what_stands_in(store: ReleaseStore, scratch: Path, what: str) -> None:
    made = [publish(store, scratch, {"products.arrow": bytes([n])}, n).release_id for n in range(5)]
    store.point("shop", made[3])  # 4 is known by the digest beside it alone
    for number in (3, 4):
        overwrite(store.path("shop", made[number]) / (MANIFEST_NAME if number == 3 else what), b"?")
    assert set(store.prune("shop", 1)) == {made[0], made[1], made[4]}
    assert {release.name for release in store.releases("shop")} == {made[2], made[3]}
    assert store.verify("shop", made[2]).release_id == made[2]


def test_pruning_keeps_what_is_served_in_place_of_a_damaged_release(store: ReleaseStore, scratch: Path) -> None:
    made = [publish(store, scratch, {"products.arrow": bytes([n])}, n).release_id for n in range(4)]
    store.point("shop", made[1])
    overwrite(store.path("shop", made[1]) / "products.arrow", b"?")  # so that 0 is served
    assert store.prune("shop", 1) == [made[2]]
    assert [release.name for release in store.releases("shop")] == [made[0], made[1], made[3]]


def test_pruning_removes_nothing_where_no_release_is_whole(store: ReleaseStore, scratch: Path) -> None:
    made = [publish(store, scratch, {"products.arrow": bytes([n])}, n).release_id for n in range(3)]
    for name in made:
        overwrite(store.path("shop", name) / "products.arrow", b"??")
    assert store.prune("shop", 1) == []
    assert [release.name for release in store.listing("shop") if release.damage] == made


def test_a_copy_is_made_only_of_what_is_not_there(
    store: ReleaseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"model")
    there = store.add_copy(path)
    monkeypatch.setattr(tempfile, "mkstemp", lambda **_: pytest.fail("it was copied again"))
    assert store.add_copy(path) == there


def test_unfinished_copies_of_ended_processes_are_swept_and_those_under_way_stay(
    store: ReleaseStore, tmp_path: Path
) -> None:
    with store.lock("shop"):
        pass
    folder = store.root / "objects"
    folder.mkdir()
    (folder / ".copy-123-model.onnx").write_bytes(b"of a version before")
    code = (
        "import sys; from pathlib import Path; from core.objects import Objects\n"
        "with Objects(Path(sys.argv[1]))._scratch() as (path, file):\n"
        "    print(path.name, flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(folder)]
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        with store.lock("shop"):
            assert objects(store) == {name}
        process.kill()
        process.wait()
    with store.lock("shop", exclusive=True):
        assert objects(store) == set()


@pytest.mark.parametrize("adds", ["add", "add_copy"])
def test_a_file_that_changes_while_it_is_copied_is_refused(
    store: ReleaseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adds: str
) -> None:
    def elsewhere(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(Path, "rename", elsewhere)
    monkeypatch.setattr("core.objects.file_digest", lambda _: "0" * 64)
    path = tmp_path / "f"
    path.write_bytes(b"abc")
    with pytest.raises(ReleaseError, match="changed while it was copied"):
        getattr(store, adds)(path)
    assert objects(store) == set() and path.read_bytes() == b"abc"


def test_objects_may_lie_on_another_file_system(
    store: ReleaseStore, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    real = Path.rename

    def rename(path: Path, target: Path) -> Path:
        if path.parent != Path(target).parent:
            refused()
        return real(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    monkeypatch.setattr(os, "link", refused)
    manifest = publish(store, scratch, FILES)
    assert store.verify("shop", manifest.release_id) == manifest
    assert objects(store) == {entry.sha256 for entry in manifest.files.values()}
    assert not (scratch / "file").exists()


def test_what_a_failed_job_added_is_given_back(store: ReleaseStore, scratch: Path) -> None:
    kept = publish(store, scratch, FILES)
    path = scratch / "f"
    path.write_bytes(b"new")
    with pytest.raises(OSError, match="full"), store.lock("shop"):
        store.add(path)
        raise OSError(errno.ENOSPC, "full")
    assert objects(store) == {entry.sha256 for entry in kept.files.values()}
    path.write_bytes(b"new")
    with store.lock("other"), contextlib.suppress(KeyError), store.lock("shop"):
        store.add(path)
        raise KeyError  # the other catalog's job may have added it as well
    assert len(objects(store)) == len(set(kept.files)) + 1


def test_a_catalog_is_changed_by_one_at_a_time(store: ReleaseStore) -> None:
    again = ReleaseStore(store.root)
    with store.lock("shop"):
        with pytest.raises(ReleaseError, match="another job is changing catalog 'shop'"), again.lock("shop"):
            pass
        with again.lock("other"):  # another catalog may be changed at the same time
            pass
        with pytest.raises(ReleaseError, match="another job"), again.lock("other", exclusive=True):
            pass
    with store.lock("shop", exclusive=True), pytest.raises(ReleaseError, match="another job"), again.lock("other"):
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
