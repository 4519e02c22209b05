"""Whatever is flipped in, cut off, put behind or taken from a file of a release: it is refused before it is parsed."""

import random
import shutil
from pathlib import Path

import pytest
from shops import index, write_rows
from tiny import COLOURS, NAMES, write_base
from torture import SEED, amount

from core.errors import ReleaseError
from core.manifest import MANIFEST_NAME, Manifest
from core.releases import ReleaseStore
from encoder.train.export import export_encoder
from indexer.models import ModelFolders
from retrieval.release.manager import ReleaseManager

DAMAGES = amount(160, 2000)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[ReleaseStore, Manifest]:
    """A release before, and one in service."""
    base = tmp_path_factory.mktemp("flips")
    export_encoder(write_base(base / "base"), base / "encoder")
    rows = [{"id": f"{name}-{colour}", "title": f"{name} {colour}"} for name in NAMES for colour in COLOURS]
    store = ReleaseStore(base / "releases")
    models = ModelFolders(base / "encoder", None)
    index(write_rows(base / "old.jsonl", rows[1:]), models, store)
    manifest = index(write_rows(base / "new.jsonl", [*rows, {"id": "without a title"}]), models, store).manifest
    folder = store.path(manifest.catalog, manifest.release_id)
    for path in [path for path in folder.rglob("*") if path.is_file()]:  # no links to what the store shares
        shutil.copy(path, path.with_suffix(".copy"))
        path.with_suffix(".copy").rename(path)
        path.chmod(0o644)
    return store, manifest


def damaged(data: bytes, chance: random.Random) -> tuple[str, bytes]:
    """Other bytes in their place, and what was done."""
    place = chance.randrange(len(data)) if data else 0
    kinds = ["flip", "flip", "flip", "cut", "grown", "zeros", "empty", "swap"] if data else ["grown"]
    match kind := chance.choice(kinds):
        case "flip":
            other = data[:place] + bytes([data[place] ^ (1 << chance.randrange(8))]) + data[place + 1 :]
        case "cut":
            other = data[:place]
        case "grown":
            other = data + bytes([chance.randrange(256)])
        case "zeros":
            other = data[:place] + bytes(min(512, len(data) - place)) + data[place + 512 :]
        case "empty":
            other = b""
        case _:
            other = data[place:] + data[:place]
    return f"{kind} at {place}", other if other != data else data + b"\0"


@pytest.mark.torture
async def test_no_damaged_file_is_parsed(made: tuple[ReleaseStore, Manifest], monkeypatch: pytest.MonkeyPatch) -> None:
    store, manifest = made
    catalog, release = manifest.catalog, manifest.release_id
    folder = store.path(catalog, release)
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert set(names) == {*manifest.files, MANIFEST_NAME, "manifest.sha256"}
    opened: list[Path] = []
    parsed: list[bytes] = []
    real = Manifest.model_validate_json.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(
        Manifest, "model_validate_json", classmethod(lambda cls, data: (parsed.append(data), real(cls, data))[1])
    )
    whole_manifest = (folder / MANIFEST_NAME).read_bytes()

    def open_(path: Path, _: Manifest) -> None:
        opened.append(path)
        raise AssertionError("no parser may see it")

    chance = random.Random(SEED)
    for number in range(DAMAGES):
        path = folder / (names[number] if number < len(names) else chance.choice(names))
        data = path.read_bytes()
        what, other = damaged(data, chance)
        path.write_bytes(other)
        with pytest.raises(ReleaseError) as error:
            store.verify(catalog, release)
        assert path.name in str(error.value) and "\n" not in str(error.value), (path, what)
        if number % 20 == 0:  # as a service meets it
            manager = ReleaseManager(store, open=open_)  # type: ignore[arg-type]
            await manager.refresh()
            assert release not in [path.name for path in opened], (path, what)
            assert any(release in refusal for refusal in manager.refusals), (path, what)
        path.write_bytes(data)
    bad = {data for data in parsed if data != whole_manifest and release.encode() in data}
    assert not bad, "a damaged manifest was parsed"
    assert store.verify(catalog, release) == manifest
