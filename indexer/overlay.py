"""Changes over the products of a feed or of a release: what becomes of each product that they touch."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from catalog.changes import Change, ChangeKind
from catalog.product import CATALOG_SCHEMA
from catalog.table import ProductTable
from catalog.versions import ChangeRules, Outcome
from core.errors import ReleaseError
from core.progress import Report
from indexer.product_files import BATCH_ROWS, ColumnsWriter, make_batch


@dataclass(slots=True)
class ProductState:
    """What changes made of a product: a row in place of what stands, or fields to change, or that it is gone."""

    exists: bool
    row: dict[str, Any] | None = None
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        """Whether anything is to be done to what stands."""
        return not self.exists or self.row is not None or bool(self.fields)


class Overlay:
    """Applies changes by the rules. `exists` returns whether a product is among those that the changes are put over."""

    def __init__(self, rules: ChangeRules, exists: Callable[[str], bool]) -> None:
        self.rules = rules
        self.states: dict[str, ProductState] = {}
        self._exists = exists

    def apply(self, change: Change) -> Outcome:
        """Applies a change that wins."""
        state = self.states.get(change.product_id)
        if state is None:
            state = self.states[change.product_id] = ProductState(self._exists(change.product_id))
        outcome = self.rules.decide(change, state.exists)
        if outcome is not Outcome.applied:
            return outcome
        if change.kind is ChangeKind.update_fields:
            fields = change.product or {}
            if state.row is not None:
                state.row |= fields
            else:
                state.fields |= fields
            return outcome
        state.exists = change.kind is ChangeKind.upsert
        state.row = dict(change.product or {}) if state.exists else None
        state.fields = {}
        return outcome


def find_rows(table: ProductTable, ids: Iterable[str]) -> dict[str, int]:
    """The rows of those ids that the table has."""
    found: dict[str, int] = {}
    wanted, start = pa.array(sorted(ids), pa.string()), 0
    if not len(wanted):
        return found
    for batch in table.batches():
        column = batch.column("id")
        for place in pc.indices_nonzero(pc.is_in(column, value_set=wanted)).to_pylist():
            found[column[place].as_py()] = start + place
        start += batch.num_rows
    return found


@dataclass(frozen=True, slots=True)
class Written:
    """How many products came or were replaced, were changed, and went."""

    upserted: int
    updated: int
    deleted: int


def write_products(table: ProductTable, states: Mapping[str, ProductState], path: Path, report: Report) -> Written:
    """Writes the products with what changes made of them; new ones come last, in the order of their first change.

    Raises ReleaseError where no product is left, and for changes that no product can have.
    """
    states = {name: state for name, state in states.items() if state.changed}
    touched, seen, deleted, total = pa.array(list(states), pa.string()), set(), 0, len(table)
    try:
        with ColumnsWriter(path) as writer:
            done = 0
            for batch in table.batches():
                for part, name in _parts(batch, touched):
                    if name is None:
                        writer.add(part)
                        continue
                    seen.add(name)
                    if states[name].exists:
                        writer.add(_changed(part, states[name]))
                    else:
                        deleted += 1
                done += batch.num_rows
                report(done, total)
            new = [state.row for name, state in states.items() if state.exists and state.row and name not in seen]
            for start in range(0, len(new), BATCH_ROWS):
                writer.add(make_batch([_values(row) for row in new[start : start + BATCH_ROWS]]))
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ReleaseError(f"the change log holds what no product can have: {str(error).splitlines()[0]}") from None
    if not writer.rows:
        raise ReleaseError("changes deleted every product: index a feed that has some, or give --as-of a later time")
    there = [state for state in states.values() if state.exists]
    upserted = sum(state.row is not None for state in there)
    return Written(upserted, len(there) - upserted, deleted)


def _parts(batch: pa.RecordBatch, touched: pa.Array) -> Iterable[tuple[pa.RecordBatch, str | None]]:
    """The batch in pieces: runs of rows that no change touches, and each other row with its id."""
    start, column = 0, batch.column("id")
    for place in pc.indices_nonzero(pc.is_in(column, value_set=touched)).to_pylist():
        if place > start:
            yield batch.slice(start, place - start), None
        yield batch.slice(place, 1), column[place].as_py()
        start = place + 1
    if start < batch.num_rows:
        yield batch.slice(start), None


def _changed(row: pa.RecordBatch, state: ProductState) -> pa.RecordBatch:
    if state.row is not None:
        return make_batch([_values(state.row)])
    return make_batch([_values({**row.to_pylist()[0], **state.fields})])


def _values(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in CATALOG_SCHEMA.names)
