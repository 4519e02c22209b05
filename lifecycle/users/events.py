"""Reads behaviour, purchases or clicks, into arrays: one event a row, users as numbers alone."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from hashlib import blake2b
from pathlib import Path
from secrets import token_bytes
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from core.errors import FeedError
from core.filters import timestamp
from core.progress import Report, ignore
from core.strings import quoted
from lifecycle.examples.event_files import LINE, MOST_FAULTY, ReadErrors, column_names, open_events, read_values
from lifecycle.users.columns import BehaviourColumns, choose_columns
from lifecycle.users.product_ids import ProductIds
from retrieval.recommend.features import CART, PURCHASE, VIEW

_ACTIONS = {
    **dict.fromkeys(("view", "click", "product_view", "detail", "pageview", "pv", "impression_click", "clicks"), VIEW),
    **dict.fromkeys(("cart", "add_to_cart", "addtocart", "basket", "fav", "favorite", "wishlist", "carts"), CART),
    **dict.fromkeys(("purchase", "buy", "order", "transaction", "sale", "checkout", "bought", "orders"), PURCHASE),
}
_TOMORROW = 86_400.0
_AGES = ((0, 18), (18, 25), (25, 35), (35, 45), (45, 55), (55, 65), (65, 120))
_MOST_VALUES = 50  # of a segment or of channels: rarer ones count as unknown
_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))  # numbers from so large are nanoseconds, microseconds, milliseconds


@dataclass(frozen=True, slots=True)
class Behaviours:
    """e events in the order of user, time and file, all arrays of shape (e,).

    `user` numbers the users, 0 to `users` - 1, in no order that says anything of them; `product` is the row of the
    catalog. `time` is in seconds since 1970; `price` is NaN, `channel` and `segments` -1 where unknown, else places in
    `channels` and in `values`.
    """

    user: NDArray[np.int32]
    product: NDArray[np.int32]
    time: NDArray[np.int64]
    action: NDArray[np.int8]
    price: NDArray[np.float32]
    channel: NDArray[np.int16]
    segments: dict[str, NDArray[np.int16]]
    users: int
    channels: tuple[str, ...] = ()
    values: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: NDArray[Any]) -> "Behaviours":
        """Some of the events: a mask, or rising places."""
        segments = {name: codes[rows] for name, codes in self.segments.items()}
        parts = {name: getattr(self, name)[rows] for name in _ARRAYS}
        return replace(self, **parts, segments=segments)


_ARRAYS = ("user", "product", "time", "action", "price", "channel")


@dataclass(slots=True)
class BehaviourReport:
    """What became of a file's rows."""

    read: int = 0
    kept: int = 0
    users: int = 0
    nameless: int = 0
    unknown: int = 0
    unknown_products: int = 0
    respelled: int = 0
    forgotten: int = 0
    faults: ReadErrors = field(default_factory=ReadErrors)

    def lines(self) -> list[str]:
        """For people, one line for each kind of row that was left out."""
        parts = [f"{self.read:,} rows read, {self.kept:,} events of {self.users:,} users kept"]
        if self.nameless:
            parts.append(f"{self.nameless:,} rows without user, product or time left out")
        if self.unknown:
            parts.append(f"{self.unknown:,} rows of {self.unknown_products:,} products that the catalog lacks left out")
        if self.respelled:
            parts.append(f"{self.respelled:,} rows matched by their ids without leading zeros")
        if self.forgotten:
            parts.append(f"{self.forgotten:,} rows of users to forget left out")
        kinds = self.faults.counts.items()
        return parts + [f"{count:,} unreadable rows left out, first {self.faults.first[kind]}" for kind, count in kinds]

    def summary(self) -> dict[str, Any]:
        """The counts as a JSON value."""
        names = ("read", "kept", "users", "nameless", "unknown", "unknown_products", "respelled", "forgotten")
        return {name: getattr(self, name) for name in names} | {"unreadable": self.faults.rows}


class UserHash:
    """Keyed hashes of users' ids, 64 bits, by a key that is forgotten with the training."""

    def __init__(self) -> None:
        self._key = token_bytes(32)

    def __call__(self, user: str) -> int:
        digest = blake2b(user.encode("utf-8", "surrogatepass"), digest_size=8, key=self._key).digest()
        return int.from_bytes(digest, "little", signed=True)


