"""Real index jobs over a change log: what is folded in, what is superseded, and jobs that are killed."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from changes import delete, entry, update
from shops import command, environment, index, write_feed, write_rows
from torture import SEED, amount

from benchmarks.killing import kill_folds
from catalog.change_log.file import FileChangeLog
from catalog.change_log.open import open_change_log
from catalog.changes import Change, ChangeKind
from catalog.table import ProductTable
from catalog.version_file import open_rules
from core.errors import ChangeLogError
from core.manifest import ChangesReport, Manifest
from core.progress import Silent
from core.releases import ReleaseStore
from indexer.changes import Changes
from indexer.cleaning.mapping import FeedMapping
from indexer.inputs import IndexOptions
from indexer.job import apply_models, index_feed
from indexer.models import ModelFolders
from indexer.overlay import Overlay
from lifecycle.rollback import rollback_release

NOON = 1_764_331_200_000  # 2025-11-28, 12:00 UTC, in milliseconds
KILLS = amount(3, 60)


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """`tandem` with its arguments, to its end."""
    wide = environment() | {"COLUMNS": "200"}
    return subprocess.run(command(*arguments), capture_output=True, text=True, env=wide)


def upsert(product_id: str, title: str, version: int = 0) -> Change:
    row = {"id": product_id, "title": title, "price_micros": 1_000_000, "currency": "EUR", "attributes": [("a", "b")]}
    return Change(ChangeKind.upsert, product_id, version, row)


def make_feed(path: Path, prefix: str = "p", changed: int = 0, at: int = NOON) -> Path:
    """Thirty products in a file that was last modified at that time."""
    write_feed(path, prefix, changed)
    os.utime(path, ns=(at * 1_000_000, at * 1_000_000))
    return path


def change_log(store: ReleaseStore) -> FileChangeLog:
    return FileChangeLog(store.folder("default") / "changes")


def served(store: ReleaseStore) -> Manifest:
    manifest = store.in_service("default")
    assert manifest is not None
    return manifest


def report(manifest: Manifest) -> ChangesReport:
    assert manifest.snapshot.changes is not None
    return manifest.snapshot.changes


def rows_of(store: ReleaseStore) -> dict[str, dict[str, Any]]:
    """The products of the release in service, as published."""
    table = ProductTable(store.path("default", served(store).release_id) / "products.arrow")
    return {row["id"]: row for row in map(table.row, range(len(table)))}


def catalog(store: ReleaseStore) -> dict[str, str]:
    """Titles by id, as a service has them: the release in service, and later entries over it."""
    rows = {name: row["title"] for name, row in rows_of(store).items()}
    overlay = Overlay(open_rules(store.path("default", served(store).release_id)), set(rows).__contains__)
    log = change_log(store)
    changes = Changes(log, log.id, *log.bounds())
    for one in changes.entries(changes.of(served(store)).revision):
        if overlay.rules.repeated(one.request_id) is None:
            overlay.rules.remember(one, one.revision, [overlay.apply(change) for change in one.changes])
    for name, state in overlay.states.items():
        title = (state.row or {}).get("title") or state.fields.get("title") or rows.get(name, "")
        rows.pop(name, None)
        if state.exists:
            rows[name] = title
    log.close()
    return rows


def test_changes_after_the_cut_are_folded_in_and_those_before_are_superseded(
    models: ModelFolders, tmp_path: Path
) -> None:
    store = ReleaseStore(tmp_path / "releases")
    feed = make_feed(tmp_path / "feed.jsonl")
    index(feed, models, store)
    assert served(store).snapshot.changes is None
    log = change_log(store)
    log.append(
        [
            entry("1", upsert("p0", "superseded mug"), delete("p1"), time=NOON - 1),
            entry("2", upsert("new", "copper kettle", 7), upsert("p2", "brass lamp"), delete("p3"), time=NOON + 1),
            entry("3", update("p4", price_micros=5_000_000, availability="out_of_stock"), time=NOON + 2),
            entry("3", upsert("p5", "a repeated request"), time=NOON + 3),
        ]
    )
    outcome = index(feed, models, store)
    assert outcome.embedded == 2  # the two new texts
    rows = rows_of(store)
    assert rows["new"]["title"] == "copper kettle" and rows["new"]["attributes"] == [("a", "b")]
    assert rows["p2"]["title"] == "brass lamp" and "p3" not in rows and "p1" in rows
    assert rows["p0"]["title"] == "red kettle" and rows["p5"]["title"] == "red garden hose"
    assert (rows["p4"]["price_micros"], rows["p4"]["availability"]) == (5_000_000, "out_of_stock")
    assert list(rows) == [*(f"p{i}" for i in range(30) if i != 3), "new"]
    assert report(served(store)) == ChangesReport(
        **{"log": log.id, "revision": 4, "cut": NOON, "cut_revision": 1, "superseded": 1, "folded": 3},
        **{"upserted": 2, "updated": 1, "deleted": 1},
    )
    rules = open_rules(store.path("default", served(store).release_id))
    assert rules.version("new") == 7 and rules.repeated("3") is not None
    assert index(feed, models, store).embedded is None  # nothing new


def test_a_later_feed_supersedes_what_was_folded_in(models: ModelFolders, tmp_path: Path) -> None:
    store = ReleaseStore(tmp_path / "releases")
    log = change_log(store)
    log.append([entry("1", upsert("new", "copper kettle"), time=NOON + 1)])
    log.append([entry("2", upsert("p2", "brass lamp"), time=NOON + 9)])
    index(make_feed(tmp_path / "feed.jsonl"), models, store)
    assert {"new"} < rows_of(store).keys() and rows_of(store)["p2"]["title"] == "brass lamp"
    index(make_feed(tmp_path / "feed.jsonl", at=NOON + 5), models, store)  # the same products, seen later
    assert "new" not in rows_of(store) and rows_of(store)["p2"]["title"] == "brass lamp"
    assert (report(served(store)).superseded, report(served(store)).folded) == (1, 1)
    options = IndexOptions(as_of=NOON + 10)
    assert index_feed(tmp_path / "feed.jsonl", FeedMapping(), models, options, store, Silent()).embedded is not None
    assert rows_of(store)["p2"]["title"] == "green kettle"


def test_versions_of_a_feed_decide_whatever_the_cut(models: ModelFolders, tmp_path: Path) -> None:
    store = ReleaseStore(tmp_path / "releases")
    fields = {"id": "id", "title": "title", "version": "rev"}
    mapping = FeedMapping.model_validate({"fields": fields})
    log = change_log(store)
    log.append(
        [
            entry("1", upsert("a", "live a", 9), upsert("b", "live b", 3), delete("c", 9), time=NOON - 1),
            entry("2", upsert("d", "live d", 2), upsert("e", "live e"), time=NOON + 1),
        ]
    )
    rows: list[dict[str, Any]] = [{"id": name, "title": f"feed {name}", "rev": 5} for name in "abcde"]
    rows.append({"id": "f", "title": "feed f", "rev": "five"})
    write_rows(tmp_path / "feed.jsonl", rows)
    options = IndexOptions(as_of=NOON)
    index_feed(tmp_path / "feed.jsonl", mapping, models, options, store, Silent())
    titles = {name: row["title"] for name, row in rows_of(store).items()}
    assert titles == {"a": "live a", "b": "feed b", "d": "feed d", "e": "live e", "f": "feed f"}
    assert served(store).snapshot.cleaning["dropped"] == {"version: no_version": 1}
    rules = open_rules(store.path("default", served(store).release_id))
    assert [rules.version(name) for name in "abcdef"] == [9, 5, 9, 5, 5, 0]


def test_other_models_take_the_changes_along(models: ModelFolders, encoder_dir: Path, tmp_path: Path) -> None:
    store = ReleaseStore(tmp_path / "releases")
    index(make_feed(tmp_path / "feed.jsonl"), models, store)
    log = change_log(store)
    log.append([entry("1", upsert("new", "copper kettle", 4), delete("p1"), time=NOON + 1)])
    apply_models("default", ModelFolders(encoder_dir, None), IndexOptions(), store, Silent())
    assert "new" in rows_of(store) and "p1" not in rows_of(store)
    assert (report(served(store)).revision, report(served(store)).cut_revision) == (1, 0)
    apply_models("default", models, IndexOptions(), store, Silent())  # nothing new: versions and requests stay
    rules = open_rules(store.path("default", served(store).release_id))
    assert rules.version("new") == 4 and rules.repeated("1") is not None
    assert catalog(store) == {name: row["title"] for name, row in rows_of(store).items()}


def test_a_rollback_loses_no_change_and_entries_stay_while_a_release_needs_them(
    models: ModelFolders, tmp_path: Path
) -> None:
    store = ReleaseStore(tmp_path / "releases")
    feed = tmp_path / "feed.jsonl"
    index(make_feed(feed), models, store)
    log = change_log(store)
    for number in range(3):
        log.append([entry(f"{number}", upsert(f"new{number}", f"copper kettle {number}"), time=NOON + 1 + number)])
        index(make_feed(feed, changed=number + 1), models, store)
    before = catalog(store)
    rollback_release(store, "default", store.releases("default")[0].name)
    assert served(store).snapshot.changes is None and log.bounds() == (1, 3)
    now = catalog(store)
    assert {name for name in now if name.startswith("new")} == {"new0", "new1", "new2"}
    assert now.keys() == before.keys()
    with store.lock("default", exclusive=True):
        store.point("default", store.releases("default")[-1].name)
        store.prune("default", 1)
    index(make_feed(feed, changed=9, at=NOON + 2), models, store)  # two entries are superseded
    assert catalog(store).keys() - {f"p{i}" for i in range(30)} == {"new2"}
    with store.lock("default", exclusive=True):
        store.prune("default", 1)
    index(make_feed(feed, changed=10, at=NOON + 9), models, store)
    with store.lock("default", exclusive=True):
        store.prune("default", 1)
    apply_models("default", models, IndexOptions(), store, Silent())
    assert log.bounds() == (4, 3)
    with pytest.raises(ChangeLogError, match="the feed is of 2025-11-28 12:00:00 UTC, and changes accepted"):
        index(make_feed(feed, changed=11), models, store)


def test_a_log_that_is_not_there_is_asked_for(models: ModelFolders, tmp_path: Path) -> None:
    store = ReleaseStore(tmp_path / "releases")
    feed = make_feed(tmp_path / "feed.jsonl")
    log = change_log(store)
    log.append([entry("1", upsert("new", "copper kettle"), time=NOON + 1)])
    index(feed, models, store)
    held = report(served(store))
    (store.folder("default") / "changes").rename(tmp_path / "moved")
    with pytest.raises(ChangeLogError, match="give --change-log if it is in Redis, or --as-of if it is lost"):
        index(feed, models, store)
    apply_models("default", models, IndexOptions(), store, Silent())
    assert report(served(store)) == held and "new" in rows_of(store)
    index_feed(feed, FeedMapping(), models, IndexOptions(as_of=NOON + 5), store, Silent())
    assert "new" not in rows_of(store)
    change_log(store).append([entry("2", upsert("other", "tin can"), time=NOON + 9)])
    assert "other" in catalog(store)


def test_a_log_that_lost_its_end_is_refused(models: ModelFolders, tmp_path: Path) -> None:
    store = ReleaseStore(tmp_path / "releases")
    feed, folder = make_feed(tmp_path / "feed.jsonl"), store.folder("default") / "changes"
    log = change_log(store)
    log.append([entry("1", upsert("a", "tin can"), time=NOON + 1)])
    shutil.copytree(folder, tmp_path / "backup")
    log.append([entry("2", upsert("b", "tin can"), time=NOON + 1)])
    index(feed, models, store)
    shutil.rmtree(folder)
    (tmp_path / "backup").rename(folder)
    for work in (
        lambda: index(feed, models, store),
        lambda: index_feed(feed, FeedMapping(), models, IndexOptions(as_of=NOON + 9), store, Silent()),
        lambda: apply_models("default", models, IndexOptions(), store, Silent()),
    ):
        with pytest.raises(ChangeLogError, match="ends at revision 1, before 2, which the release in service holds"):
            work()


def test_a_log_in_redis_is_folded_in_too(models: ModelFolders, redis_url: str, tmp_path: Path) -> None:
    store = ReleaseStore(tmp_path / "releases")
    feed = make_feed(tmp_path / "feed.jsonl")
    log = open_change_log(redis_url, Path("unused"), "default")
    log.append([entry("1", upsert("p0", "superseded"), time=NOON), entry("2", delete("p1"), time=NOON + 1)])
    options = IndexOptions(change_log=redis_url)
    index_feed(feed, FeedMapping(), models, options, store, Silent())
    assert rows_of(store).keys() == {f"p{i}" for i in range(30)} - {"p1"}
    assert (report(served(store)).log, report(served(store)).revision) == (log.id, 2)
    assert log.bounds() == (2, 2)  # the next feed may be of noon too
    with pytest.raises(ChangeLogError, match="give --change-log if it is in Redis"):
        index(feed, models, store)


@pytest.mark.torture
def test_a_killed_fold_loses_nothing(models: ModelFolders, tmp_path: Path) -> None:
    store = ReleaseStore(tmp_path / "releases")
    feed = make_feed(tmp_path / "feed.jsonl")
    index(feed, models, store)
    assert models.encoder is not None
    arguments = ("index", "--catalog", feed, "--releases", store.root, "--encoder", models.encoder)
    line = ["env", f"PYTHONPATH={environment()['PYTHONPATH']}", *command(*arguments)]
    losses = kill_folds(line, lambda: change_log(store), lambda: catalog(store), NOON + 1, KILLS, SEED)
    assert (losses.lost, losses.ghosts) == (0, 0) and losses.acknowledged == 5 * KILLS
    plain = catalog(store)
    index(feed, models, store)
    assert {name: row["title"] for name, row in rows_of(store).items()} == plain == catalog(store)


def test_the_command_prints_what_was_folded(models: ModelFolders, tmp_path: Path) -> None:
    store = ReleaseStore(tmp_path / "releases")
    feed = make_feed(tmp_path / "feed.jsonl")
    index(feed, models, store)
    change_log(store).append([entry("1", upsert("new", "copper kettle"), time=NOON + 1)])
    arguments = ("index", "--catalog", feed, "--releases", store.root, "--encoder", models.encoder)
    printed = run(*arguments).stdout
    assert (
        "changes: 0 requests until 2025-11-28 12:00:00 UTC superseded by the feed, 1 later ones folded in: products "
        "upserted 1, updated 0, deleted 0"
    ) in printed
    names = [release.name for release in store.releases("default")]
    listed = run("releases", "--releases", store.root).stdout
    assert f"{names[0]}: changes since, which a service applies over it: 1 requests" in listed
    assert f"{names[1]}: " not in listed
    returned = run("rollback", "--releases", store.root).stdout
    assert "changes since, which a service applies over it: 1 requests" in returned
    failed = run(*arguments, "--as-of", "yesterday")
    assert failed.returncode == 2 and "--as-of is 'yesterday'; give a time such as" in failed.stderr
