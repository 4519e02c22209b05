"""Profiles in one SQLite file, for all processes of a machine.

Deleted content is overwritten (`secure_delete`), and `forget` empties the write-ahead log too, which holds pages as
they were. Nothing else is written: no temporary files, no copies.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from retrieval.profiles.protocol import ProfileError
from retrieval.recommend.user import Action, UserEvent

FILE = "profiles.sqlite"
_WAIT_SECONDS, _PAUSE_SECONDS = 5.0, 0.005
_ACTIONS = {1: Action.view, 2: Action.cart, 3: Action.purchase}
_NUMBERS = {action: number for number, action in _ACTIONS.items()}
_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
  shopper BLOB NOT NULL, catalog TEXT NOT NULL, time REAL NOT NULL, product TEXT NOT NULL, action INTEGER NOT NULL,
  PRIMARY KEY (shopper, catalog, time, product, action)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS forgotten (shopper BLOB PRIMARY KEY, time REAL NOT NULL) WITHOUT ROWID;
"""
_VERSION = 1
_Result = TypeVar("_Result")


class SqliteProfiles:
    """See `ProfileStore`. Each thread has a connection of its own."""

    def __init__(self, path: Path) -> None:
        """Makes the file where there is none, for its owner alone. Raises ProfileError."""
        self._path = path
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.touch(0o600)
        except OSError as error:
            raise ProfileError(f"{path} cannot be made: {error.strerror}") from None
        self._do(self._make)

    def read(self, shopper: bytes, catalog: str, since: float) -> list[UserEvent]:
        """See `ProfileStore`."""
        query = (
            "SELECT product, time, action FROM events WHERE shopper = ? AND catalog = ? AND time >= ? "
            "ORDER BY time DESC, action DESC, product"
        )
        rows = self._do(lambda db: db.execute(query, (shopper, catalog, since)).fetchall())
        return [UserEvent(product, time, _ACTIONS[action]) for product, time, action in rows]

    def add(self, shopper: bytes, catalog: str, events: Sequence[UserEvent], since: float, most: int) -> None:
        """See `ProfileStore`."""
        rows = [(shopper, catalog, event.time, event.product_id, _NUMBERS[event.action]) for event in events]

        def write(db: sqlite3.Connection) -> None:
            with _transaction(db):
                db.executemany("INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?)", rows)
                db.execute(
                    "DELETE FROM events WHERE shopper = ?1 AND catalog = ?2 AND (time < ?3 OR (time, product, action) "
                    "NOT IN (SELECT time, product, action FROM events WHERE shopper = ?1 AND catalog = ?2 "
                    "ORDER BY time DESC, action DESC, product LIMIT ?4))",
                    (shopper, catalog, since, most),
                )

        self._do(write)

    def forget(self, shopper: bytes, now: float) -> int:
        """See `ProfileStore`."""

        def write(db: sqlite3.Connection) -> int:
            with _transaction(db):
                count = "SELECT COUNT(DISTINCT catalog) FROM events WHERE shopper = ?"
                [catalogs] = db.execute(count, (shopper,)).fetchone()
                db.execute("DELETE FROM events WHERE shopper = ?", (shopper,))
                db.execute("INSERT OR REPLACE INTO forgotten VALUES (?, ?)", (shopper, now))
            _empty_log(db)
            return int(catalogs)

        return self._do(write)

    def forgotten(self) -> Iterable[bytes]:
        """See `ProfileStore`."""
        rows = self._do(lambda db: db.execute("SELECT shopper FROM forgotten ORDER BY shopper").fetchall())
        return [bytes(shopper) for (shopper,) in rows]

    def expire(self, before: float) -> int:
        """See `ProfileStore`."""

        def write(db: sqlite3.Connection) -> int:
            with _transaction(db):
                deleted = db.execute("DELETE FROM events WHERE time < ?", (before,)).rowcount
            if deleted:
                _empty_log(db)
            return int(deleted)

        return self._do(write)

    def close(self) -> None:
        """See `ProfileStore`."""
        with self._lock:
            for connection in self._connections:
                connection.close()
            self._connections.clear()
        self._local = threading.local()

    def _make(self, db: sqlite3.Connection) -> None:
        [version] = db.execute("PRAGMA user_version").fetchone()
        if version not in (0, _VERSION):
            raise ProfileError(f"{self._path} has format {version}, and this version reads {_VERSION}: upgrade Tandem")
        with _transaction(db):
            for statement in filter(str.strip, _SCHEMA.split(";")):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {_VERSION}")

    def _do(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Errors of SQLite name no values: statements hold none."""
        try:
            return work(self._connection())
        except sqlite3.Error as error:
            raise ProfileError(f"{self._path}: {error}") from None

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(
                self._path, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False
            )
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")  # checkpoints sync, and so does what is forgotten
            self._local.connection = connection
            with self._lock:
                self._connections.append(connection)
        return connection


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _empty_log(db: sqlite3.Connection) -> None:
    """Writes the log into the file, durably, and cuts it to nothing. Waits for who reads or does the same meanwhile."""
    until = time.monotonic() + _WAIT_SECONDS
    while True:
        [busy, *_] = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not busy:
            return
        if time.monotonic() > until:
            raise ProfileError("the profile is deleted, but the log of the store is in use; ask for it again")
        time.sleep(_PAUSE_SECONDS)
