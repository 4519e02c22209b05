"""What was accepted since a release, decided again as serving decided it, beside the versions that a feed brings."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from catalog.changes import ChangeKind, Entry
from catalog.table import ProductTable
from catalog.versions import ChangeRules, Outcome
from indexer.changes import ReleaseState, versions_table
from indexer.overlay import find_rows

if TYPE_CHECKING:
    from indexer.fold import FoldPlan


class History:
    """What was accepted behind the plan's start, decided as serving decided it: versions at the cut, and answers."""

    def __init__(self, plan: "FoldPlan", base: ReleaseState | None) -> None:
        self._plan, self._base = plan, base
        self._same = bool(plan.changes.of(plan.base).log)
        self._repeated: set[int] = set()
        self.rules = ChangeRules(self._version_before)
        self.versions_at_cut: dict[str, int] = {}
        self._there_at_cut: dict[str, bool] = {}
        self.touched = {c.product_id for entry in plan.changes.entries(plan.start) for c in entry.changes}
        if base is not None and self._same:
            self.rules.answers.update((name, answer) for name, answer in base.answers if answer.revision <= plan.start)
        self._rows = find_rows(base.table, self.touched) if base is not None else {}
        self._run()

    def entries(self, after: int) -> Iterator[Entry]:
        """The entries behind a revision that repeat no request."""
        return (entry for entry in self._plan.changes.entries(after) if entry.revision not in self._repeated)

    def version_at_cut(self, product_id: str) -> int:
        """The version that changes set until the cut; 0 where none did."""
        known = self.versions_at_cut.get(product_id)
        return self._version_before(product_id) if known is None else known

    def there_at_cut(self, product_id: str) -> bool:
        """Whether a product that entries touch was there at the cut, without the feed."""
        known = self._there_at_cut.get(product_id)
        return self._there_before(product_id) if known is None else known

    def at_cut(self, table: ProductTable) -> NDArray[np.int64]:
        """The versions that the release before has for the table's products, shape (n,)."""
        if self._base is None or self._base.versions is None:
            return np.zeros(len(table), np.int64)
        known = self._base.table_of_versions(False, "version_at_cut" if self._same else "version")
        ids = known.column("id").combine_chunks()
        versions = np.append(known.column("version").to_numpy(), 0)
        places = [pc.index_in(batch.column("id"), value_set=ids).fill_null(-1).to_numpy() for batch in table.batches()]
        return versions[np.concatenate([np.empty(0, np.int64), *places]).astype(np.int64)]

    def base_versions(self) -> pa.Table:
        """The versions of the release before, right behind its feed."""
        if self._base is None:
            return versions_table(pa.array([], pa.string()), [], [])
        return self._base.table_of_versions(False, "version_at_cut" if self._same else "version")

    def _version_before(self, product_id: str) -> int:
        if self._base is None:
            return 0
        return (self._base.version_at_cut if self._same else self._base.version)(product_id)

    def _there_before(self, product_id: str) -> bool:
        was = self._base.in_feed(product_id) if self._base is not None and self._same else None
        return product_id in self._rows if was is None else was

    def _run(self) -> None:
        there: dict[str, bool] = {}
        for entry in self._plan.changes.entries(self._plan.start):
            if entry.revision == self._plan.cut_revision + 1:
                self.versions_at_cut, self._there_at_cut = dict(self.rules.changed), dict(there)
            if self.rules.repeated(entry.request_id) is not None:
                self._repeated.add(entry.revision)
                continue
            outcomes = []
            for change in entry.changes:
                name = change.product_id
                if name not in there:
                    there[name] = self._there_before(name)
                outcomes.append(self.rules.decide(change, there[name]))
                if outcomes[-1] is Outcome.applied:
                    there[name] = change.kind is not ChangeKind.delete
            self.rules.remember(entry, entry.revision, outcomes)
        if self._plan.cut_revision >= self._plan.changes.last:
            self.versions_at_cut, self._there_at_cut = dict(self.rules.changed), dict(there)


class FeedVersions:
    """The versions of a feed's products beside those that changes set until its cut."""

    def __init__(
        self, table: ProductTable, versions: NDArray[np.int64] | None, rows: Mapping[str, int], history: History
    ) -> None:
        """`rows` are those of the products that entries touch."""
        self._table, self._rows, self._history = table, rows, history
        self._versions = np.zeros(len(table), np.int64) if versions is None else versions
        self.older: set[str] = set()  # a change set a newer version: what stands stays
        if versions is not None:
            changed = history.at_cut(table)
            for name, row in rows.items():
                changed[row] = history.version_at_cut(name)
            places = np.flatnonzero((versions > 0) & (versions < changed))
            self.older = {table.id(int(row)) for row in places}
            self._versions = np.where(versions < changed, 0, versions)

    def version(self, product_id: str) -> int:
        """The version of a product that entries touch, or that stays, right behind the feed."""
        row = self._rows.get(product_id)
        return int(self._versions[row] if row is not None else 0) or self._history.version_at_cut(product_id)

    def table(self) -> pa.Table:
        """The ids of the feed that bring a version, and the version."""
        start, parts = 0, [pa.array([], pa.string())]
        for batch in self._table.batches():
            parts.append(batch.column("id").filter(pa.array(self._versions[start : start + batch.num_rows] > 0)))
            start += batch.num_rows
        versions = self._versions[self._versions > 0]
        return versions_table(pa.chunked_array(parts), versions, versions)
