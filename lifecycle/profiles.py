"""Loads behaviour that a shop has already into the profiles that a service reads."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.errors import FeedError
from core.strings import quoted
from indexer.feed.batch import Row
from indexer.feed.read import open_feed
from retrieval.profiles.profiles import Profiles
from retrieval.recommend.user import Action, UserEvent

# Names in use, the first that a file has counts.
_NAMES: dict[str, tuple[str, ...]] = {
    "user": ("user", "user_id", "customer_id", "client_id", "visitor_id", "visitorid", "shopper_id"),
    "product": ("product", "product_id", "article_id", "item_id", "itemid", "sku", "object_id"),
    "time": ("time", "timestamp", "event_time", "t_dat", "date", "datetime", "created_at"),
    "action": ("action", "action_name", "event", "event_type", "event_name", "type"),
}
_ACTIONS = {
    **dict.fromkeys(("view", "click", "product_view", "detail", "pageview"), Action.view),
    **dict.fromkeys(("cart", "add_to_cart", "addtocart", "basket", "wishlist"), Action.cart),
    **dict.fromkeys(("purchase", "buy", "order", "transaction", "sale", "checkout"), Action.purchase),
}
_MOST_FAULTY = 0.2
_LONGEST_ID = {"user": 256, "product": 1024}
_MILLISECONDS = 1e11  # numbers from so large count them
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
    with open_feed(path) as feed:
        chosen: Mapping[str, str] | None = None
        for batch in feed.batches:
            report.rows += len(batch)
            for broken in batch.broken:
                report.add_fault(broken.reason, broken.number)
            if chosen is None and batch.rows:
                chosen = choose_columns(path, list(batch.rows[0]), columns)
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


def choose_columns(path: Path, names: Sequence[str], given: Sequence[str] = ()) -> dict[str, str]:
    """The file's column of each field. Raises FeedError for one that is missing or not known."""
    chosen = dict(_split(text) for text in given)
    if missing := [column for column in chosen.values() if column not in names]:
        raise FeedError(f"{path}: no column {', '.join(map(quoted, missing))}; it has {', '.join(names)}")
    lower = {name.lower(): name for name in reversed(list(names))}
    for field_, usual in _NAMES.items():
        column = next((lower[name] for name in usual if name in lower), None)
        if field_ not in chosen and column is not None:
            chosen[field_] = column
    if absent := [name for name in ("user", "product", "time") if name not in chosen]:
        raise FeedError(
            f"{path}: no column is the {' or the '.join(absent)}; name it, as in --column {absent[0]}=COLUMN: the file "
            f"has {', '.join(names)}"
        )
    return chosen


def _split(text: str) -> tuple[str, str]:
    name, sign, column = text.partition("=")
    if not sign or name not in _NAMES or not column:
        raise FeedError(f"--column {quoted(text)}: write FIELD=COLUMN, with a field of {', '.join(_NAMES)}")
    return name, column


def _read(row: Row, columns: Mapping[str, str], latest: float) -> tuple[str, UserEvent]:
    """The shopper and the event of a row. Raises ValueError, without what the row holds of the shopper."""
    texts = dict(_texts(row, columns))
    for name, longest in _LONGEST_ID.items():
        if not texts.get(name):
            raise ValueError(f"no {name}")
        if len(texts[name]) > longest:
            raise ValueError(f"the {name} has more than {longest} characters")
    action = texts.get("action", "").lower().replace("-", "_").replace(" ", "_") or Action.purchase
    if action not in _ACTIONS:
        raise ValueError("the action is none of view, cart, purchase")
    seconds = _seconds(row.get(columns["time"]))
    if not 0 <= seconds <= latest:
        raise ValueError("the time is before 1970 or still to come")
    return texts["user"], UserEvent(texts["product"], seconds, _ACTIONS[action])


def _texts(row: Row, columns: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, column in columns.items():
        value = row.get(column)
        if value is not None and name != "time":
            yield name, str(value).strip()


def _seconds(value: Any) -> float:
    """Seconds since 1970 of a time: ISO 8601, in UTC without a zone, or a number of seconds or milliseconds."""
    if value is None or value == "":
        raise ValueError("no time")
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    text = str(value).strip()
    try:
        number = float(text)
        return number / 1000 if number >= _MILLISECONDS else number
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("the time cannot be read; write it as 2026-11-28T22:45:00Z or in seconds since 1970") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
