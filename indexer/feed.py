"""Opens a feed of any format: its columns, and its rows in batches."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from indexer.batch import Batch, batched
from indexer.delimited import open_csv
from indexer.jsonl import open_jsonl
from indexer.lines import Lines
from indexer.parquet import ParquetFeed
from indexer.sniff import Format, encoding_of, format_of, is_parquet, open_bytes, reading, refuse_foreign

_HEAD = 1 << 16


@dataclass(slots=True)
class Feed:
    """An opened feed. `columns` are all there are, or those of the first rows where `complete` is false (JSONL).

    `total` and `position()` tell the progress: bytes of the file, or rows for Parquet. `notes` are sentences for people
    on how it is read.
    """

    path: Path
    format: Format
    encoding: str
    columns: list[str]
    complete: bool
    total: int
    position: Callable[[], int]
    batches: Iterator[Batch]
    notes: list[str] = field(default_factory=list)


def open_feed(path: Path) -> Feed:
    """Opens a Parquet, JSONL or CSV file, gzipped or not; what it is is told by its content.

    Raises FeedError, here or while its batches are read, for a file that cannot be used.
    """
    stream, _ = open_bytes(path)
    with stream, reading(path):
        head = stream.read(_HEAD)
    if is_parquet(head):
        file = ParquetFeed(path)
        return Feed(path, "parquet", "utf-8", file.columns, True, file.total, lambda: file.done, file.batches())
    refuse_foreign(path, head)
    stream, _ = open_bytes(path)
    with stream, reading(path):
        encoding = encoding_of(stream)
    return _open_text(path, format_of(path, head, encoding), encoding)


def _open_text(path: Path, kind: Format, encoding: str) -> Feed:
    stream, raw = open_bytes(path)
    lines, size = Lines(path, stream, encoding), path.stat().st_size
    if kind == "jsonl":
        columns, batches = open_jsonl(lines)
    else:
        columns, rows = open_csv(lines)
        batches = batched(rows, lambda: lines.characters)
    return Feed(path, kind, encoding, columns, kind == "csv", size, lambda: size if raw.closed else raw.tell(), batches)
