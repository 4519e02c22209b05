"""The change log of a catalog as an index job sees it, and what releases on disk hold of it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from numpy.typing import ArrayLike

from catalog.change_log.open import CHANGES_FOLDER, open_change_log
from catalog.change_log.protocol import ChangeLog
from catalog.changes import Entry
from catalog.table import ProductTable
from catalog.version_file import REQUESTS_FILE, VERSIONS_FILE, VERSIONS_SCHEMA, VersionFile, read_requests
from core.errors import ChangeLogError
from core.manifest import ChangesReport, Manifest
from core.releases import ReleaseStore
from indexer.publish import COLUMNS_FILE

NO_CHANGES = ChangesReport()


@dataclass(frozen=True, slots=True)
class Changes:
    """The change log of a catalog as a job sees it: entries through `last`; those behind are for the next job."""

    log: ChangeLog
    id: str
    first: int
    last: int

    def entries(self, after: int) -> Iterator[Entry]:
        """The entries behind a revision, in their order."""
        while after < self.last:
            entries = self.log.read(after, min(1000, self.last - after))
            if not entries:
                raise ChangeLogError(f"the change log ends before revision {self.last:,}, where it ended before")
            yield from entries
            after = entries[-1].revision

    def of(self, manifest: Manifest | None) -> ChangesReport:
        """What the release holds of this log."""
        report = manifest.snapshot.changes if manifest is not None else None
        return report if report is not None and report.log == self.id else NO_CHANGES

    def check_known(self, served: Manifest | None, may_be_gone: bool = False) -> None:
        """Raises ChangeLogError where the log lost entries that the release in service holds.

        A log that is not there at all may be gone.
        """
        held = served.snapshot.changes if served is not None else None
        revision = self.of(served).revision
        if revision > self.last:
            raise ChangeLogError(
                f"the change log ends at revision {self.last:,}, before {revision:,}, which the release in service "
                "holds: put back what it lost, or begin a new one (move the folder away, or delete the keys in Redis) "
                "and give --as-of with a feed that has all changes"
            )
        if not may_be_gone and not self.last and held is not None and held.log:
            raise ChangeLogError(
                "the release in service holds changes of a change log that is not there: give --change-log if it is in "
                "Redis, or --as-of if it is lost and the feed has all changes"
            )

    def later(self, manifest: Manifest) -> int:
        """How many entries a service applies over the release."""
        return self.last - self.of(manifest).revision

    def kept_from(self, manifest: Manifest) -> bool:
        """Whether the log keeps all that was accepted behind the release's feed."""
        return self.of(manifest).cut_revision + 1 >= self.first


@contextmanager
def open_changes(store: ReleaseStore, catalog: str, setting: str) -> Iterator[Changes]:
    """The catalog's change log. Raises ChangeLogError."""
    opened = open_change_log(setting, store.folder(catalog) / CHANGES_FOLDER, catalog)
    try:
        first, last = opened.bounds()
        yield Changes(opened, opened.id, first, last)
    finally:
        opened.close()


class ReleaseState:
    """The products, versions and requests of a release on disk."""

    def __init__(self, store: ReleaseStore, manifest: Manifest) -> None:
        """Raises ReleaseError where they are damaged."""
        self.manifest = manifest
        names = [name for name in (COLUMNS_FILE, VERSIONS_FILE, REQUESTS_FILE) if name in manifest.snapshot.files]
        for name in names:
            store.verify(manifest.catalog, manifest.release_id, name)
        folder = store.path(manifest.catalog, manifest.release_id)
        self.table = ProductTable(folder / COLUMNS_FILE)
        self.versions = VersionFile(folder / VERSIONS_FILE) if VERSIONS_FILE in names else None
        self.answers = read_requests(folder / REQUESTS_FILE) if REQUESTS_FILE in names else []
        self._files = {name: folder / name for name in names[1:]}

    def copy_files(self, target: Path) -> dict[str, Path]:
        """Copies the files of versions and requests into a folder; returns them by their names."""
        return {name: Path(shutil.copyfile(path, target / name)) for name, path in self._files.items()}

    def version(self, product_id: str) -> int:
        """The product's version in the release."""
        return self.versions.version(product_id) if self.versions else 0

    def version_at_cut(self, product_id: str) -> int:
        """The version behind the feed of the release."""
        return self.versions.version_at_cut(product_id) if self.versions else 0

    def in_feed(self, product_id: str) -> bool | None:
        """Whether the product was in the feed; None where the release's products tell."""
        return self.versions.in_feed(product_id) if self.versions else None

    def table_of_versions(self, folded: bool, name: str = "version") -> pa.Table:
        """All versions: those with changes folded in, or those of one column, as they are right behind a feed."""
        if self.versions is None:
            return versions_table(pa.array([], pa.string()), [], [])
        table = self.versions.table
        return table if folded else versions_table(table.column("id"), table.column(name), table.column(name))


def count_later(store: ReleaseStore, catalog: str, setting: str) -> dict[str, int] | None:
    """How many entries a service applies over each release, by its name; None where nothing was ever changed.

    Raises ChangeLogError.
    """
    with open_changes(store, catalog, setting) as changes:
        if not changes.last:
            return None
        return {manifest.release_id: changes.later(manifest) for manifest in store.manifests(catalog)}


def drop_unneeded(store: ReleaseStore, catalog: str, changes: Changes) -> int:
    """Drops the entries that no release on disk needs, neither to be served nor to fold the next feed into.

    Returns the last revision that may be gone. Call it under the catalog's lock.
    """
    held = [changes.of(manifest) for manifest in store.manifests(catalog)]
    through = min((min(report.revision, report.cut_revision) for report in held), default=0)
    if through >= changes.first:
        changes.log.drop(through)
    return through


def versions_table(ids: pa.Array | pa.ChunkedArray, versions: ArrayLike, at_cut: ArrayLike) -> pa.Table:
    """Versions of products that no change was folded into."""
    columns = [ids, pa.array(versions, pa.int64()), pa.array(at_cut, pa.int64()), pa.nulls(len(ids), pa.bool_())]
    return pa.Table.from_arrays(columns, schema=VERSIONS_SCHEMA)
