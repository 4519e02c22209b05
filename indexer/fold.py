"""Folds the change log into a release.

A feed is one entry in the order of the log, at its cut: it takes the place of all that was accepted until then, and
what was accepted later is applied on top of it, by the rules of `catalog.versions`. A product of the feed that has a
version takes part by it: where a change set a newer version, what stands stays, whenever it was accepted.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from catalog.changes import merge_fields
from catalog.table import ProductTable
from catalog.version_file import (
    REQUESTS_FILE,
    VERSIONS_FILE,
    VERSIONS_SCHEMA,
    write_requests,
    write_versions,
)
from catalog.versions import ChangeRules, no_version
from core.errors import ChangeLogError
from core.manifest import ChangesReport, Manifest
from core.progress import Report
from core.releases import ReleaseStore
from indexer.changes import Changes, ReleaseState
from indexer.history import FeedVersions, History
from indexer.overlay import Overlay, ProductState, Written, find_rows, write_products


@dataclass(frozen=True, slots=True)
class FoldPlan:
    """How changes and a feed come together: the feed stands behind entry `cut_revision`.

    What came before is read from entry `start` on, over the release `base` as it was right behind its own feed (or, of
    another log's release, as it is).
    """

    changes: Changes
    served: Manifest | None
    base: Manifest | None
    start: int
    cut: int
    cut_revision: int

    def holds_all(self) -> bool:
        """Whether the release in service has the same changes over its feed."""
        if not self.changes.last:
            known = self.served.snapshot.changes if self.served is not None else None
            return known is None or not known.log
        held = self.changes.of(self.served)
        return (held.revision, held.cut_revision) == (self.changes.last, self.cut_revision)


def plan_fold(store: ReleaseStore, catalog: str, changes: Changes, served: Manifest | None, cut: int) -> FoldPlan:
    """Where a feed of this cut (Unix time in milliseconds) stands in the log.

    Raises ChangeLogError where entries that were accepted after the cut are no longer kept.
    """
    others = sorted(store.manifests(catalog), key=lambda one: changes.of(one).cut_revision, reverse=True)
    usable = [one for one in others if changes.of(one).log]
    if served is not None:
        usable.insert(0, served)
    base = next((one for one in usable if changes.of(one).cut <= cut and changes.kept_from(one)), None)
    start = changes.of(base).cut_revision
    if start + 1 < changes.first:
        raise ChangeLogError(
            f"the feed is of {_utc(cut)}, and changes accepted after that are in releases and no longer in the log: "
            "index a newer feed, or give --as-of the time since when it has them"
        )
    cut_revision = start
    for entry in changes.entries(start):
        if entry.time > cut:
            break
        cut_revision = entry.revision
    return FoldPlan(changes, served, base, start, cut, cut_revision)


@dataclass(frozen=True, slots=True)
class Folded:
    """The products with changes folded in, the files that go along, and the report; None where there is nothing."""

    columns: Path
    files: dict[str, Path]
    report: ChangesReport | None


def fold_into_feed(
    plan: FoldPlan, store: ReleaseStore, columns: Path, feed_versions: NDArray[np.int64] | None, report: Report
) -> Folded:
    """Applies what was accepted after the cut to a feed's products, of which `feed_versions` has a version or 0 each.

    Memory grows with the products that entries touch, and with versions. Raises ReleaseError, ChangeLogError.
    """
    base = ReleaseState(store, plan.base) if plan.base is not None else None
    if not plan.changes.last and feed_versions is None and (base is None or base.versions is None):
        return Folded(columns, {}, None)
    table = ProductTable(columns)
    history = History(plan, base)
    rows = find_rows(table, history.touched)
    feed = FeedVersions(table, feed_versions, rows, history)
    overlay = Overlay(ChangeRules(feed.version), lambda name: name in rows)
    standing = _standing(plan, store, history, feed.older)
    behind: set[str] = set()
    for entry in history.entries(plan.cut_revision):
        for change in entry.changes:
            behind.add(change.product_id)
            if change.product_id not in feed.older:
                overlay.apply(change)

    def was_there(name: str) -> bool:
        return history.there_at_cut(name) if name in feed.older else name in rows

    named = sorted(history.versions_at_cut.keys() | behind | feed.older)
    listed: dict[str, list[Any]] = {
        "id": named,
        "version": [(standing if name in feed.older else overlay).rules.version(name) for name in named],
        "version_at_cut": [feed.version(name) for name in named],
        "in_feed": [was_there(name) if name in behind else None for name in named],
    }
    files = _write_files(columns.parent, listed, [feed.table(), history.base_versions()], history.rules)
    written, columns = _write(table, overlay.states | standing.states, columns, report)
    return Folded(
        columns,
        files,
        ChangesReport(
            log=plan.changes.id,
            revision=plan.changes.last,
            cut=plan.cut,
            cut_revision=plan.cut_revision,
            superseded=plan.cut_revision - plan.start,
            folded=plan.changes.last - plan.cut_revision,
            **asdict(written),
        ),
    )


def fold_into_release(changes: Changes, store: ReleaseStore, served: Manifest, columns: Path, report: Report) -> Folded:
    """Applies what was accepted since a release to a copy of its products. Raises ReleaseError, ChangeLogError."""
    state, held = ReleaseState(store, served), changes.of(served)
    if not changes.last:
        return Folded(columns, state.copy_files(columns.parent), served.snapshot.changes)
    table, same = ProductTable(columns), bool(held.log)
    touched = {change.product_id for entry in changes.entries(held.revision) for change in entry.changes}
    rows = find_rows(table, touched)
    overlay = Overlay(ChangeRules(state.version), lambda name: name in rows)
    overlay.rules.answers.update(state.answers if same else ())
    for entry in changes.entries(held.revision):
        if overlay.rules.repeated(entry.request_id) is None:
            overlay.rules.remember(entry, entry.revision, [overlay.apply(change) for change in entry.changes])
    named = sorted(touched)
    known = [state.in_feed(name) if same else None for name in named]
    listed: dict[str, list[Any]] = {
        "id": named,
        "version": [overlay.rules.version(name) for name in named],
        "version_at_cut": [(state.version_at_cut if same else state.version)(name) for name in named],
        "in_feed": [name in rows if was is None else was for name, was in zip(named, known, strict=True)],
    }
    files = _write_files(columns.parent, listed, [state.table_of_versions(same)], overlay.rules)
    written, columns = _write(table, overlay.states, columns, report)
    counts = {"superseded": 0, "folded": changes.last - held.revision, **asdict(written)}
    return Folded(columns, files, held.model_copy(update={"log": changes.id, "revision": changes.last, **counts}))


def _standing(plan: FoldPlan, store: ReleaseStore, history: History, ids: Set[str]) -> Overlay:
    """What stands of those products without the feed: of the release in service, and of all entries since."""
    state = ReleaseState(store, plan.served) if ids and plan.served is not None else None
    rows = find_rows(state.table, ids) if state is not None else {}
    overlay = Overlay(ChangeRules(state.version if state is not None else no_version), lambda name: name in rows)
    for entry in history.entries(plan.changes.of(plan.served).revision if ids else plan.changes.last):
        for change in entry.changes:
            if change.product_id in ids:
                overlay.apply(change)
    for name in ids:
        stands = overlay.states.setdefault(name, ProductState(name in rows))
        if stands.exists and stands.row is None and state is not None:
            stands.row = merge_fields(state.table.row(rows[name]), stands.fields)
    return overlay


def _write(
    table: ProductTable, states: Mapping[str, ProductState], columns: Path, report: Report
) -> tuple[Written, Path]:
    """Writes the products beside the file where they were, which goes, unless there is nothing to write."""
    if not any(state.changed for state in states.values()):
        return Written(0, 0, 0), columns
    part = columns.with_name(f".{columns.name}.part")
    written = write_products(table, states, part, report)
    part.replace(columns)
    return written, columns


def _write_files(
    folder: Path, listed: Mapping[str, list[Any]], others: Sequence[pa.Table], rules: ChangeRules
) -> dict[str, Path]:
    """Writes versions, of tables that have the same id the first, and answers; returns the files by their names."""
    tables = [pa.table(dict(listed), VERSIONS_SCHEMA)]
    for table in others:
        for before in tables:
            table = table.filter(
                pc.invert(pc.is_in(table.column("id"), value_set=before.column("id").combine_chunks()))
            )
        tables.append(table.cast(VERSIONS_SCHEMA))
    table = pa.concat_tables(tables)
    idle = pc.and_(pc.equal(table.column("version"), 0), pc.equal(table.column("version_at_cut"), 0))
    table = table.filter(pc.invert(pc.and_(idle, pc.is_null(table.column("in_feed")))))
    files: dict[str, Path] = {}
    if len(table):
        files[VERSIONS_FILE] = folder / VERSIONS_FILE
        write_versions(files[VERSIONS_FILE], table)
    if rules.answers:
        files[REQUESTS_FILE] = folder / REQUESTS_FILE
        write_requests(files[REQUESTS_FILE], rules.answers.items())
    return files


def _utc(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
