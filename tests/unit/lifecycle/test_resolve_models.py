"""Where an index job takes its models from, and that it takes no damaged ones."""

from pathlib import Path

import pytest
from builders import LINEAGE, damage, publish

from core.errors import ModelError, ReleaseError
from core.manifest import Manifest
from core.releases import ReleaseStore
from encoder.bi_encoder import SPEC_FILE
from indexer.models import ModelFolders
from lifecycle.models import models_in, models_of, resolve_models
from lifecycle.tracking.lineage import write_lineage
from ranker.final import SPEC_FILE as FINAL_FILE
from ranker.ranker import SPEC_FILE as RANKER_FILE

FILES = {"encoder/m.onnx": b"encoder", "ranker/m.onnx": b"ranker"}


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    return ReleaseStore(tmp_path / "releases")


@pytest.fixture
def served(store: ReleaseStore, tmp_path: Path) -> Manifest:
    """A release with a ranker."""
    made = publish(store, tmp_path / "scratch", {"products.arrow": b"p"}, model=FILES)
    ranked = made.model_copy(update={"model": made.model.model_copy(update={"ranker": {}}), "release_id": "r-ranked"})
    store.publish(ranked)
    return ranked


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """A folder as training leaves it."""
    folder = tmp_path / "trained"
    folder.mkdir()
    (folder / SPEC_FILE).touch()
    return folder


def test_what_is_not_given_is_taken_from_the_release_in_service(
    store: ReleaseStore, served: Manifest, given: Path
) -> None:
    folder = store.path("shop", served.release_id)
    assert resolve_models(None, None, store, "shop") == ModelFolders(folder / "encoder", folder / "ranker")
    assert resolve_models(str(given), None, store, "shop") == ModelFolders(given, folder / "ranker")


def test_the_lineage_of_each_model_follows_it(
    store: ReleaseStore, served: Manifest, given: Path, tmp_path: Path
) -> None:
    write_lineage(given, LINEAGE)
    of_given = LINEAGE.model_dump(mode="json")
    assert resolve_models(str(given), None, store, "shop").lineage == {"encoder": of_given}
    known = {"encoder": {"run": "before"}, "ranker": {"run": "of the ranker"}}
    model = served.model.model_copy(update={"lineage": known})
    store.publish(served.model_copy(update={"model": model, "release_id": "r-told"}))
    assert resolve_models(None, None, store, "shop").lineage == known
    mixed = {"encoder": of_given, "ranker": known["ranker"]}
    assert resolve_models(str(given), None, store, "shop").lineage == mixed
    assert models_of(store, "shop", "r-told").lineage == known


def test_given_towers_need_no_release(store: ReleaseStore, given: Path) -> None:
    assert resolve_models(str(given), None, store, "shop") == ModelFolders(given, None)


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Folders that were exported into, by a double of the export."""
    made: list[Path] = []

    def export(_: str | None, folder: Path) -> None:
        made.append(folder)
        for name, text in ((SPEC_FILE, "{}"), ("model.onnx", "weights")):
            (folder / name).write_text(text)

    monkeypatch.setattr("encoder.train.export.export_encoder", export)
    return made


@pytest.mark.parametrize("damaged", [None, "model.onnx", SPEC_FILE, "exported.json"])
@pytest.mark.parametrize("how", ["changed", "empty", "gone"])
def test_an_export_is_kept_while_it_is_whole(
    store: ReleaseStore, exports: list[Path], damaged: str | None, how: str
) -> None:
    folder = resolve_models("some/model", None, store, "shop").encoder
    (folder / "model.half.safetensors").write_text("added later")
    if damaged and how == "gone":
        (folder / damaged).unlink()
    elif damaged:
        (folder / damaged).write_text("" if how == "empty" else "[1]")
    again = resolve_models("some/model", None, store, "shop").encoder
    assert again == folder and (folder / "model.onnx").read_text() == "weights"
    # Without digests it is taken for one of a version before.
    assert len(exports) == 1 + (damaged is not None and (damaged, how) != ("exported.json", "gone"))
    assert list(folder.parent.iterdir()) == [folder]


def test_an_export_that_fails_leaves_nothing(
    store: ReleaseStore, exports: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(_: str | None, folder: Path) -> None:
        (folder / SPEC_FILE).write_text("")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("encoder.train.export.export_encoder", fill)
        with pytest.raises(OSError, match="No space left"):
            resolve_models("some/model", None, store, "shop")
    assert list((store.root / "exported" / "encoder").iterdir()) == []
    assert resolve_models("some/model", None, store, "shop").encoder.is_dir() and len(exports) == 1


@pytest.mark.parametrize("kind", ["encoder", "ranker"])
def test_a_damaged_model_in_service_is_not_taken_again(store: ReleaseStore, served: Manifest, kind: str) -> None:
    damage(store.path("shop", served.release_id) / kind / "m.onnx")
    with pytest.raises(ReleaseError) as error:
        resolve_models(None, None, store, "shop")
    assert f"{kind}/m.onnx differs from its manifest; index again with --{kind} or roll back" in str(error.value)


def test_a_damaged_model_is_no_matter_where_another_is_given(
    store: ReleaseStore, served: Manifest, given: Path
) -> None:
    folder = store.path("shop", served.release_id)
    damage(folder / "encoder" / "m.onnx")
    damage(folder / "products.arrow")
    assert resolve_models(str(given), None, store, "shop").encoder == given


def test_a_training_s_folder_gives_what_it_holds(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    for name, file in (("encoder", SPEC_FILE), ("ranker", RANKER_FILE), ("final", FINAL_FILE)):
        (folder / name).mkdir(parents=True)
        if name == "encoder":
            with pytest.raises(ModelError, match=f"models holds no encoder/{SPEC_FILE}; give the folder that"):
                models_in(folder)
        (folder / name / file).touch()
    assert models_in(folder) == ModelFolders(folder / "encoder", folder / "ranker", None, folder / "final")
    (folder / "ranker" / RANKER_FILE).unlink()
    (folder / "final" / FINAL_FILE).unlink()
    assert models_in(folder) == ModelFolders(folder / "encoder", None)