def read_behaviour(
    path: Path,
    ids: Sequence[str] | pa.Array,
    columns: Sequence[str] = (),
    forget: Callable[[str], bool] | None = None,
    now: float = math.inf,
    report: Report = ignore,
) -> tuple[Behaviours, BehaviourReport]:
    """Reads Parquet, CSV or JSONL with user, product, time and, where there are any, action, price, channel, segments.

    `ids` are the catalog's, by row; events of others are counted and left out, as are those of users for whom `forget`
    returns true, and rows that cannot be read. Times after `now`, by more than a day, are unreadable. Memory: some 30
    bytes an event, and 8 a user. Raises FeedError where nothing is left, or over a fifth of the rows is unreadable.
    """
    chosen = choose_columns(path, column_names(path), columns)
    counts = BehaviourReport()
    reader = _Reader(chosen, ProductIds(ids), forget, now, counts)
    for batch in open_events(path, chosen.names, lambda _: None, counts.faults):
        reader.add(batch)
        report(counts.read, None)
    counts.read += counts.faults.counts.get(LINE, 0)
    if not counts.read:
        raise FeedError(f"{path}: holds no events")
    if counts.faults.rows > MOST_FAULTY * counts.read:
        raise FeedError(f"{path}: cannot read {counts.faults.rows:,} of {counts.read:,} rows: {counts.faults.line()}")
    events = reader.finish()
    if not len(events):
        raise FeedError(f"{path}: no event is left: {'; '.join(counts.lines())}")
    return events, counts


class _Reader:
    """Collects the arrays of batches."""

    def __init__(
        self,
        columns: BehaviourColumns,
        ids: ProductIds,
        forget: Callable[[str], bool] | None,
        now: float,
        counts: BehaviourReport,
    ) -> None:
        self._columns = columns
        self._ids = ids
        self._forget = forget
        self._latest = now + _TOMORROW
        self._counts = counts
        self._hash = UserHash()
        self._unknown: set[str] = set()
        self._codes: dict[str, dict[str, int]] = {name: {} for name in ("channel", *columns.segments)}
        self._parts: list[dict[str, NDArray[Any]]] = []

    def add(self, batch: pa.RecordBatch) -> None:
        counts, before = self._counts, self._counts.read
        counts.read += len(batch)
        faulty = np.zeros(len(batch), bool)

        def read(column: str, value: Callable[[str | None], Any], kind: pa.DataType) -> pa.Array:
            return read_values(batch, column, value, kind, before, counts.faults, faulty)

        fields = self._columns.fields
        users = read(fields["user"], self._user, pa.int64())
        products = read(fields["product"], self._product, pa.int32())
        times = _times(batch, fields["time"], read, self._latest)
        actions = _filled(read(fields["action"], read_action, pa.int8()), PURCHASE) if "action" in fields else None
        prices = _filled(read(fields["price"], _price, pa.float32()), np.nan) if "price" in fields else None
        kept = pc.and_(pc.and_(pc.is_valid(users), pc.is_valid(products)), pc.is_valid(times))
        kept = kept.to_numpy(zero_copy_only=False) & ~faulty
        counts.nameless += int(np.count_nonzero(~kept & ~faulty))
        user, product = _filled(users, 0), _filled(products, -1)
        self._count_left_out(kept, user, product)
        kept &= (product >= 0) & (user != _FORGOTTEN)
        part = {"user": user, "product": product % _RESPELLED, "time": _filled(times, 0)}
        part["action"] = np.full(len(batch), PURCHASE, np.int8) if actions is None else actions
        part["price"] = np.full(len(batch), np.nan, np.float32) if prices is None else prices
        texts = {"channel": fields.get("channel"), **self._columns.segments}
        for name, column in texts.items():
            part[f"of {name}"] = self._coded(name, column, read, len(batch))
        self._parts.append({name: values[kept] for name, values in part.items()})

    def finish(self) -> Behaviours:
        """All events in their order; the parts are let go of."""
        joined = {name: np.concatenate([part.pop(name) for part in self._parts]) for name in list(self._parts[0])}
        _, user = np.unique(joined.pop("user"), return_inverse=True)
        order = np.lexsort((joined["time"], user))
        user = user[order].astype(np.int32)
        joined = {name: values[order] for name, values in joined.items()}
        users = int(user.max(initial=-1)) + 1
        self._counts.kept, self._counts.users = len(user), users
        self._counts.unknown_products = len(self._unknown)
        values, codes = {}, {}
        for name, places in self._codes.items():
            codes[name], values[name] = _frequent(joined.pop(f"of {name}"), list(places))
        channel, channels = codes.pop("channel"), values.pop("channel")
        return Behaviours(
            user=np.asarray(user, np.int32),
            channel=channel,
            segments=codes,
            users=users,
            channels=channels,
            values=values,
            **{name: joined[name] for name in ("product", "time", "action", "price")},
        )

    def _count_left_out(self, kept: NDArray[np.bool_], user: NDArray[Any], product: NDArray[Any]) -> None:
        forgotten = kept & (user == _FORGOTTEN)
        self._counts.forgotten += int(np.count_nonzero(forgotten))
        self._counts.unknown += int(np.count_nonzero(kept & ~forgotten & (product < 0)))
        self._counts.respelled += int(np.count_nonzero(kept & ~forgotten & (product >= _RESPELLED)))

    def _user(self, text: str | None) -> int | None:
        text = (text or "").strip()
        if not text:
            return None
        return _FORGOTTEN if self._forget is not None and self._forget(text) else self._hash(text)

    def _product(self, text: str | None) -> int | None:
        text = (text or "").strip()
        if not text:
            return None
        row, respelled = self._ids.find(text)
        if row < 0:
            self._unknown.add(text)
        return row + _RESPELLED if respelled else row

    def _coded(self, name: str, column: str | None, read: Callable[..., pa.Array], count: int) -> NDArray[np.int32]:
        if column is None:
            return np.full(count, -1, np.int32)
        known = self._codes[name]

        def code(text: str | None) -> int:
            text = _age(text) if name == "age" else (text or "").strip()
            return known.setdefault(text, len(known)) if text else -1

        return _filled(read(column, code, pa.int32()), -1)


