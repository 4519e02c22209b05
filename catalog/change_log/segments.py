"""Segment files of a change log: a header, then frames. A frame is what was made durable at once: one or more entries.

    segment: magic 8, format u32, log id 16, first revision u64, CRC-32 of these u32
    frame:   magic 4, bytes of payload u32, first revision u64, entries u32, CRC-32 of payload u32,
             CRC-32 of log id and these u32, confirmed u8; then the payload, a MessagePack list of entries

A frame is confirmed once its bytes are durable, and the next is written after that. So an invalid frame that nothing
valid follows is the end of a write that was cut off; any other is damage.
"""

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import msgpack

from core.durable import FAILURES, sync
from core.errors import ChangeLogError

SUFFIX = ".log"
_MAGIC, _FORMAT = b"TANDEMCL", 1
_SEGMENT = struct.Struct("<8sI16sQ")
_CRC = struct.Struct("<I")
SEGMENT_HEADER = _SEGMENT.size + _CRC.size
_FRAME_MAGIC = b"TFr1"
_FRAME = struct.Struct("<4sIQII")
_CONFIRMED = _FRAME.size + _CRC.size  # the place of the byte in a frame
FRAME_HEADER = _CONFIRMED + 1
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame whose header is whole: where it begins, and what it holds."""

    offset: int
    first: int
    count: int
    length: int
    checksum: int
    confirmed: bool

    @property
    def end(self) -> int:
        """The place behind it."""
        return self.offset + FRAME_HEADER + self.length

    @property
    def next(self) -> int:
        """The revision behind its last."""
        return self.first + self.count


def segment_path(folder: Path, first: int) -> Path:
    """The file of the segment that begins with this revision."""
    return folder / f"{first:020d}{SUFFIX}"


def list_segments(folder: Path) -> list[int]:
    """The first revisions of all segments, ascending."""
    try:
        names = [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []
    return sorted(int(name[:20]) for name in names if len(name) == 24 and name.endswith(SUFFIX) and name[:20].isdigit())


def create_segment(folder: Path, first: int, log_id: bytes) -> None:
    """Makes an empty segment, durable with its name."""
    header = _SEGMENT.pack(_MAGIC, _FORMAT, log_id, first)
    scratch = folder / f".new-{os.getpid()}"
    try:
        with scratch.open("wb") as file:
            file.write(header + _CRC.pack(zlib.crc32(header)))
            file.flush()
            os.fsync(file.fileno())
        scratch.rename(segment_path(folder, first))
    except FAILURES:
        scratch.unlink(missing_ok=True)
        raise
    sync(folder)


def read_segment_header(handle: int, path: Path) -> tuple[bytes, int]:
    """The id of the log and the first revision. Raises ChangeLogError for what is not a segment."""
    header = os.pread(handle, SEGMENT_HEADER, 0)
    if len(header) == SEGMENT_HEADER and zlib.crc32(header[: _SEGMENT.size]) == _CRC.unpack(header[_SEGMENT.size :])[0]:
        magic, number, log_id, first = _SEGMENT.unpack(header[: _SEGMENT.size])
        if magic == _MAGIC and number == _FORMAT:
            return log_id, first
        if magic == _MAGIC:
            raise ChangeLogError(
                f"{path} has format {number}, and this version reads {_FORMAT}: use the version of Tandem that wrote it"
            )
    raise damaged(path, 0)


def damaged(path: Path, offset: int) -> ChangeLogError:
    """The error for a file that is damaged at a place."""
    return ChangeLogError(
        f"change log {path} is damaged at byte {offset:,}: put the file back from a backup, or move the folder of the "
        "log away and index a feed that has all changes"
    )


def pack_frame(payload: bytes, first: int, count: int, log_id: bytes) -> bytes:
    """A frame, not yet confirmed."""
    header = _FRAME.pack(_FRAME_MAGIC, len(payload), first, count, zlib.crc32(payload))
    return b"".join((header, _CRC.pack(zlib.crc32(header, zlib.crc32(log_id))), b"\0", payload))


def confirm(handle: int, offset: int) -> None:
    """Marks a frame as durable, for those who read."""
    os.pwrite(handle, b"\1", offset + _CONFIRMED)


def read_frame(handle: int, offset: int, log_id: bytes) -> Frame | None:
    """The frame that begins there; None where there is no whole header of one."""
    return _parse(os.pread(handle, FRAME_HEADER, offset), offset, log_id)


def is_whole(handle: int, frame: Frame) -> bool:
    """Whether its payload is what was written."""
    return _payload(handle, frame) is not None


def write_again(handle: int, frame: Frame) -> None:
    """Writes a frame's bytes over themselves, so that the next sync writes them whatever came of those before."""
    place = frame.offset
    while place < frame.end:
        place += os.pwrite(handle, os.pread(handle, min(frame.end - place, _CHUNK), place), place)


