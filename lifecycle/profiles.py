"""Loads behaviour that a shop has already into the profiles that a service reads."""

from collections import Counter, defaultdict
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from core.errors import FeedError
from indexer.feed.batch import Batch, Row
from indexer.feed.read import open_feed
from lifecycle.users.columns import choose_columns
from lifecycle.users.events import read_action, read_time
from retrieval.profiles.profiles import Profiles
from retrieval.recommend.features import CART, PURCHASE, VIEW
from retrieval.recommend.user import Action, UserEvent

_ACTIONS = {VIEW: Action.view, CART: Action.cart, PURCHASE: Action.purchase}
_MOST_FAULTY = 0.2
_LONGEST_ID = {"user": 256, "product": 1024}
_DAY = 86_400.0


@dataclass(slots=True)
class ImportReport:
    """What became of a file's rows; `faults` has each kind with its count, and `first` the number of its first row."""

    rows: int = 0
    events: int = 0
    users: set[bytes] = field(default_factory=set)
    faults: Counter[str] = field(default_factory=Counter)
    first: dict[str, int] = field(default_factory=dict)

    def add_fault(self, reason: str, row: int) -> None:
        """Counts a row that cannot be used."""
        self.faults[reason] += 1
        self.first.setdefault(reason, row)

    def lines(self) -> list[str]:
        """For people; no line names a shopper."""
        kinds = (
            f"{count:,} rows left out: {why}, first in row {self.first[why]:,}" for why, count in self.faults.items()
        )
        return [f"{self.rows:,} rows read, {self.events:,} events of {len(self.users):,} shoppers kept", *kinds]


def import_profiles(
    path: Path, profiles: Profiles, catalog: str, columns: Sequence[str] = (), now: float | None = None
) -> ImportReport:
    """Adds the events of a Parquet, JSONL or CSV file to the profiles of a catalog. Loading a file again adds nothing.

    `columns` are FIELD=COLUMN, where names differ from those in use. Raises FeedError for a file without the columns,
    or of which more than a fifth cannot be read; ProfileError.
    """
    report = ImportReport()
    latest = (datetime.now(UTC).timestamp() if now is None else now) + _DAY
    with open_feed(path) as feed, closing(cast(Generator[Batch, None, None], feed.batches)):
        chosen: Mapping[str, str] | None = None
        for batch in feed.batches:
            report.rows += len(batch)
            for broken in batch.broken:
                report.add_fault(broken.reason, broken.number)
            if chosen is None and batch.rows:
                chosen = choose_columns(path, list(batch.rows[0]), columns).fields
            by_user: dict[str, list[UserEvent]] = defaultdict(list)
            for number, row in zip(batch.numbers, batch.rows, strict=True):
                try:
                    user, event = _read(row, chosen or {}, latest)
                except ValueError as error:
                    report.add_fault(str(error), number)
                else:
                    by_user[user].append(event)
            for user, events in by_user.items():
                profiles.add(catalog, user, events)
                report.events += len(events)
                report.users.add(profiles.hash(user))
    faulty = report.faults.total()
    if not report.events or faulty > _MOST_FAULTY * report.rows:
        raise FeedError(f"{path}: {'; '.join(report.lines())}: correct the file, and load it again")
    return report


def _read(row: Row, columns: Mapping[str, str], latest: float) -> tuple[str, UserEvent]:
    """The shopper and the event of a row. Raises ValueError, without what the row holds of the shopper."""
    texts = dict(_texts(row, columns))
    for name, longest in _LONGEST_ID.items():
        if not texts.get(name):
            raise ValueError(f"no {name}")
        if len(texts[name]) > longest:
            raise ValueError(f"the {name} has more than {longest} characters")
    try:
        action = read_action(texts.get("action"))
    except ValueError:
        raise ValueError("the action is none of view, cart, purchase") from None
    value = row.get(columns["time"])
    try:
        seconds = read_time(None if value is None else str(value), latest)
    except ValueError:
        raise ValueError("the time cannot be read, or is before 1970 or still to come") from None
    if seconds is None:
        raise ValueError("no time")
    return texts["user"], UserEvent(texts["product"], float(seconds), _ACTIONS[action or PURCHASE])


def _texts(row: Row, columns: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, column in columns.items():
        value = row.get(column)
        if value is not None and name != "time":
            yield name, str(value).strip()
