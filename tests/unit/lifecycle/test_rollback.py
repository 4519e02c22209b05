from pathlib import Path
from typing import Any

import pytest
from builders import publish

from core.errors import ReleaseError
from core.manifest import Manifest
from core.progress import Silent
from core.releases import ReleaseStore
from indexer.inputs import IndexOptions
from indexer.job import IndexOutcome
from indexer.models import ModelFolders
from lifecycle import rollback
from lifecycle.rollback import rollback_models, rollback_release


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    return ReleaseStore(tmp_path / "releases")


@pytest.fixture
def made(store: ReleaseStore, tmp_path: Path) -> list[Manifest]:
    """Three releases: other products each time, and another model set from the second on."""
    return [
        publish(
            store,
            tmp_path / "scratch",
            {"products.arrow": bytes([number])},
            number,
            model={"encoder/m.onnx": b"old" if number == 0 else b"new"},
        )
        for number in range(3)
    ]


def test_without_a_name_the_release_before_comes_back(store: ReleaseStore, made: list[Manifest]) -> None:
    assert rollback_release(store, "shop", None) == made[1].release_id
    assert rollback_release(store, "shop", None) == made[0].release_id == store.current("shop")
    with pytest.raises(ReleaseError, match=f"has no release before {made[0].release_id}"):
        rollback_release(store, "shop", None)
    assert store.current("shop") == made[0].release_id


def test_a_named_release_comes_back_and_forth(store: ReleaseStore, made: list[Manifest]) -> None:
    for release in (made[0].release_id, made[2].release_id):
        assert rollback_release(store, "shop", release) == release == store.current("shop")


@pytest.mark.parametrize("name", ["r-none", "../other/r-1", "current"])
def test_a_release_that_is_not_there_changes_nothing(store: ReleaseStore, made: list[Manifest], name: str) -> None:
    with pytest.raises(ReleaseError, match="there is no release at"):
        rollback_release(store, "shop", name)
    assert store.current("shop") == made[2].release_id


def spoil(store: ReleaseStore, release: str, name: str = "products.arrow") -> None:
    path = store.path("shop", release) / name
    path.unlink()
    path.write_bytes(b"\xff")


@pytest.mark.parametrize("name", ["products.arrow", "manifest.json"])
def test_a_damaged_release_is_passed_over(
    store: ReleaseStore, made: list[Manifest], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    spoil(store, made[1].release_id, name)
    with pytest.raises(ReleaseError, match=f"{name} differs"):
        rollback_release(store, "shop", made[1].release_id)
    assert store.current("shop") == made[2].release_id
    assert rollback_release(store, "shop", None) == made[0].release_id == store.current("shop")
    assert f"{made[1].release_id} is passed over" in caplog.text


def test_a_damaged_release_in_service_is_rolled_back_from(store: ReleaseStore, made: list[Manifest]) -> None:
    spoil(store, made[2].release_id, "manifest.json")
    assert rollback_release(store, "shop", None) == made[1].release_id


def test_where_no_release_before_is_whole_the_one_in_service_stays(store: ReleaseStore, made: list[Manifest]) -> None:
    for manifest in made[:2]:
        spoil(store, manifest.release_id)
    with pytest.raises(ReleaseError, match=f"no release before {made[2].release_id} is whole; choose one with --to"):
        rollback_release(store, "shop", None)
    assert store.current("shop") == made[2].release_id


def test_a_damaged_pointer_needs_a_choice(store: ReleaseStore, made: list[Manifest]) -> None:
    (store.folder("shop") / "current").write_bytes(b"\xff\xfe")
    with pytest.raises(ReleaseError, match=r"is damaged .*rollback --to"):
        rollback_release(store, "shop", None)
    assert rollback_release(store, "shop", made[1].release_id) == store.current("shop")


@pytest.mark.parametrize("hours", [(2, 0), (0, 48, 0), (3, 2, 1), (0, 0, 0)])
def test_the_release_served_before_comes_back_whatever_the_clock_said(
    store: ReleaseStore, tmp_path: Path, hours: tuple[int, ...]
) -> None:
    made = [
        publish(store, tmp_path / "scratch", {"products.arrow": bytes([n])}, hour * 3600 + n).release_id
        for n, hour in enumerate(hours)
    ]
    assert [rollback_release(store, "shop", None) for _ in made[1:]] == made[-2::-1]


def test_what_was_rolled_back_from_was_not_served_before_what_follows(
    store: ReleaseStore, made: list[Manifest], tmp_path: Path
) -> None:
    rollback_release(store, "shop", None)
    publish(store, tmp_path / "scratch", {"products.arrow": b"better"}, 9)
    assert rollback_release(store, "shop", None) == made[1].release_id
    rollback_release(store, "shop", made[2].release_id)
    assert rollback_release(store, "shop", None) == made[1].release_id
    assert rollback_release(store, "shop", None) == made[0].release_id


def test_a_catalog_that_is_being_changed_is_left_alone(store: ReleaseStore, made: list[Manifest]) -> None:
    with store.lock("shop"), pytest.raises(ReleaseError, match="another job"):
        rollback_release(store, "shop", None)


def test_a_model_set_is_taken_from_its_newest_release_and_the_products_from_the_current(
    store: ReleaseStore, made: list[Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, ModelFolders]] = []

    def apply(
        catalog: str, models: ModelFolders, options: IndexOptions, store: ReleaseStore, steps: Any
    ) -> IndexOutcome:
        calls.append((catalog, models))
        return IndexOutcome(made[2], 0)

    monkeypatch.setattr(rollback, "apply_models", apply)
    for number, source in ((0, 0), (2, 2), (1, 2)):
        rollback_models(store, "shop", made[number].model.model_id, Silent())
        folder = store.path("shop", made[source].release_id)
        assert calls[-1] == ("shop", ModelFolders(folder / "encoder", None))


def test_an_unknown_model_set_is_told_with_those_there_are(store: ReleaseStore, made: list[Manifest]) -> None:
    with pytest.raises(ReleaseError) as error:
        rollback_models(store, "shop", "m-none", Silent())
    assert str(error.value).endswith(f"there is: {made[0].model.model_id}, {made[1].model.model_id}")


def test_a_damaged_model_set_is_refused(store: ReleaseStore, made: list[Manifest]) -> None:
    path = store.path("shop", made[0].release_id) / "encoder" / "m.onnx"
    path.unlink()
    with pytest.raises(ReleaseError, match=r"m\.onnx is missing"):
        rollback_models(store, "shop", made[0].model.model_id, Silent())
