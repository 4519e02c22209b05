"""What the entries of a change log make of a release: a batch of them is applied at a time, by its net effect."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from catalog.changes import Change, ChangeKind, Entry, merge_fields
from catalog.patching import PATCHABLE
from catalog.product import CATALOG_SCHEMA, product_text
from catalog.versions import Answer, ChangeRules, Outcome
from catalog.view import CatalogView
from engine.protocol import Tokens, Vectors
from retrieval.live.segments import Place, SegmentStack

PATCHED = frozenset(PATCHABLE)
"""Columns that change where the product stands."""
_TRIES = 3
_TOLERANCE = 0.05
log = logging.getLogger("tandem.live")

FindRow = Callable[[str], int | None]
"""The base's row of a product id; None where it has none."""


class Models(Protocol):
    """Vectors and tokens of product texts; see `retrieval.live.embedding.ItemModels`."""

    digest: str

    def embed(self, texts: Sequence[str]) -> Vectors: ...

    def tokens(self, texts: Sequence[str]) -> Sequence[Tokens] | None: ...


def is_unit(vector: Vectors) -> bool:
    """Whether a vector, shape (d,), has a direction: finite, and about as long as vectors of towers are."""
    length = float(np.linalg.norm(vector))
    return bool(np.isfinite(length)) and abs(length - 1) < _TOLERANCE


class LiveState:
    """One release with the changes since. Changed by one thread; its views are for any."""

    def __init__(
        self, stack: SegmentStack, find_base: FindRow, models: Models, rules: ChangeRules, revision: int = 0
    ) -> None:
        """`revision` is that through which the base has all entries."""
        self.stack = stack
        self.rules = rules
        self.revision = revision
        self._find_base = find_base
        self._models = models

    def view(self) -> CatalogView:
        """The catalog as of the last entry."""
        return self.stack.view(self.revision)

    def row(self, product_id: str) -> dict[str, Any] | None:
        """The product as it is; None where there is none."""
        place = self._place(product_id)
        return None if place is None else self.stack.row(place)

    def peek(self, product_id: str) -> dict[str, Any] | None:
        """As `row`, for other threads than the one that changes the state: the product as it is or was a moment ago."""
        for _ in range(_TRIES):
            try:
                return self.row(product_id)
            except (StopIteration, IndexError):  # segments are being merged
                continue
        return None

    def apply(self, entries: Sequence[Entry]) -> list[Answer]:
        """Applies entries that follow one another, and returns what came of each. Products that several of them change
        are changed once."""
        answers = []
        rows: dict[str, dict[str, Any] | None] = {}
        vectors: dict[str, Vectors] = {}
        for entry in entries:
            answer = self.rules.repeated(entry.request_id)
            if answer is None:
                outcomes = [self._decide(change, rows, vectors) for change in entry.changes]
                self.rules.remember(entry, entry.revision, outcomes)
                answer = Answer(entry.revision, tuple(outcomes))
            answers.append(answer)
        self._change(rows, vectors)
        if entries:
            self.revision = entries[-1].revision
        return answers

    def _decide(self, change: Change, rows: dict[str, dict[str, Any] | None], vectors: dict[str, Vectors]) -> Outcome:
        """Notes what a change makes of its product, if it wins."""
        name = change.product_id
        before = rows[name] if name in rows else self.row(name)
        outcome = self.rules.decide(change, before is not None)
        if outcome is not Outcome.applied:
            return outcome
        vectors.pop(name, None)
        if change.kind is ChangeKind.delete:
            rows[name] = None
            return outcome
        product = change.product or {}
        if change.kind is ChangeKind.update_fields:
            assert before is not None, "an update of what is not there is missing"
            rows[name] = merge_fields(before, product)
        else:
            rows[name] = {column: product.get(column) for column in CATALOG_SCHEMA.names}
            if change.vector and change.encoder == self._models.digest:
                vector = np.frombuffer(change.vector, "<f2").astype(np.float32)
                if is_unit(vector):
                    vectors[name] = vector
        return outcome

    def _change(self, rows: Mapping[str, dict[str, Any] | None], vectors: dict[str, Vectors]) -> None:
        """Brings the segments to these products; None stands for a deleted one."""
        patches: dict[Place, Mapping[str, Any]] = {}
        fresh: list[dict[str, Any]] = []
        for name, row in rows.items():
            place = self._place(name)
            if row is None:
                if place is not None:
                    self.stack.delete(name, place)
                continue
            if place is not None:
                before = self.stack.row(place)
                changed = {column: value for column, value in row.items() if before[column] != value}
                if PATCHED.issuperset(changed):
                    if changed:
                        patches[place] = changed
                    continue
                if name not in vectors and product_text(before) == product_text(row):
                    known = self.stack.vector(place)
                    if known is not None:
                        vectors[name] = known
                self.stack.delete(name, place)
            fresh.append(row)
        self.stack.patch(patches)
        if fresh:
            self._add(fresh, vectors)

    def _add(self, rows: Sequence[dict[str, Any]], vectors: dict[str, Vectors]) -> None:
        texts = [product_text(row) for row in rows]
        missing = [i for i, row in enumerate(rows) if row["id"] not in vectors]
        made = dict(zip(missing, self._models.embed([texts[i] for i in missing]), strict=True)) if missing else {}
        stacked = np.stack([made[i] if i in made else vectors[row["id"]] for i, row in enumerate(rows)])
        sound = [i for i, vector in enumerate(stacked) if is_unit(vector)]
        if len(sound) < len(rows):
            names = [rows[i]["id"] for i in range(len(rows)) if i not in set(sound)]
            log.error("%d changed products are not served: the item tower has no vector for %s", len(names), names[:5])
        if sound:
            kept = [texts[i] for i in sound]
            self.stack.add([rows[i] for i in sound], stacked[sound], self._models.tokens(kept))

    def _place(self, product_id: str) -> Place | None:
        """Where the product is; None where it is not."""
        place = self.stack.place(product_id)
        if place is not None:
            return None if self.stack.is_deleted(place) else place
        row = self._find_base(product_id)
        return None if row is None else self.stack.base_place(row)
