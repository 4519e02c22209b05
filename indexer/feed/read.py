"""Opens a feed of any format: its columns, and its rows in batches."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import FeedError
from indexer.feed.batch import Batch, batched
from indexer.feed.delimited import open_csv
from indexer.feed.encoding import Choice, choose, doubt_of
from indexer.feed.jsonl import open_jsonl
from indexer.feed.lines import Lines
from indexer.feed.parquet import ParquetFeed
from indexer.feed.sniff import Format, format_of, is_parquet, open_bytes, reading, refuse_foreign
from indexer.feed.survey import Survey, survey

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


def open_feed(path: Path, language: str | None = None, encoding: str | None = None) -> Feed:
    """Opens a Parquet, JSONL or CSV file, gzipped or not; what it is is told by its content.

    Text that is not UTF-8 is in `encoding`, or else in what makes words of it, of the language (BCP 47) first.

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
        seen = survey(stream)
    choice = _encoding(path, seen, language, encoding)
    feed = _open_text(path, format_of(path, head, choice.name), choice.name)
    if choice.note:
        feed.notes.append(choice.note)
    return feed


def _encoding(path: Path, seen: Survey, language: str | None, named: str | None) -> Choice:
    """The encoding of text. Raises FeedError where none fits, or where UTF-8 is named otherwise."""
    if seen.certain:
        differs = named is not None and named.split("-")[:2] != seen.certain.split("-")[:2]
        return Choice(seen.certain, f"the mapping says {named}, the file's mark {seen.certain}" if differs else None)
    if named:
        if named not in ("utf-8", "utf-8-sig") and seen.utf8 and not seen.other:
            raise FeedError(f"{path}: is UTF-8, not {named}; take encoding out of the mapping")
        return Choice(named, doubt_of(seen.sample, named, language) if seen.other else None)
    if seen.is_utf8:
        return Choice("utf-8")
    choice = choose(seen.sample, language)
    if choice is None:
        raise FeedError(
            f"{path}: is not UTF-8, and its letters make words in no other encoding; save it as UTF-8, or set "
            f"encoding{'' if language else ' or language'} in the mapping's [catalog]"
        )
    return choice


def _open_text(path: Path, kind: Format, encoding: str) -> Feed:
    stream, raw = open_bytes(path)
    lines, size = Lines(path, stream, encoding), path.stat().st_size
    if kind == "jsonl":
        columns, batches = open_jsonl(lines)
    else:
        columns, rows = open_csv(lines)
        batches = batched(rows, lambda: lines.characters)
    return Feed(path, kind, encoding, columns, kind == "csv", size, lambda: size if raw.closed else raw.tell(), batches)
