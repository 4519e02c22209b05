"""The end of a change log in a folder: where the last entry that counts ends, and what is written behind it."""

import contextlib
import logging
import os
from pathlib import Path

from catalog.change_log.segments import (
    SEGMENT_HEADER,
    Frame,
    any_frame_behind,
    confirm,
    damaged,
    is_whole,
    list_segments,
    read_frame,
    read_segment_header,
    segment_path,
    write_again,
)
from core.durable import FAILURES
from core.errors import ChangeLogError

log = logging.getLogger("tandem.changes")

sync_data = getattr(os, "fdatasync", os.fsync)


class Tail:
    """Follows the confirmed frames of the newest segment. `next` is the revision of the entry to come.

    Not for several threads at once. `recover` and `write` are for who holds the log's lock.
    """

    def __init__(self, folder: Path) -> None:
        self.log_id = b""
        self.next = 1
        self.end = 0
        self._folder = folder
        self._path = folder
        self._handle = -1

    @property
    def opened(self) -> bool:
        """Whether there is a segment."""
        return self._handle >= 0

    def advance(self) -> None:
        """Goes on to the last frame that is confirmed, in the newest segment. Raises ChangeLogError."""
        if not self._at_its_place() and not self._open_last():
            return
        while True:
            while (frame := self._frame()) is not None:
                if not frame.confirmed and not segment_path(self._folder, frame.next).exists():
                    return
                self.end, self.next = frame.end, frame.next
            following = segment_path(self._folder, self.next)
            if self.end == SEGMENT_HEADER or not following.exists():
                return
            self._open(following)

    def is_behind(self) -> bool:
        """Whether bytes follow that are not confirmed."""
        return self.opened and os.fstat(self._handle).st_size > self.end

    def recover(self) -> None:
        """Confirms a frame that its writer did not live to confirm, and cuts off the end of a write that was cut off.

        Raises ChangeLogError where the file is damaged instead.
        """
        self.advance()
        while self.is_behind():
            frame = self._frame()
            if frame is not None and is_whole(self._handle, frame):
                write_again(self._handle, frame)  # after a sync that failed, another one alone would write nothing
                sync_data(self._handle)
                confirm(self._handle, frame.offset)
                self.advance()
                continue
            header = read_frame(self._handle, self.end, self.log_id)
            foreign = header is not None and header.first != self.next
            if foreign or any_frame_behind(self._handle, self.end, self.next, self.log_id):
                raise damaged(self._path, self.end)
            log.warning(
                "%s: %d bytes from byte %d on are the rest of a write that was cut off; they are removed",
                self._path,
                os.fstat(self._handle).st_size - self.end,
                self.end,
            )
            os.ftruncate(self._handle, self.end)
            sync_data(self._handle)

    def write(self, frame: bytes, count: int) -> None:
        """Writes a frame of `count` entries durably. Raises ChangeLogError, which states whether any of it is left."""
        try:
            view, place = memoryview(frame), self.end
            while view:
                written = os.pwrite(self._handle, view, place)
                view, place = view[written:], place + written
            sync_data(self._handle)
        except FAILURES as error:
            self._take_back(error)
            raise
        with contextlib.suppress(OSError):  # it is durable; who comes next confirms it
            confirm(self._handle, self.end)
            self.end, self.next = place, self.next + count

    def close(self) -> None:
        """Closes the file."""
        if self.opened:
            os.close(self._handle)
            self._handle = -1

    def _take_back(self, error: BaseException) -> None:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        try:
            os.ftruncate(self._handle, self.end)
            sync_data(self._handle)
        except OSError:
            raise ChangeLogError(
                f"change log {self._folder} cannot be written: {reason}; it is unknown whether the changes are kept: "
                "send them again with the same request id once the disk works"
            ) from error
        if isinstance(error, OSError):
            raise ChangeLogError(
                f"change log {self._folder} cannot be written: {reason}; none of these changes is kept: free some "
                "space or repair the disk, and send them again"
            ) from error

    def _frame(self) -> Frame | None:
        """The next frame, where it is there as a whole."""
        size = os.fstat(self._handle).st_size
        if size <= self.end:
            return None
        frame = read_frame(self._handle, self.end, self.log_id)
        return frame if frame and frame.first == self.next and frame.count and frame.end <= size else None

    def _at_its_place(self) -> bool:
        """Whether the open segment is the file of its name still; it is not once it was dropped."""
        if not self.opened:
            return False
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(self._path.stat(), os.fstat(self._handle))
        return False

    def _open_last(self) -> bool:
        known = self.log_id
        while firsts := list_segments(self._folder):
            with contextlib.suppress(FileNotFoundError):  # dropped meanwhile
                self._open(segment_path(self._folder, firsts[-1]))
                break
        if known and (not firsts or known != self.log_id):
            raise ChangeLogError(
                f"change log {self._folder} was moved away or replaced while it was used: start the service again"
            )
        return bool(firsts)

    def _open(self, path: Path) -> None:
        handle = open_segment(path)
        try:
            log_id, first = read_segment_header(handle, path)
        except FAILURES:
            os.close(handle)
            raise
        self.close()
        self._handle, self._path, self.log_id, self.next, self.end = handle, path, log_id, first, SEGMENT_HEADER


def open_segment(path: Path) -> int:
    """A segment opened for reading and, where this process may, for writing. Raises OSError."""
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except PermissionError:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
