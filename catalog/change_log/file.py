"""The change log as files in a folder: one writer at a time, any number of readers, in any number of processes."""

import errno
import fcntl
import os
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import msgpack

from catalog.change_log.group import GroupCommit
from catalog.change_log.protocol import ends_early
from catalog.change_log.segments import (
    SEGMENT_HEADER,
    create_segment,
    list_segments,
    pack_frame,
    read_segment,
    segment_path,
)
from catalog.change_log.tail import Tail
from catalog.changes import Entry, NewEntry, decode_entry, encode_entry
from core.durable import make_folder, sync
from core.errors import ChangeLogError, EntriesDropped

ROTATE_BYTES = 16 << 20
_GROUP_BYTES = 8 << 20
_READ_BYTES = 32 << 20
_POLL_SECONDS = 0.005
_MOST_PLACES = 64
_CANNOT_COMPLETE = (errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO)


class FileChangeLog:
    """A change log in a folder, which the first append makes. Beyond `rotate_bytes` a new segment is begun."""

    def __init__(self, folder: Path, rotate_bytes: int = ROTATE_BYTES) -> None:
        self._folder = folder
        self._rotate_bytes = rotate_bytes
        self._writer, self._reader = Tail(folder), Tail(folder)
        self._places: dict[int, tuple[int, int]] = {}  # revision -> its segment and the place of its frame
        self._reading, self._news = threading.RLock(), threading.Condition()
        self._group = GroupCommit(self._commit, _GROUP_BYTES)
        self._closed = False

    @property
    def id(self) -> str:
        """See `ChangeLog`."""
        with self._reading:
            self._refresh()
            return self._reader.log_id.hex()

    def append(self, entries: Sequence[NewEntry]) -> list[Entry]:
        """See `ChangeLog`."""
        if not entries:
            return []
        first = self._group.add([encode_entry(entry) for entry in entries])
        with self._news:
            self._news.notify_all()
        return [Entry(e.time, e.request_id, e.changes, first + place) for place, e in enumerate(entries)]

    def read(self, after: int, most: int = 1000) -> list[Entry]:
        """See `ChangeLog`."""
        with self._reading:
            damage: ChangeLogError | None = None
            try:
                self._refresh()
            except ChangeLogError as error:  # what is before it can be read
                damage = error
            last = self._reader.next - 1
            if damage is not None and after >= last:
                raise damage
            if after > last:
                raise ends_early(f"change log {self._folder}", last, after)
            packed: list[bytes] = []
            size = 0
            while len(packed) < most and after + len(packed) < last and size < _READ_BYTES:
                revision = after + 1 + len(packed)
                try:
                    some = self._read_some(revision, min(last + 1, after + 1 + most))
                except FileNotFoundError:  # dropped meanwhile: the next round finds it gone
                    self._places.clear()
                    continue
                except ChangeLogError:
                    if not packed:
                        raise
                    break
                packed += some
                size += sum(map(len, some))
            return [decode_entry(data, after + 1 + place) for place, data in enumerate(packed)]

    def bounds(self) -> tuple[int, int]:
        """See `ChangeLog`."""
        with self._reading:
            self._refresh()
            return next(iter(list_segments(self._folder)), 1), self._reader.next - 1

    def wait(self, after: int, seconds: float) -> bool:
        """See `ChangeLog`."""
        until = time.monotonic() + seconds
        while not self._closed:
            with self._reading:
                self._refresh()
                if self._reader.next - 1 > after:
                    return True
            remaining = until - time.monotonic()
            if remaining <= 0:
                break
            with self._news:
                self._news.wait(min(_POLL_SECONDS, remaining))
        return False

    def drop(self, through: int) -> None:
        """See `ChangeLog`. Whole segments go, the oldest first."""
        if not list_segments(self._folder):
            return
        with self._group.turn, self._refusals(), self._locked():
            self._writer.recover()
            if through >= self._writer.next - 1 and self._writer.end > SEGMENT_HEADER:
                create_segment(self._folder, self._writer.next, self._writer.log_id)
            firsts = list_segments(self._folder)
            for first, following in pairwise(firsts):
                if following - 1 > through:
                    break
                segment_path(self._folder, first).unlink()
                sync(self._folder)

    def close(self) -> None:
        """See `ChangeLog`."""
        self._closed = True
        with self._news:
            self._news.notify_all()
        with self._group.turn, self._reading:
            self._writer.close()
            self._reader.close()

    def _commit(self, payloads: Sequence[bytes]) -> int:
        """Writes one frame durably and returns its first revision."""
        with self._refusals():
            make_folder(self._folder)
            with self._locked():
                tail = self._writer
                tail.recover()
                if not tail.opened:
                    sync(self._folder.parent)
                    create_segment(self._folder, 1, uuid.uuid4().bytes)
                elif tail.end >= self._rotate_bytes:
                    create_segment(self._folder, tail.next, tail.log_id)
                tail.advance()
                first = tail.next
                tail.write(pack_frame(msgpack.packb(list(payloads)), first, len(payloads), tail.log_id), len(payloads))
                return first

    def _refresh(self) -> None:
        """Takes up what was confirmed meanwhile; completes what a writer that died left. Raises ChangeLogError."""
        self._reader.advance()
        if not self._reader.is_behind():
            return
        try:
            with self._locked(wait=False):
                self._reader.recover()
        except (BlockingIOError, PermissionError):  # a writer is at it, or this process may only read
            self._reader.advance()
        except OSError as error:
            if error.errno not in _CANNOT_COMPLETE:
                raise

    def _read_some(self, revision: int, end: int) -> list[bytes]:
        """Entries from `revision` on, before `end`, of one segment. Raises FileNotFoundError, ChangeLogError."""
        firsts = list_segments(self._folder)
        if not firsts or revision < firsts[0]:
            raise EntriesDropped(f"change log {self._folder}", revision, firsts[0] if firsts else end)
        segment, offset = self._places.pop(revision, (0, SEGMENT_HEADER))
        if not segment or revision in firsts:
            segment, offset = max(first for first in firsts if first <= revision), SEGMENT_HEADER
        packed, offset = read_segment(segment_path(self._folder, segment), offset, revision, end, _READ_BYTES)
        if len(self._places) >= _MOST_PLACES:
            self._places.clear()
        self._places[revision + len(packed)] = segment, offset
        return packed

    @contextmanager
    def _locked(self, wait: bool = True) -> Iterator[None]:
        """Keeps writers of all processes out. Raises BlockingIOError where it may not wait for one."""
        handle = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            yield
        finally:
            os.close(handle)

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ChangeLogError(
                f"change log {self._folder} cannot be changed: {error.strerror or error}; none of these changes is "
                "kept: see that there is space and that files can be written there"
            ) from error
