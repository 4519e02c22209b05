"""Rules taken up by releases in service: at once, without loading anything else, and only if they are whole."""

import logging
from pathlib import Path

import pytest
from doubles import make_release

from catalog.columns import Kind
from catalog.view import CatalogView
from core.filter_text import parse_filter
from core.releases import ReleaseStore
from core.rule_store import RuleStore
from core.rules import RulesFile
from retrieval.release.loaded import LoadedRelease
from retrieval.release.rules import RulesWatch


def problems(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The warnings and errors: whether notes are logged hangs on what ran before."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


class Shop:
    def __init__(self, folder: Path) -> None:
        self.store = ReleaseStore(folder / "releases")
        self.rules = RuleStore(self.store, "shop")
        self.release = make_release(folder)
        self.now = 0.0
        self.watch = RulesWatch(self.store, lambda: self.now)

    def publish(self, *products: str, **fields: object) -> str:
        rules = [{"id": f"r{n}", "pin": [product], **fields} for n, product in enumerate(products)]
        return self.rules.publish(RulesFile.model_validate({"rules": rules}))[0]

    async def refresh(self, release: LoadedRelease | None = None) -> None:
        await self.watch.refresh("shop", release or self.release)

    def pinned(self, release: LoadedRelease | None = None) -> list[str]:
        effects = (release or self.release).rules.effects("mug", "en", 0.0)
        return [pin.product_id for pin in effects.pins]

    def damage(self, name: str) -> bytes:
        path = self.rules.folder / f"{name}.json"
        before = path.read_bytes()
        path.write_bytes(before[:-2])
        return before


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


async def test_without_rules_there_are_none(shop: Shop) -> None:
    await shop.refresh()
    assert not shop.release.rules and shop.pinned() == []


async def test_what_is_published_is_taken_up_and_rolled_back(shop: Shop) -> None:
    shop.publish("p1")
    await shop.refresh()
    assert shop.pinned() == ["p1"]
    before = shop.release.rules
    await shop.refresh()
    assert shop.release.rules is before  # nothing is read again
    shop.publish("p2")
    await shop.refresh()
    assert shop.pinned() == ["p2"]
    shop.rules.rollback()
    await shop.refresh()
    assert shop.pinned() == ["p1"]
    shop.rules.publish(RulesFile())
    await shop.refresh()
    assert not shop.release.rules and shop.release.rules.name


async def test_another_release_gets_the_rules_too(shop: Shop, tmp_path: Path) -> None:
    shop.publish("p1")
    await shop.refresh()
    (tmp_path / "other").mkdir()
    other = make_release(tmp_path / "other")
    await shop.refresh(other)
    assert shop.pinned(other) == ["p1"] == shop.pinned()


async def test_damaged_rules_leave_those_in_service_and_are_logged_once(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    shop.publish("p1")
    await shop.refresh()
    name = shop.publish("p2")
    whole = shop.damage(name)
    with caplog.at_level(logging.ERROR):
        for shop.now in (0.0, 1.0, 2.5, 100.0):
            await shop.refresh()
    assert shop.pinned() == ["p1"]
    [message] = problems(caplog)
    assert "differs from its digest" in message and "rules-1-" in message
    (shop.rules.folder / f"{name}.json").write_bytes(whole)
    await shop.refresh()
    assert shop.pinned() == ["p1"]  # it is looked at again after a pause
    shop.now = 1000.0
    await shop.refresh()
    assert shop.pinned() == ["p2"]


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"rules-1\n", b"r-20260101T000000Z-1a2b3c4d\n"])
async def test_a_foreign_pointer_leaves_the_rules_in_service(
    shop: Shop, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    shop.publish("p1")
    await shop.refresh()
    (shop.rules.folder / "current").write_bytes(content)
    with caplog.at_level(logging.ERROR):
        await shop.refresh()
        await shop.refresh()
    assert shop.pinned() == ["p1"] and len(problems(caplog)) == 1 and "is damaged" in problems(caplog)[0]


async def test_the_last_whole_rules_stand_in_at_the_start(shop: Shop) -> None:
    shop.publish("p1")
    middle, last = shop.publish("p2"), shop.publish("p3")
    shop.damage(middle)
    shop.damage(last)
    await shop.refresh()
    assert shop.pinned() == ["p1"]


async def test_a_rule_whose_filter_the_catalog_cannot_apply_is_left_out(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    rules = [{"id": "wrong", "pin": ["p1"], "filter": 'no_such_field = "x"'}, {"id": "right", "pin": ["p2"]}]
    shop.rules.publish(RulesFile.model_validate({"rules": rules}))
    with caplog.at_level(logging.WARNING):
        await shop.refresh()
    assert shop.pinned() == ["p2"] and list(shop.release.rules.left_out) == ["wrong"]
    assert len(problems(caplog)) == 1 and "rule wrong is left out: filter: " in problems(caplog)[0]


async def test_filters_of_rules_are_read_by_the_columns_of_the_release(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CatalogView, "field_kinds", property(lambda _: {"price": Kind.money}))
    rules = [{"id": "right", "filter": "price < 5"}, {"id": "wrong", "filter": "prize < 5"}]
    shop.rules.publish(RulesFile.model_validate({"rules": rules}))
    await shop.refresh()
    assert shop.release.rules.effects("mug", "en", 0.0).filter == parse_filter("price < 5")
    assert "price" in shop.release.rules.left_out["wrong"]  # the nearest name
