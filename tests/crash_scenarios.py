"""What is cut off, refused by the disk, or lost in a power cut, and what has to hold afterwards.

Each scenario prepares a folder once, works in a copy of it in a traced process, and finds the faults of what is left.
Nothing here loads models: `python -m crash_points` runs it in a process of its own.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from catalog.change_log.file import FileChangeLog
from catalog.changes import Change, ChangeKind, NewEntry
from core.errors import ChangeLogError, ReleaseError, TandemError
from core.manifest import Manifest
from core.releases import ReleaseStore
from core.rule_store import RuleStore
from core.rules import RulesFile

Report = Callable[[str], None]
SCRATCH = "scratch"  # holds what a job made and has not synced
BEFORE, _LATER = "r-20260101T000000Z-aaaaaaaa", "r-20260101T000009Z-cccccccc"


class Scenario(Protocol):
    """One kind of work on a folder. `slowest` is how many seconds it took at most until what is left was served."""

    slowest: float

    def work(self, root: Path, report: Report) -> None:
        """What is cut off. Reports what it is through with."""
        ...

    def faults(self, root: Path, lines: list[str]) -> list[str]:
        """What does not hold in what is left, given what was reported; mends and goes on as a next job would."""
        ...

    def given_back(self, root: Path, before: set[str], lines: list[str]) -> list[str]:
        """What work that failed, and ended by itself, left behind of what it did not report."""
        ...


class Publishing:
    """A release is made of files, over one in service; with `prunes`, the others go at once."""

    def __init__(self, draft: Path, prunes: bool = False) -> None:
        """`draft` holds `manifest.json` and its files below `scratch`."""
        self._draft = Manifest.model_validate_json((draft / "manifest.json").read_bytes())
        self._prunes = prunes
        self.slowest = 0.0

    def work(self, root: Path, report: Report) -> None:
        """As an index job does it."""
        self._publish(root, self._draft)
        report("published")
        if self._prunes:
            store = ReleaseStore(root / "releases")
            with store.lock(self._draft.catalog, exclusive=True):
                store.prune(self._draft.catalog, 1)
            report("pruned")

    def faults(self, root: Path, lines: list[str]) -> list[str]:
        store, catalog = ReleaseStore(root / "releases"), self._draft.catalog
        began = time.monotonic()
        try:
            current = store.current(catalog)
            faults = self._serving(store, current, lines)
            self.slowest = max(self.slowest, time.monotonic() - began)
            for release in store.releases(catalog):
                if release.manifest is None or not self._is_whole(store, release.name):
                    faults.append(f"{release.name} is listed and not whole")
            again = self._draft.model_copy(update={"release_id": _LATER})
            self._publish(root, again)
            faults += self._serving(store, _LATER, ["published"])
            with store.lock(catalog, exclusive=True):
                store.prune(catalog, 1)
            names = {path.name for path in store.folder(catalog).iterdir()} - {".lock"}
            if names != {_LATER, "current"}:
                faults.append(f"left behind after the next publishing: {sorted(names)}")
            used = {entry.sha256 for entry in again.files.values()}
            if {path.name for path in (store.root / "objects").iterdir()} != used:
                faults.append("left behind after the next publishing: objects")
        except (OSError, ReleaseError) as error:
            return [f"{type(error).__name__}: {error}"]
        return faults

    def given_back(self, root: Path, before: set[str], lines: list[str]) -> list[str]:
        store = ReleaseStore(root / "releases")
        if store.current(self._draft.catalog) == self._draft.release_id:
            return []
        left = {
            name for name in files(store.root) - before if not name.startswith("audit.jsonl") and ".lock" not in name
        }
        return [f"left behind: {name}" for name in sorted(left)]

    def _publish(self, root: Path, manifest: Manifest) -> None:
        store, models = ReleaseStore(root / "releases"), set(manifest.model.files)
        with store.lock(manifest.catalog):
            for name, entry in manifest.files.items():
                path = root / SCRATCH / name
                if not path.exists():  # moved by a publishing before: a job makes it again
                    continue
                if (store.add_copy if name in models else store.add)(path) != entry:
                    raise AssertionError(f"{name} is another")
            store.publish(manifest)

    def _serving(self, store: ReleaseStore, current: str | None, lines: list[str]) -> list[str]:
        """Loads what the pointer names as a service does."""
        from retrieval.release.manager import ReleaseManager

        catalog = self._draft.catalog
        before = [] if "published" in lines else [self._before]
        if current not in [*before, self._draft.release_id, _LATER]:
            return [f"in service is {current}, after {lines}"]
        if current is None:
            return []
        store.verify(catalog, current)
        manager = ReleaseManager(store)
        try:
            asyncio.run(manager.refresh())
            loaded = {name: release.release_id for name, release in manager.loaded.items()}
            return [] if loaded == {catalog: current} else [f"loaded is {loaded}: {manager.refusals}"]
        finally:
            manager.close()

    _before: str | None = BEFORE

    def _is_whole(self, store: ReleaseStore, name: str) -> bool:
        with contextlib.suppress(ReleaseError):
            store.verify(self._draft.catalog, name)
            return True
        return False


class FirstPublishing(Publishing):
    """The same into a folder in which nothing was published yet."""

    _before = None


class Rules:
    """Rules are published over others, then rolled back."""

    slowest = 0.0

    def __init__(self, folder: Path) -> None:
        """Publishes the first."""
        with contextlib.suppress(TandemError):
            _rules_of(folder).publish(_rules("first"))

    def work(self, root: Path, report: Report) -> None:
        store = _rules_of(root)
        store.publish(_rules("second"))
        report("second")
        store.rollback()
        report("first")

    def faults(self, root: Path, lines: list[str]) -> list[str]:
        store = _rules_of(root)
        try:
            served = _served(store)
            expected = {"first", "second"} if len(lines) != 1 else {"second", "first"}
            faults = [] if served in expected else [f"served are {served} after {lines}"]
            if lines == ["second", "first"] and served != "first":
                faults.append("the rollback is lost")
            faults += [f"{one.name} is damaged" for one in store.versions() if one.damage]
            store.publish(_rules("third"))
            if _served(store) != "third":
                faults.append("cannot be published again")
            hidden = [
                path.name for path in store.folder.iterdir() if path.name.startswith(".") and path.name != ".lock"
            ]
            return faults + [f"left behind: {name}" for name in hidden]
        except (OSError, TandemError) as error:
            return [f"{type(error).__name__}: {error}"]

    def given_back(self, root: Path, before: set[str], lines: list[str]) -> list[str]:
        store = _rules_of(root)
        served = store.trail()[0].release
        left = {name for name in files(root) - before if "audit.jsonl" not in name} if not lines else set()
        return [f"left behind: {name}" for name in sorted(left) if served not in name and not name.endswith(".lock")]


class Changes:
    """Changes are appended to a log of small segments, each acknowledged; then the oldest are dropped.

    An append that is refused is followed by others.
    """

    slowest = 0.0
    _kept = 3  # before
    _sent = 6
    _dropped = 4

    def __init__(self, folder: Path) -> None:
        """Appends the first."""
        log = _log_of(folder)
        if not log.id:
            for number in range(self._kept):
                log.append([_entry(f"before-{number}")])
        log.close()

    def work(self, root: Path, report: Report) -> None:
        log = _log_of(root)
        for number in range(self._sent):
            name = f"sent-{number}"
            report(f"sent {name}")
            try:
                [entry] = log.append([_entry(name)])
                report(f"kept {name} {entry.revision}")
            except ChangeLogError as error:
                report(f"{'unknown' if 'unknown' in str(error) else 'refused'} {name}")
        with contextlib.suppress(ChangeLogError):
            log.drop(self._dropped)

    def faults(self, root: Path, lines: list[str]) -> list[str]:
        log = _log_of(root)
        reported = [line.split() for line in lines]
        sent = {rest[0] for state, *rest in reported if state == "sent"} | {f"before-{i}" for i in range(self._kept)}
        acknowledged = {i + 1: f"before-{i}" for i in range(self._kept)}
        acknowledged |= {int(rest[1]): rest[0] for state, *rest in reported if state == "kept"}
        refused = {rest[0] for state, *rest in reported if state == "refused"}
        try:
            kept = _read(log)
            faults = [f"{name} was sent by nobody" for name in set(kept.values()) - sent]
            faults += [f"{name} was refused and is kept" for name in set(kept.values()) & refused]
            faults += [
                f"{name} was acknowledged as {number}, which is {kept.get(number)}"
                for number, name in acknowledged.items()
                if number > self._dropped and kept.get(number) != name
            ]
            if len(set(kept.values())) < len(kept):
                faults.append("an entry is there twice")
            [after] = log.append([_entry("after")])
            if _read(log).get(after.revision) != "after" or after.revision != max(kept, default=after.revision - 1) + 1:
                faults.append("what is appended afterwards is not there")
            return faults
        except (OSError, ChangeLogError) as error:
            return [f"{type(error).__name__}: {error}"]
        finally:
            log.close()

    def given_back(self, root: Path, before: set[str], lines: list[str]) -> list[str]:
        return [f"left behind: {name}" for name in files(root) if "/.new-" in name]


def files(folder: Path) -> set[str]:
    """Paths of all files below a folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def _rules_of(root: Path) -> RuleStore:
    return RuleStore(ReleaseStore(root / "releases"), "shop")


