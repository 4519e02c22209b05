import asyncio
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from builders import damage, publish
from doubles import make_release, rows_of

from core.errors import ModelError
from core.manifest import Manifest
from core.plan import Plan
from core.releases import ReleaseStore
from engine.fake import FakeEngine
from engine.protocol import EngineError
from retrieval.pipeline.search import search
from retrieval.release.loaded import LoadedRelease
from retrieval.release.manager import NotReady, ReleaseManager, UnknownCatalog
from retrieval.server.admission import Permit
from retrieval.wire.request import Query
from retrieval.wire.violations import InvalidRequest


class Shop:
    """A store of real releases, opened as doubles; the prefix of product ids is their content."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = ReleaseStore(folder / "releases")
        self.engines: dict[str, FakeEngine] = {}
        self.delays: dict[str, float] = {}
        self.broken: list[str] = []
        self.error: BaseException | None = None
        self.opened: list[str] = []
        self.now = 0.0
        self._number = 0

    def publish(self, prefix: str, catalog: str = "shop") -> str:
        self._number += 1
        contents = {"products.arrow": prefix.encode()}
        manifest = publish(self.store, self.folder / "scratch", contents, self._number, catalog=catalog)
        return manifest.release_id

    def open(self, path: Path, manifest: Manifest) -> LoadedRelease:
        self.opened.append(manifest.release_id)
        if self.error is not None:
            raise self.error
        prefix = (path / "products.arrow").read_text()
        engine = FakeEngine(20, self.delays, self.broken)
        self.engines[manifest.release_id] = engine
        folder = self.folder / manifest.release_id
        folder.mkdir(exist_ok=True)
        return make_release(folder, rows_of(20, prefix), manifest=manifest, engine=engine)

    def manager(self, poll_seconds: float = 0.005) -> ReleaseManager:
        return ReleaseManager(self.store, poll_seconds, self.open, lambda: self.now)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.002)


async def test_nothing_is_served_before_the_first_release(shop: Shop) -> None:
    manager = shop.manager()
    await manager.refresh()
    assert manager.loaded == {}
    for name in ("", "shop"):
        with pytest.raises(NotReady):
            manager.get(name)


async def test_the_current_release_is_loaded_and_warmed(shop: Shop) -> None:
    release = shop.publish("a-")
    manager = shop.manager()
    await manager.refresh()
    assert manager.get("shop").release_id == manager.get("").release_id == release
    assert len(shop.engines[release].calls) == 9  # warm before it serves
    await manager.refresh()
    assert shop.opened == [release]


async def test_several_catalogs_need_a_name(shop: Shop) -> None:
    mine, other = shop.publish("a-"), shop.publish("b-", "other")
    manager = shop.manager()
    await manager.refresh()
    assert (manager.get("shop").release_id, manager.get("other").release_id) == (mine, other)
    with pytest.raises(InvalidRequest, match="is needed, since several are served: other, shop") as error:
        manager.get("")
    assert [violation.field for violation in error.value.violations] == ["catalog"]
    with pytest.raises(UnknownCatalog, match="'third' is not served here; there is other, shop"):
        manager.get("third")


async def test_a_new_release_is_swapped_in_and_the_old_one_closes_after_its_last_lease(shop: Shop) -> None:
    old = shop.publish("a-")
    manager = shop.manager()
    await manager.refresh()
    with manager.get("").lease() as held:
        new = shop.publish("b-")
        await manager.refresh()
        assert manager.get("").release_id == new
        assert held.release_id == old and not shop.engines[old].closed
    assert shop.engines[old].closed and not shop.engines[new].closed


async def test_each_release_that_comes_into_service_is_reported(shop: Shop) -> None:
    in_service: list[list[str]] = []
    manager = ReleaseManager(
        shop.store,
        open=shop.open,
        after_swap=lambda: in_service.append([each.release_id for each in manager.loaded.values()]),
    )
    first = shop.publish("a-")
    await manager.refresh()
    await manager.refresh()
    second = shop.publish("b-")
    await manager.refresh()
    assert in_service == [[first], [second]]


async def test_no_answer_is_made_of_two_releases(shop: Shop) -> None:
    shop.delays = {"encode": 0.002, "retrieve": 0.002, "rescore": 0.002}
    prefixes = {shop.publish("a-"): "a-"}
    manager = shop.manager()
    await manager.refresh()
    watch = asyncio.create_task(manager.watch())
    stop, seen = asyncio.Event(), set()

    async def client() -> None:
        while not stop.is_set():
            with manager.get("shop").lease() as release:
                answer = await search(Query("3 shoes"), Plan(), release, Permit(), None)
                ids = [release.columns.id(hit.row) for hit in answer.hits]
            assert len(ids) == 10 and all(name.startswith(prefixes[release.release_id]) for name in ids)
            seen.add(release.release_id)

    clients = [asyncio.create_task(client()) for _ in range(8)]
    for prefix in ("b-", "c-", "d-"):
        release = shop.publish(prefix)
        prefixes[release] = prefix
        await until(lambda release=release: release in seen)
    stop.set()
    await asyncio.gather(*clients)
    watch.cancel()
    assert seen == set(prefixes)
    assert [engine.closed for engine in shop.engines.values()] == [True, True, True, False]


def damage_products(shop: Shop, release: str) -> bytes:
    """Returns what the file held before."""
    path = shop.store.path("shop", release) / "products.arrow"
    whole = path.read_bytes()
    damage(path)
    return whole


async def test_a_damaged_release_is_refused_once_with_a_reason_and_the_old_one_stays(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    old = shop.publish("a-")
    manager = shop.manager()
    await manager.refresh()
    bad = shop.publish("b-")
    damage_products(shop, bad)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            await manager.refresh()
    assert manager.get("").release_id == old and not shop.engines[old].closed
    [message] = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert f"release {bad} refused, {old} stays" in message and "products.arrow differs" in message
    assert shop.opened == [old]
    good = shop.publish("c-")
    await manager.refresh()
    assert manager.get("").release_id == good


async def test_a_refused_release_is_served_once_it_is_mended(shop: Shop) -> None:
    shop.publish("a-")
    manager = shop.manager()
    await manager.refresh()
    bad = shop.publish("b-")
    whole = damage_products(shop, bad)
    await manager.refresh()
    (shop.store.path("shop", bad) / "products.arrow").write_bytes(whole)
    shop.now = 1.9
    await manager.refresh()
    assert manager.get("").release_id != bad
    shop.now = 2.0
    await manager.refresh()
    assert manager.get("").release_id == bad


async def test_tries_of_a_refused_release_grow_rare_and_a_reason_is_told_once(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    manager = shop.manager()
    shop.publish("a-")
    shop.error = ModelError("no model")
    tries = []
    for second in range(200):
        shop.now = float(second)
        if second == 150:
            shop.error = OSError("too many open files")
        before = len(shop.opened)
        await manager.refresh()
        tries += [second] * (len(shop.opened) - before)
    assert tries == [0, 2, 6, 14, 30, 62, 122, 182]
    logged = [record.getMessage().rpartition(": ")[2] for record in caplog.records if record.levelno == logging.ERROR]
    assert logged == ["no model", "too many open files"]


@pytest.mark.parametrize("error", [ModelError("no model"), OSError("gone"), ValueError("odd"), RuntimeError("odder")])
async def test_a_release_that_does_not_open_is_refused_whatever_is_wrong(shop: Shop, error: Exception) -> None:
    old = shop.publish("a-")
    manager = shop.manager()
    await manager.refresh()
    watch = asyncio.create_task(manager.watch())
    shop.error = error
    bad = shop.publish("b-")
    await until(lambda: bad in shop.opened)
    assert manager.get("").release_id == old
    shop.error = None
    good = shop.publish("c-")
    await until(lambda: manager.get("").release_id == good)
    assert shop.opened.count(bad) == 1
    watch.cancel()


async def test_a_release_that_does_not_warm_is_refused_and_closed(shop: Shop) -> None:
    old = shop.publish("a-")
    manager = shop.manager()
    await manager.refresh()
    shop.broken = ["rescore"]
    bad = shop.publish("b-")
    await manager.refresh()
    assert manager.get("").release_id == old
    assert shop.engines[bad].closed and not shop.engines[old].closed


async def test_the_first_release_refused_leaves_nothing_served_until_a_good_one(shop: Shop) -> None:
    damage_products(shop, shop.publish("a-"))
    manager = shop.manager()
    await manager.refresh()
    with pytest.raises(NotReady):
        manager.get("")
    good = shop.publish("b-")
    await manager.refresh()
    assert manager.get("").release_id == good


@pytest.mark.parametrize("what", ["products.arrow", "manifest.json", "current"])
async def test_where_nothing_is_served_the_last_whole_release_before_stands_in(
    shop: Shop, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    oldest, old, bad = (shop.publish(prefix) for prefix in ("a-", "b-", "c-"))
    path = shop.store.path("shop", bad) / what if what != "current" else shop.store.folder("shop") / what
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(b"\xff")
    manager = shop.manager()
    for _ in range(3):
        await manager.refresh()
    served = bad if what == "current" else old  # of a damaged pointer the newest release is taken
    assert manager.get("").release_id == served and oldest not in shop.opened
    assert caplog.text.count(f"release {served}, which was served before, stands in for") == 1
    path.write_bytes(whole)
    shop.now = 2.0
    await manager.refresh()
    assert manager.get("").release_id == bad and manager.refusals == []


async def test_damaged_releases_are_passed_over_by_what_stands_in_and_a_new_one_replaces_it(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    whole, *others = (shop.publish(prefix) for prefix in ("a-", "b-", "c-"))
    for release in others:
        damage_products(shop, release)
    manager = shop.manager()
    await manager.refresh()
    assert manager.get("").release_id == whole and shop.opened == [whole]
    assert f"release {others[0]} is passed over" in caplog.text
    assert [others[1] in refusal for refusal in manager.refusals] == [True]
    new = shop.publish("d-")
    await manager.refresh()
    assert manager.get("").release_id == new and shop.engines[whole].closed
    shop.store.point("shop", whole)
    await manager.refresh()
    assert manager.get("").release_id == whole and manager.refusals == []


async def test_what_was_rolled_back_from_does_not_stand_in(shop: Shop) -> None:
    old, new = shop.publish("a-"), shop.publish("b-")
    shop.store.point("shop", old)
    damage_products(shop, old)
    manager = shop.manager()
    await manager.refresh()
    assert manager.loaded == {} and new not in shop.opened


async def test_an_engine_that_is_down_is_no_reason_for_another_release(shop: Shop) -> None:
    shop.publish("a-")
    new = shop.publish("b-")
    shop.error = EngineError("no server")
    manager = shop.manager()
    await manager.refresh()
    assert shop.opened == [new] and manager.loaded == {}


@pytest.mark.parametrize("stands_in", [False, True])
async def test_a_file_cut_short_in_service_is_reported_once(
    shop: Shop, caplog: pytest.LogCaptureFixture, stands_in: bool
) -> None:
    release = shop.publish("a-")
    if stands_in:
        damage_products(shop, shop.publish("b-"))
    manager = shop.manager()
    await manager.refresh()
    os.truncate(shop.store.path("shop", release) / "products.arrow", 1)
    for _ in range(3):
        await manager.refresh()
    assert caplog.text.count("files in service changed on disk") == 1
    assert "products.arrow differs from its manifest" in caplog.text
    assert manager.get("").release_id == release


async def test_a_broken_catalog_does_not_keep_another_from_being_served(shop: Shop) -> None:
    damage_products(shop, shop.publish("a-"))
    good = shop.publish("b-", "zebra")
    manager = shop.manager()
    await manager.refresh()
    assert manager.get("").release_id == good


async def test_a_folder_that_is_no_catalog_does_not_stop_watching(shop: Shop) -> None:
    shop.publish("a-")
    manager = shop.manager()
    await manager.refresh()
    odd = shop.store.root / "catalogs" / "not a catalog"
    odd.mkdir()
    (odd / "current").write_text("r-1\n")
    watch = asyncio.create_task(manager.watch())
    await asyncio.sleep(0.02)
    new = shop.publish("b-")
    await until(lambda: manager.get("shop").release_id == new)
    assert not watch.done()
    watch.cancel()


@pytest.mark.parametrize("damage_pointer", [lambda path: path.write_bytes(b"\xff\xfe r"), lambda path: path.mkdir()])
async def test_a_pointer_that_cannot_be_read_stops_no_catalog(
    shop: Shop, damage_pointer: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    old = shop.publish("a-")
    shop.publish("b-", "zebra")
    manager = shop.manager()
    await manager.refresh()
    pointer = shop.store.folder("shop") / "current"
    pointer.unlink()
    damage_pointer(pointer)
    watch = asyncio.create_task(manager.watch())
    newer = shop.publish("c-", "zebra")
    await until(lambda: manager.get("zebra").release_id == newer)
    assert manager.get("shop").release_id == old and not watch.done()
    assert caplog.text.count("catalog shop: its pointer cannot be read") == 1
    pointer.rmdir() if pointer.is_dir() else pointer.unlink()
    again = shop.publish("d-")
    await until(lambda: manager.get("shop").release_id == again)
    watch.cancel()


async def test_watching_outlives_whatever_goes_wrong(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shop.publish("a-")
    manager = shop.manager()
    await manager.refresh()
    catalogs, tries = shop.store.catalogs, 0

    def fail() -> list[str]:
        nonlocal tries
        tries += 1
        if tries < 5:
            raise RuntimeError("odd")
        return catalogs()

    monkeypatch.setattr(shop.store, "catalogs", fail)
    watch = asyncio.create_task(manager.watch())
    new = shop.publish("b-")
    await until(lambda: manager.get("").release_id == new)
    assert tries >= 5 and caplog.text.count("RuntimeError: odd") == 1
    watch.cancel()


async def test_memory_goes_back_once_replaced_releases_are_gone(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    trims = []
    monkeypatch.setattr("retrieval.release.manager.trim_memory", lambda: trims.append(shop.now))
    shop.publish("a-")
    manager = shop.manager()
    await manager.refresh()
    watch = asyncio.create_task(manager.watch())
    with manager.get("").lease() as held:
        new = shop.publish("b-")
        await until(lambda: manager.get("").release_id == new)
        assert not trims
    del held
    await until(lambda: bool(trims))
    watch.cancel()
    assert len(trims) == 1


async def test_blocks_of_a_release_lie_apart_while_it_is_loaded_and_warmed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart, steps = False, []

    @contextmanager
    def noted() -> Iterator[None]:
        nonlocal apart
        apart = True
        try:
            yield
        finally:
            apart = False

    def load(path: Path, manifest: Manifest) -> LoadedRelease:
        steps.append(("load", apart))
        return shop.open(path, manifest)

    async def barrier(catalog: str, release: str) -> None:
        steps.append(("warm", apart))

    monkeypatch.setattr("retrieval.release.manager.separate_blocks", noted)
    shop.publish("a-")
    await ReleaseManager(shop.store, open=load, swap_barrier=barrier).refresh()
    assert steps == [("load", True), ("warm", True)] and not apart
    shop.error = OSError("gone")
    shop.publish("b-")
    await ReleaseManager(shop.store, open=load, swap_barrier=barrier).refresh()
    assert steps[2] == ("load", True) and not apart


async def test_later_releases_load_behind_searches_and_are_attached_before_they_serve(shop: Shop) -> None:
    loads: list[int] = []
    attached: list[tuple[str, Path, int]] = []
    fault: list[Exception] = []

    def nice() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def load(path: Path, manifest: Manifest) -> LoadedRelease:
        loads.append(nice())
        return shop.open(path, manifest)

    def attach(release: LoadedRelease, folder: Path) -> None:
        attached.append((release.release_id, folder, nice()))
        for error in fault:
            raise error

    own = nice()
    manager = ReleaseManager(shop.store, open=load, attach=attach)
    releases = [shop.publish("a-")]
    await manager.refresh()
    releases.append(shop.publish("b-"))
    await manager.refresh()
    assert loads == [own, own + 10]
    assert attached == [(each, shop.store.path("shop", each), own) for each in releases]
    fault.append(OSError("the changes are gone"))
    third = shop.publish("c-")
    await manager.refresh()
    assert manager.get("").release_id == releases[1] and "the changes are gone" in manager.refusals[0]
    assert shop.engines[third].closed
    manager.close()


async def test_rolling_back_swaps_back(shop: Shop) -> None:
    old, new = shop.publish("a-"), shop.publish("b-")
    manager = shop.manager()
    await manager.refresh()
    assert manager.get("").release_id == new
    shop.store.point("shop", old)
    await manager.refresh()
    assert manager.get("").release_id == old and shop.engines[new].closed


async def test_closing_lets_go_once_requests_are_done(shop: Shop) -> None:
    release = shop.publish("a-")
    manager = shop.manager()
    await manager.refresh()
    with manager.get("").lease():
        manager.close()
        assert not shop.engines[release].closed
        with pytest.raises(NotReady):
            manager.get("")
    assert shop.engines[release].closed
