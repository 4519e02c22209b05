"""Rows of a feed in batches, with the rows that cannot be read."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]

BATCH_ROWS = 4096
# Wide or long rows come in smaller batches, so that a batch's memory has a bound.
_BATCH_CHARACTERS = 1 << 21
# As much as the quarantine and messages could ever show.
_RAW = 1 << 12


@dataclass(frozen=True, slots=True)
class BrokenRow:
    """A row that cannot be read: its number, why, and the beginning of its text."""

    number: int
    reason: str
    detail: str
    raw: str


@dataclass(slots=True)
class Batch:
    """Rows and their numbers in the feed, counted from 1; a CSV's header does not count.

    `skipped` counts, by their kind, rows that an export has beside its products.
    """

    numbers: list[int] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    broken: list[BrokenRow] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.numbers) + len(self.broken)

    def add(self, number: int, row: Row | BrokenRow) -> None:
        """Appends a row."""
        if isinstance(row, BrokenRow):
            self.broken.append(row)
        else:
            self.numbers.append(number)
            self.rows.append(row)


def broken_row(number: int, reason: str, detail: str, raw: str) -> BrokenRow:
    """Makes a broken row with only the beginning of its text, so that many long ones can be kept."""
    return BrokenRow(number, reason, detail, raw[:_RAW])


def split_batches(rows: Iterable[tuple[int, Row | BrokenRow]], characters: Callable[[], int]) -> Iterator[Batch]:
    """Rows in batches; `characters` returns how many of the feed's characters were read so far."""
    batch, limit = Batch(), characters() + _BATCH_CHARACTERS
    for number, row in rows:
        batch.add(number, row)
        if len(batch) >= BATCH_ROWS or characters() >= limit:
            yield batch
            batch, limit = Batch(), characters() + _BATCH_CHARACTERS
    if len(batch):
        yield batch
