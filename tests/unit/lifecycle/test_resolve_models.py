"""Where an index job takes its models from, and that it takes no damaged ones."""

from pathlib import Path

import pytest
from builders import LINEAGE, damage, publish

from core.errors import ReleaseError
from core.manifest import Manifest
from core.releases import ReleaseStore
from encoder.tower import SPEC_FILE
from indexer.job import Models
from lifecycle.lineage import write_lineage
from lifecycle.models import models_of, resolve_models

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
    assert resolve_models(None, None, store, "shop") == Models(folder / "encoder", folder / "ranker")
    assert resolve_models(str(given), None, store, "shop") == Models(given, folder / "ranker")


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
    assert resolve_models(str(given), None, store, "shop") == Models(given, None)


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
