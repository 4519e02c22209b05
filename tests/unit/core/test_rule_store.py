"""Published rules on disk: versions, the pointer, and what is left by a publishing that was cut off."""

import os
from pathlib import Path

import pytest

from core import rule_store
from core.errors import ReleaseError, RulesError
from core.releases import ReleaseStore
from core.rule_store import MOST_VERSIONS, RuleStore
from core.rules import RulesFile


@pytest.fixture
def store(tmp_path: Path) -> RuleStore:
    return RuleStore(ReleaseStore(tmp_path), "shop")


def rules(product: str) -> RulesFile:
    return RulesFile.model_validate({"rules": [{"id": "r", "pin": [product]}]})


def served(store: RuleStore) -> str:
    """The product that the rules in service pin."""
    entry = store.trail()[0]
    return store.read(entry.release, entry.sha256).rules[0].pin[0].product


def test_versions_are_numbered_and_the_last_is_served(store: RuleStore) -> None:
    assert store.trail() == () and store.versions() == []
    names = [store.publish(rules(product))[0] for product in "abc"]
    assert [name.split("-")[1] for name in names] == ["1", "2", "3"]
    assert served(store) == "c" and [entry.release for entry in store.trail()] == names[::-1]
    assert [(one.name, one.rules, one.damage) for one in store.versions()] == [(name, 1, "") for name in names]


def test_the_same_rules_are_not_published_again(store: RuleStore) -> None:
    first = store.publish(rules("a"))
    assert first[1] and store.publish(rules("a")) == (first[0], False)
    store.publish(rules("b"))
    assert store.publish(rules("a"))[1] and len(store.versions()) == 3


def test_rollback_goes_back_step_by_step_and_anywhere(store: RuleStore) -> None:
    first, second, third = (store.publish(rules(product))[0] for product in "abc")
    assert store.rollback() == second and served(store) == "b"
    assert store.rollback() == first and served(store) == "a"
    with pytest.raises(RulesError, match="no whole rules before those in service"):
        store.rollback()
    assert store.rollback(third) == third and served(store) == "c"
    assert store.rollback() == first  # what was rolled back from is not on the way
    fourth = store.publish(rules("d"))[0]
    assert fourth.startswith("rules-4-") and served(store) == "d"
    for name in ("rules-9-20260101T000000Z-0123456789abcdef", "../current", "r-1"):
        with pytest.raises(RulesError, match="see `tandem rules list`"):
            store.rollback(name)


def test_a_damaged_version_is_seen_and_passed_over(store: RuleStore) -> None:
    first, second, _ = (store.publish(rules(product))[0] for product in "abc")
    path = store.folder / f"{second}.json"
    path.write_bytes(path.read_bytes().replace(b'"b"', b'"x"'))
    assert [bool(one.damage) for one in store.versions()] == [False, True, False]
    with pytest.raises(RulesError, match="differs from its digest"):
        store.read(second)
    assert store.rollback() == first


def test_a_version_that_is_damaged_while_served_is_published_anew(store: RuleStore) -> None:
    name, _ = store.publish(rules("a"))
    (store.folder / f"{name}.json").write_text("{}")
    again, new = store.publish(rules("a"))
    assert new and again != name and served(store) == "a"


def test_a_damaged_pointer_is_named_and_mended_by_publishing(store: RuleStore) -> None:
    store.publish(rules("a"))
    (store.folder / "current").write_text("nonsense\n")
    with pytest.raises(ReleaseError, match=r"is damaged .*: publish rules again, or choose a version with"):
        store.trail()
    with pytest.raises(ReleaseError, match="is damaged"):
        store.rollback()
    name, _ = store.publish(rules("b"))
    assert name.startswith("rules-2-") and served(store) == "b"


def test_another_process_that_publishes_is_in_the_way(store: RuleStore) -> None:
    store.publish(rules("a"))
    with store._lock(), pytest.raises(RulesError, match="another process publishes rules"):
        store.publish(rules("b"))
    assert served(store) == "a"


def test_old_versions_go(store: RuleStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule_store, "MOST_VERSIONS", 3)
    names = [store.publish(rules(product))[0] for product in "abcde"]
    assert [one.name for one in store.versions()] == names[-3:] and MOST_VERSIONS == 100
    assert store.rollback() == names[-2] and store.rollback() == names[-3]
    with pytest.raises(RulesError, match="no whole rules before"):
        store.rollback()


class Cut(BaseException):
    """The machine stops here."""


@pytest.mark.parametrize("failure", [Cut, OSError])
@pytest.mark.parametrize("step", range(1, 8))
def test_publishing_that_is_cut_off_leaves_old_or_new_rules(
    store: RuleStore, monkeypatch: pytest.MonkeyPatch, failure: type[BaseException], step: int
) -> None:
    old, _ = store.publish(rules("a"))
    steps = 0

    def counted(real):  # type: ignore[no-untyped-def]
        def call(*arguments, **options):  # type: ignore[no-untyped-def]
            nonlocal steps
            steps += 1
            if steps == step or (steps > step and failure is Cut):
                raise failure("cut")
            return real(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", counted(os.fsync))
        patch.setattr(Path, "rename", counted(Path.rename))
        try:
            store.publish(rules("b"))
        except (Cut, OSError):
            assert steps >= step
        else:
            assert steps < step
    assert served(store) in ("a", "b")
    if served(store) == "a":
        assert failure is Cut or [one.name for one in store.versions()] == [old]
    store.publish(rules("c"))
    assert served(store) == "c" and not [one for one in store.versions() if one.damage]
    assert [path.name for path in store.folder.glob(".*")] == [".lock"]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "catalogs").write_text("")
    with pytest.raises(RulesError, match="cannot be written"):
        RuleStore(ReleaseStore(tmp_path), "shop").publish(rules("a"))