def _rules(product: str) -> RulesFile:
    return RulesFile.model_validate({"rules": [{"id": "r", "pin": [product]}]})


def _served(store: RuleStore) -> str:
    entry = store.trail()[0]
    return store.read(entry.release, entry.sha256).rules[0].pin[0].product


def _log_of(root: Path) -> FileChangeLog:
    return FileChangeLog(root / "releases" / "catalogs" / "shop" / "changes", rotate_bytes=200)


def _entry(name: str) -> NewEntry:
    return NewEntry(1, name, (Change(ChangeKind.delete, name),))


def _read(log: FileChangeLog) -> dict[int, str]:
    first, last = log.bounds()
    entries = log.read(first - 1) if last >= first else []
    if [entry.revision for entry in entries] != list(range(first, last + 1)):
        raise ChangeLogError(f"revisions {[entry.revision for entry in entries]} of {first} to {last}")
    return {entry.revision: entry.request_id for entry in entries}


def write_draft(store: ReleaseStore, release: str, folder: Path) -> None:
    """Makes what `Publishing` takes of a release that is published, which it takes out of the store."""
    catalog = store.catalogs()[0]
    manifest, source = store.manifest(catalog, release), store.path(catalog, release)
    for name in manifest.files:
        path = folder / SCRATCH / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((source / name).read_bytes())
    (folder / "manifest.json").write_text(json.dumps(manifest.model_dump(mode="json")))