_FORGOTTEN = -(2**63)
_RESPELLED = 1 << 30  # added to the row of a product that was matched by another spelling


def _filled(column: pa.Array, missing: float) -> NDArray[Any]:
    return pc.fill_null(column, missing).to_numpy(zero_copy_only=False)


def read_action(text: str | None) -> int | None:
    """What was done, None where nothing is stated. Raises ValueError for another word."""
    word = (text or "").strip().lower().replace("-", "_").replace(" ", "_")
    if not word:
        return None
    if word not in _ACTIONS:
        raise ValueError(f"holds {quoted(text or '')}; it must be view, cart or purchase")
    return _ACTIONS[word]


def _price(text: str | None) -> float | None:
    """None for what is no price: the event counts all the same."""
    try:
        price = float((text or "").strip() or "nan")
    except ValueError:
        return None
    return price if 0 < price < math.inf else None


def _age(text: str | None) -> str:
    """A range of ages; empty for what is none."""
    try:
        age = float((text or "").strip() or "nan")
    except ValueError:
        return (text or "").strip()
    return next((f"{low}-{high - 1}" if high < 120 else f"{low}+" for low, high in _AGES if low <= age < high), "")


def _times(batch: pa.RecordBatch, name: str, read: Callable[..., pa.Array], latest: float) -> pa.Array:
    """Seconds since 1970; null where there is none."""
    column = batch[name]
    if pa.types.is_temporal(column.type) and not pa.types.is_time(column.type):
        column = column.cast(pa.timestamp("s", getattr(column.type, "tz", None)), safe=False).cast(pa.int64())
        within = pc.and_(pc.greater_equal(column, 0), pc.less_equal(column, min(latest, 2**62)))
        if pc.all(pc.fill_null(within, True)).as_py():
            return column
        batch, name = pa.RecordBatch.from_arrays([column], [name]), name
    return read(name, lambda text: read_time(text, latest), pa.int64())


def read_time(text: str | None, latest: float) -> int | None:
    """Seconds since 1970, None where there is none. Raises ValueError for what is no time, or is after `latest`."""
    text = (text or "").strip()
    if not text:
        return None
    try:
        seconds = _seconds(text)
    except (ValueError, OverflowError):
        raise ValueError(f"holds {quoted(text)}; write times as 2026-11-28T22:45:00Z or seconds since 1970") from None
    if not 0 <= seconds <= latest:
        raise ValueError(f"holds {quoted(text)}, which is before 1970 or still to come")
    return int(seconds)


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        if len(text) == len("2020-09-16"):
            return timestamp(datetime.combine(date.fromisoformat(text), datetime.min.time()))
        return timestamp(datetime.fromisoformat(text.removesuffix(" UTC")))
    if len(text) == len("20200916") and text.startswith(("19", "20")):
        return timestamp(datetime.fromisoformat(text))
    return number / next((unit for bound, unit in _UNITS if number >= bound), 1.0)


def _frequent(codes: NDArray[np.int32], texts: list[str]) -> tuple[NDArray[np.int16], tuple[str, ...]]:
    """The codes of the most frequent texts, sorted by text; of others -1."""
    counts = np.bincount(codes[codes >= 0], minlength=len(texts))
    best = sorted(
        sorted(range(len(texts)), key=lambda code: (-counts[code], texts[code]))[:_MOST_VALUES], key=texts.__getitem__
    )
    places = np.full(len(texts) + 1, -1, np.int16)
    places[best] = np.arange(len(best), dtype=np.int16)
    return places[codes], tuple(texts[code] for code in best)
