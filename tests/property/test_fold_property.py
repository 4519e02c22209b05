"""Feeds, changes, cuts, other models, rollbacks and pruning against a plain dictionary that is made anew each time."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from builders import make_manifest, product, write_columns
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from catalog.change_log.file import FileChangeLog
from catalog.changes import Change, ChangeKind, NewEntry
from catalog.table import ProductTable
from catalog.version_file import open_rules
from core.manifest import CatalogSnapshot, Manifest
from core.progress import ignore
from core.releases import ReleaseStore
from indexer.changes import Changes, drop_unneeded
from indexer.fold import Folded, fold_into_feed, fold_into_release, plan_fold
from indexer.overlay import Overlay

_IDS = "abcdef"
_NAMES = st.sampled_from(_IDS)
_VERSIONS = st.one_of(st.just(0), st.integers(1, 6))


@dataclass
class Feed:
    """A feed in the order of the log: it stands behind so many entries."""

    behind: int
    rows: dict[str, str]
    versions: dict[str, int]


@dataclass
class Plain:
    """Titles and prices by id, and versions: what entries and feeds make, one after the other."""

    products: dict[str, tuple[str, int | None]] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: list[NewEntry], feeds: list[Feed]) -> "Plain":
        plain, seen = cls(), set()
        for place in range(len(entries) + 1):
            for feed in feeds:
                if feed.behind == place:
                    plain.take(feed)
            if place < len(entries) and entries[place].request_id not in seen:
                seen.add(entries[place].request_id)
                for change in entries[place].changes:
                    plain.change(change)
        return plain

    def take(self, feed: Feed) -> None:
        stays = {name for name, version in feed.versions.items() if version and version < self.versions.get(name, 0)}
        kept = {name: row for name, row in self.products.items() if name in stays}
        self.products = {name: (title, None) for name, title in feed.rows.items() if name not in stays} | kept
        self.versions |= {name: version for name, version in feed.versions.items() if version and name not in stays}

    def change(self, change: Change) -> None:
        name, kind, there = change.product_id, change.kind, change.product_id in self.products
        if change.version and change.version <= self.versions.get(name, 0):
            return
        if not there and (kind == "update_fields" or (kind == "delete" and not change.version)):
            return
        if change.version:
            self.versions[name] = change.version
        given = change.product or {}
        if kind == "delete":
            self.products.pop(name, None)
        elif kind == "upsert":
            self.products[name] = (given["title"], given.get("price_micros"))
        else:
            title, price = self.products[name]
            self.products[name] = (given.get("title", title), given.get("price_micros", price))


class Folding(RuleBasedStateMachine):
    """`feeds` are those of the release in service, `known` those of each release."""

    @initialize(rotate=st.sampled_from([1, 400, 1 << 20]))
    def start(self, rotate: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fold-"))
        self.store = ReleaseStore(self.folder / "releases")
        self.log = FileChangeLog(self.store.folder("shop") / "changes", rotate)
        self.entries: list[NewEntry] = []
        self.feeds: list[Feed] = []
        self.known: dict[str, list[Feed]] = {}
        self.clock = self.number = 0

    def teardown(self) -> None:
        self.log.close()
        shutil.rmtree(self.folder)

    @rule(data=st.data(), count=st.integers(1, 3), again=st.integers(0, 9))
    def accept(self, data: st.DataObject, count: int, again: int) -> None:
        self.clock += 1
        changes = []
        for _ in range(count):
            name, kind = data.draw(_NAMES), data.draw(st.sampled_from(list(ChangeKind)))
            price = data.draw(st.integers(1, 3))
            given: Mapping[str, Any] | None = None
            if kind == "upsert":
                given = product(name, f"live {self.clock}", price_micros=price)
            elif kind == "update_fields":
                given = data.draw(st.sampled_from([{"price_micros": price}, {"title": f"changed {self.clock}"}]))
            changes.append(Change(kind, name, data.draw(_VERSIONS), given))
        request = f"r{self.clock}" if again or not self.entries else self.entries[-1].request_id
        entry = NewEntry(self.clock, request, tuple(changes))
        self.log.append([entry])
        self.entries.append(entry)

    @rule(
        rows=st.dictionaries(_NAMES, st.integers(1, 6), min_size=1),
        versioned=st.booleans(),
        ago=st.integers(0, 6),
    )
    def index(self, rows: dict[str, int], versioned: bool, ago: int) -> None:
        """A feed whose cut is not before that of the release in service."""
        served = self.store.in_service("shop")
        report = served.snapshot.changes if served else None
        cut = max(self.clock - ago, report.cut if report else 0)
        self.number += 1
        titles = dict.fromkeys(rows, f"feed {self.number}")
        versions = {name: version for name, version in rows.items() if versioned and version > 1}
        feed = Feed(sum(entry.time <= cut for entry in self.entries), titles, versions)
        table = [product(name, titles[name]) for name in rows]
        given = np.array([versions.get(name, 0) for name in rows]) if versioned else None
        plain = Plain.of(self.entries, [*self.feeds, feed])
        if not plain.products:
            return
        with self.store.lock("shop"), self.working() as work:
            changes = self.changes()
            plan = plan_fold(self.store, "shop", changes, served, cut)
            columns = write_columns(work / "products.arrow", table, batch=2)
            self.publish(fold_into_feed(plan, self.store, columns, given, ignore))
            drop_unneeded(self.store, "shop", changes)
        self.feeds = [*self.feeds, feed]
        self.remember()

    @precondition(lambda self: self.known)
    @rule()
    def index_under_other_models(self) -> None:
        served = self.store.in_service("shop")
        if served is None or not Plain.of(self.entries, self.feeds).products:
            return
        with self.store.lock("shop"), self.working() as work:
            columns = work / "products.arrow"
            shutil.copyfile(self.store.path("shop", served.release_id) / "products.arrow", columns)
            changes = self.changes()
            self.publish(fold_into_release(changes, self.store, served, columns, ignore))
            drop_unneeded(self.store, "shop", changes)
        self.remember()

    @precondition(lambda self: len(self.known) > 1)
    @rule(place=st.integers(0, 10))
    def roll_back(self, place: int) -> None:
        there = [release.name for release in self.store.releases("shop")]
        name = there[place % len(there)]
        self.store.point("shop", name)
        self.feeds = self.known[name]

    @precondition(lambda self: self.known)
    @rule(keep=st.integers(1, 2))
    def prune(self, keep: int) -> None:
        with self.store.lock("shop", exclusive=True):
            self.store.prune("shop", keep)
            drop_unneeded(self.store, "shop", self.changes())

    @invariant()
    def what_is_served_is_the_plain_dictionary(self) -> None:
        served = self.store.in_service("shop") if hasattr(self, "store") else None
        if served is None:
            return
        folder = self.store.path("shop", served.release_id)
        table = ProductTable(folder / "products.arrow")
        rows = {row["id"]: row for row in map(table.row, range(len(table)))}
        overlay = Overlay(open_rules(folder), rows.__contains__)
        changes = self.changes()
        for entry in changes.entries(changes.of(served).revision):
            if overlay.rules.repeated(entry.request_id) is None:
                overlay.rules.remember(entry, entry.revision, [overlay.apply(change) for change in entry.changes])
        for name, state in overlay.states.items():
            row = state.row or {**rows.get(name, {}), **state.fields}
            rows = {other: there for other, there in rows.items() if other != name}
            if state.exists:
                rows[name] = row
        plain = Plain.of(self.entries, self.feeds)
        assert {name: (row["title"], row["price_micros"]) for name, row in rows.items()} == plain.products
        assert {name: overlay.rules.version(name) for name in _IDS} == {
            name: plain.versions.get(name, 0) for name in _IDS
        }

    def changes(self) -> Changes:
        return Changes(self.log, self.log.id, *self.log.bounds())

    @contextmanager
    def working(self) -> Iterator[Path]:
        work = Path(tempfile.mkdtemp(dir=self.folder))
        yield work
        shutil.rmtree(work)

    def publish(self, folded: Folded) -> Manifest:
        self.number += 1
        rows = len(ProductTable(folded.columns))
        paths = {"products.arrow": folded.columns, **folded.files}
        files = {name: self.store.add_copy(path) for name, path in paths.items()}
        model = self.folder / "model"
        model.write_bytes(b"model")
        manifest = make_manifest({"encoder/m.onnx": self.store.add_copy(model)}, files, self.number)
        snapshot = CatalogSnapshot(
            catalog_id=manifest.snapshot.catalog_id,
            products=rows,
            cleaning={},
            index={},
            files=files,
            changes=folded.report,
        )
        return self.store.publish(manifest.model_copy(update={"snapshot": snapshot}))

    def remember(self) -> None:
        current = self.store.current("shop")
        assert current is not None
        self.known[current] = self.feeds


TestFolding = Folding.TestCase
TestFolding.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
