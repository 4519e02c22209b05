"""`tandem audit`: acts of administrators, each in the log before it takes effect."""

import json
from pathlib import Path

import pytest
from builders import publish
from typer.testing import CliRunner

from core.audit import AuditLog, current_user
from core.errors import TandemError
from core.releases import ReleaseStore
from core.rule_store import RuleStore
from core.rules import RulesFile
from lifecycle.cli.app import app
from lifecycle.rollback import rollback_release


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    """Two releases, a rollback, and rules published and taken back."""
    store = ReleaseStore(tmp_path / "releases")
    for number in range(2):
        publish(store, tmp_path / "scratch", {"products.arrow": bytes([number])}, number)
    rollback_release(store, "shop", None)
    rules = RuleStore(store, "shop")
    first, _ = rules.publish(RulesFile())
    rules.publish(RulesFile.model_validate({"rules": [{"id": "one", "pin": ["1"]}]}))
    rules.rollback(first)
    return store


def test_each_act_is_in_the_log_with_what_was_before(store: ReleaseStore) -> None:
    entries = store.audit.check()
    acts = ["publish", "publish", "rollback", "publish rules", "publish rules", "rollback rules"]
    assert [entry.action for entry in entries] == acts
    assert {entry.who for entry in entries} == {current_user()} and {entry.catalog for entry in entries} == {"shop"}
    assert entries[1].facts["before"] == entries[0].facts["release"] == entries[2].facts["release"]
    assert entries[5].facts["rules"] == entries[3].facts["rules"]


def test_an_act_that_cannot_be_logged_does_not_take_effect(store: ReleaseStore) -> None:
    current, rules = store.current("shop"), RuleStore(store, "shop").trail()
    store.audit.path.write_bytes(b"{}\n")
    with pytest.raises(TandemError, match="is no entry"):
        rollback_release(store, "shop", store.manifests("shop")[1].release_id)
    with pytest.raises(TandemError, match="is no entry"):
        RuleStore(store, "shop").publish(RulesFile.model_validate({"rules": [{"id": "two", "pin": ["2"]}]}))
    assert store.current("shop") == current and RuleStore(store, "shop").trail() == rules


def test_the_command_prints_the_acts_and_the_last_digest(store: ReleaseStore) -> None:
    arguments = ["audit", "--releases", str(store.root)]
    printed = CliRunner().invoke(app, arguments).stdout
    assert f"{current_user()}: rollback rules of shop" in printed
    assert printed.rstrip().endswith(AuditLog(store.audit.path).check()[-1].digest)
    entries = json.loads(CliRunner().invoke(app, [*arguments, "--json", "--last", "2"]).stdout)
    assert [entry["sequence"] for entry in entries] == [5, 6]


def test_the_command_refuses_a_log_that_was_changed(store: ReleaseStore) -> None:
    data = store.audit.path.read_text()
    store.audit.path.write_text(data.replace('"rollback"', '"publish"'))
    failed = CliRunner().invoke(app, ["audit", "--releases", str(store.root)]).exception
    assert isinstance(failed, TandemError) and "line 3 was changed" in str(failed)
    store.audit.path.write_text(data)
    failed = CliRunner().invoke(app, ["audit", "--releases", str(store.root), "--known", "0" * 64]).exception
    assert isinstance(failed, TandemError) and "no entry has the digest" in str(failed)
