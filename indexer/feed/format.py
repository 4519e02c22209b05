"""Decides, once, how a feed is read: format, encoding, delimiter, columns, and the shop system that exported it."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pyarrow.parquet as pq

from core.errors import FeedError
from indexer.feed.delimited import CsvHeader, read_header
from indexer.feed.encoding import detect_encoding
from indexer.feed.exports import Export, detect_export
from indexer.feed.jsonl import read_keys
from indexer.feed.lines import Lines
from indexer.feed.parquet import read_metadata
from indexer.feed.source import FeedSource
from indexer.feed.survey import detect_unicode

FormatName = Literal["parquet", "jsonl", "csv"]

_PARQUET = b"PAR1"
_FOREIGN = (
    (rb"PK\x03\x04", "a zip archive or an Excel workbook: unpack it, or save it as CSV"),
    (rb"\x1f\x8b", "gzipped twice: unpack it first"),
    (rb"\x28\xb5\x2f\xfd", "compressed with zstd: unpack it first"),
    (rb"BZh[1-9]1AY", "compressed with bzip2: unpack it first"),
    (rb"\xfd7zXZ", "compressed with xz: unpack it first"),
    (rb"ARROW1\x00", "an Arrow file: save it as Parquet"),
    (rb"ORC[^ -~]", "an ORC file: save it as Parquet"),
)
# Text with one byte in so many zero is no text; a stray one is cleaned away.
_NULS = 10


@dataclass(frozen=True, slots=True)
class FeedFormat:
    """How a feed is read.

    `columns` are all there are, or those of the first rows where `complete` is false (JSONL), with those that the
    export adds. `header` is a CSV's, `metadata` Parquet's. `notes` are sentences for people on how the feed is read.
    """

    name: FormatName
    columns: tuple[str, ...]
    encoding: str = "utf-8"
    header: CsvHeader | None = None
    metadata: pq.FileMetaData | None = None
    export: type[Export] | None = None
    language: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether no later row has a column that `columns` lacks."""
        return self.name != "jsonl"


def detect_format(source: FeedSource, language: str | None = None, encoding: str | None = None) -> FeedFormat:
    """Decides by the content. Text that is not UTF-8 is in `encoding`, or in what makes words, of `language` first.

    Raises FeedError for a file that cannot be used, saying what to do.
    """
    detected = _detect_parquet(source) if is_parquet(source.head) else _detect_text(source, language, encoding)
    export = detect_export(detected.columns)
    if export is None:
        return detected
    note = f"a {export.name} export, read with its rows of variants and of what is no product"
    columns = tuple(dict.fromkeys([*detected.columns, *export.added]))
    return replace(detected, columns=columns, export=export, language=language, notes=(*detected.notes, note))


def _detect_parquet(source: FeedSource) -> FeedFormat:
    columns, metadata = read_metadata(source)
    return FeedFormat("parquet", columns, metadata=metadata)


def _detect_text(source: FeedSource, language: str | None, encoding: str | None) -> FeedFormat:
    refuse_foreign(source.path, source.head)
    detected = detect_encoding(source, language, encoding)
    notes = (detected.note,) if detected.note else ()
    name = text_format(source.path, source.head, detected.name)
    with Lines(source.path, source.rewind(), detected.name) as lines:
        if name == "jsonl":
            return FeedFormat(name, read_keys(lines), detected.name, notes=notes)
        header = read_header(lines)
        return FeedFormat(name, header.columns, detected.name, header, notes=notes)


def text_format(path: Path, head: bytes, encoding: str) -> Literal["jsonl", "csv"]:
    """The format, from a text file's first bytes. Raises FeedError, saying what to do, for any other."""
    text = head.decode(encoding, "ignore").lstrip("\ufeff \t\r\n")
    if not text:
        raise FeedError(f"{path}: the file is empty")
    if text.startswith("{"):
        return "jsonl"
    if text.startswith("["):
        raise FeedError(f"{path}: a JSON array; write one object a line (JSONL)")
    if text.startswith("<"):
        raise FeedError(f"{path}: looks like XML or HTML; feeds are read as Parquet, JSONL or CSV")
    return "csv"


def refuse_foreign(path: Path, head: bytes) -> None:
    """Raises FeedError for a binary file that is no Parquet."""
    for magic, what in _FOREIGN:
        if re.match(magic, head):
            raise FeedError(f"{path}: {what}")
    if head.count(b"\0") * _NULS > len(head) and not detect_unicode(head):
        raise FeedError(f"{path}: neither Parquet nor text; feeds are read as Parquet, JSONL or CSV in UTF-8")


def is_parquet(head: bytes) -> bool:
    """Whether these first bytes are a Parquet file's."""
    return head.startswith(_PARQUET)
