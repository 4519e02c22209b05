"""Opens Arrow IPC files of a release so that they take no more memory than their bytes, and hold what they claim.

Compressed buffers are refused before Arrow allocates what they claim to hold. Offsets, sizes and UTF-8 are checked, so
that no reader leaves a buffer. The two tables of the format that are read here are those of Arrow's File.fbs and
Message.fbs.
"""

import struct
from pathlib import Path

import pyarrow as pa

_MAGIC = b"ARROW1"
_BLOCK = struct.Struct("<qi4xq")  # of the footer: place, bytes of metadata, bytes of the body
# Numbers of fields in their tables.
_DICTIONARIES, _BATCHES, _HEADER, _COMPRESSION = 2, 3, 2, 3
_CONTINUES = b"\xff\xff\xff\xff"


def open_batches(path: Path) -> tuple[pa.Schema, list[pa.RecordBatch]]:
    """The schema and the record batches of a file, memory-mapped.

    Raises OSError, or ValueError, as ArrowInvalid is, for what is no such file, is compressed, or leaves its bounds.
    """
    with pa.memory_map(str(path)) as source:
        whole = source.read_buffer()
        try:
            _refuse_compressed(memoryview(whole))
        except (struct.error, IndexError, OverflowError) as error:
            raise ValueError(f"its footer leads nowhere: {error}") from None
        reader = pa.ipc.open_file(whole)
        batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
    for batch in batches:
        batch.validate(full=True)
    return reader.schema, batches


def first_line(error: Exception) -> str:
    """What is wrong, on one line."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def _refuse_compressed(data: memoryview) -> None:
    if bytes(data[:6]) != _MAGIC or bytes(data[-6:]) != _MAGIC:
        raise ValueError("it is no Arrow file")
    (size,) = struct.unpack_from("<i", data, len(data) - 10)
    if not 0 < size <= len(data) - 10:
        raise ValueError("its footer leads nowhere")
    footer = data[len(data) - 10 - size : len(data) - 10]
    root = _target(footer, 0)
    if _vector(footer, root, _DICTIONARIES)[1]:
        raise ValueError("it has dictionaries")
    place, count = _vector(footer, root, _BATCHES)
    for number in range(count):
        start, length, body = _BLOCK.unpack_from(footer, place + number * _BLOCK.size)
        if start < 0 or length < 0 or body < 0 or start + length + body > len(data):
            raise ValueError("a record batch lies outside of it")
        message = data[start : start + length]
        message = message[8 if bytes(message[:4]) == _CONTINUES else 4 :]
        batch = _field(message, _target(message, 0), _HEADER)
        if not batch or _field(message, _target(message, batch), _COMPRESSION):
            raise ValueError("it is compressed" if batch else "a record batch is missing")


def _target(data: memoryview, place: int) -> int:
    """Where an offset leads that stands at a place."""
    return place + struct.unpack_from("<I", data, place)[0]


def _field(data: memoryview, table: int, number: int) -> int:
    """The place of a table's field; 0 where it is left out."""
    entries = table - struct.unpack_from("<i", data, table)[0]
    if entries < 0:
        raise ValueError("its footer leads nowhere")
    (size,) = struct.unpack_from("<H", data, entries)
    if 4 + 2 * number >= size:
        return 0
    (offset,) = struct.unpack_from("<H", data, entries + 4 + 2 * number)
    return table + offset if offset else 0


def _vector(data: memoryview, table: int, number: int) -> tuple[int, int]:
    """The place of the first element, and how many there are."""
    field = _field(data, table, number)
    if not field:
        return 0, 0
    place = _target(data, field)
    return place + 4, struct.unpack_from("<I", data, place)[0]