def read_entries(handle: int, frame: Frame, path: Path) -> list[bytes]:
    """The entries of a frame as bytes. Raises ChangeLogError where they are not what was written."""
    payload = _payload(handle, frame)
    if payload is None:
        raise damaged(path, frame.offset)
    entries: list[bytes] = msgpack.unpackb(payload)
    return entries


def read_segment(path: Path, offset: int, revision: int, end: int, most_bytes: int) -> tuple[list[bytes], int]:
    """Entries from `revision` on, before `end`, of one segment, and the place of the frame that holds the next.

    `offset` is the place of a frame that begins at `revision` or before. Ends early beyond `most_bytes`, where the
    segment ends, and before what is damaged. Raises ChangeLogError where that is the first, FileNotFoundError.
    """
    packed: list[bytes] = []
    with path.open("rb") as file:
        handle, size = file.fileno(), 0
        log_id, expected = read_segment_header(handle, path)
        while revision < end and size < most_bytes:
            frame = read_frame(handle, offset, log_id)
            in_order = frame is not None and (frame.first == expected or (offset > SEGMENT_HEADER and not packed))
            if frame is None or not in_order or frame.first > revision:
                break
            expected = frame.next
            if frame.next > revision:
                entries = read_entries(handle, frame, path) if not packed or is_whole(handle, frame) else []
                part = entries[revision - frame.first : end - frame.first]
                if not part:
                    break
                packed += part
                size += sum(map(len, part))
                revision += len(part)
            if revision >= frame.next:
                offset = frame.end
    if not packed and revision < end:
        raise damaged(path, offset)
    return packed, offset


def any_frame_behind(handle: int, offset: int, first: int, log_id: bytes) -> bool:
    """Whether a whole frame of this revision or a later one begins behind a place."""
    rest = os.pread(handle, os.fstat(handle).st_size - offset, offset)
    place = rest.find(_FRAME_MAGIC, 1)
    while place >= 0:
        frame = _parse(rest[place : place + FRAME_HEADER], offset + place, log_id)
        if frame is not None and frame.first >= first and is_whole(handle, frame):
            return True
        place = rest.find(_FRAME_MAGIC, place + 1)
    return False


def _parse(header: bytes, offset: int, log_id: bytes) -> Frame | None:
    if len(header) < FRAME_HEADER or header[:4] != _FRAME_MAGIC:
        return None
    fields = header[: _FRAME.size]
    if zlib.crc32(fields, zlib.crc32(log_id)) != _CRC.unpack(header[_FRAME.size : _CONFIRMED])[0]:
        return None
    _, length, first, count, checksum = _FRAME.unpack(fields)
    return Frame(offset, first, count, length, checksum, header[_CONFIRMED] != 0)


def _payload(handle: int, frame: Frame) -> bytes | None:
    payload = os.pread(handle, frame.length, frame.offset + FRAME_HEADER)
    return payload if len(payload) == frame.length and zlib.crc32(payload) == frame.checksum else None
