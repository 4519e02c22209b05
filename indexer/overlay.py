"""Changes over the products of a feed or of a release: what becomes of each product that they touch."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from catalog.changes import Change, ChangeKind, join_fields, merge_fields
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
                state.row = merge_fields(state.row, fields)
            else:
                state.fields = join_fields(state.fields, fields)
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
                places = pc.indices_nonzero(pc.is_in(batch.column("id"), value_set=touched)).to_numpy()
                names = batch.column("id").take(places).to_pylist()
                seen.update(names)
                changed = _changed(batch, places, [states[name] for name in names])
                deleted += batch.num_rows - changed.num_rows
                writer.add(changed)
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


def _changed(batch: pa.RecordBatch, places: NDArray[np.uint64], states: Sequence[ProductState]) -> pa.RecordBatch:
    """The batch with what became of the rows at these places, in its order."""
    if not len(places):
        return batch
    rows = batch.take(pa.array(places)).to_pylist()
    left = [
        (place, row if state.row is None else state.row, state.fields)
        for place, row, state in zip(places, rows, states, strict=True)
        if state.exists
    ]
    keeps = np.ones(batch.num_rows, bool)
    keeps[places] = False
    if not left and not keeps.any():
        return batch.slice(0, 0)
    parts = [batch.filter(pa.array(keeps))]
    if left:
        parts.append(make_batch([_values(merge_fields(row, fields)) for _, row, fields in left]))
    order = np.argsort(np.concatenate([np.flatnonzero(keeps), [place for place, _, _ in left]]))
    return pa.Table.from_batches(parts, CATALOG_SCHEMA).take(pa.array(order)).combine_chunks().to_batches()[0]


def _values(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in CATALOG_SCHEMA.names)
