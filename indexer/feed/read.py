"""A feed's path: one opening, one decision, one stream."""

from collections.abc import Iterator
from pathlib import Path

from indexer.feed.batch import Batch
from indexer.feed.delimited import read_csv
from indexer.feed.format import FeedFormat, detect_format
from indexer.feed.jsonl import read_jsonl
from indexer.feed.parquet import read_parquet
from indexer.feed.source import FeedSource, open_source


class Feed:
    """An open feed, a context manager that closes its file. `batches` can be read once, and closes it at its end."""

    def __init__(self, source: FeedSource, detected: FeedFormat) -> None:
        self.path = source.path
        self.format = detected
        self.batches = self._stream()
        self._source = source
        self._rows = 0

    def __enter__(self) -> "Feed":
        return self

    def __exit__(self, *_: object) -> None:
        self._source.close()

    @property
    def total(self) -> int:
        """What `position` counts up to: bytes of the file, or rows of Parquet."""
        return self.format.metadata.num_rows if self.format.metadata else self._source.size

    def position(self) -> int:
        """The bytes, or rows, that were read so far."""
        return self._rows if self.format.metadata else self._source.position()

    def _stream(self) -> Iterator[Batch]:
        with self._source:
            batches, export = self._count(_read_batches(self._source, self.format)), self.format.export
            yield from export(self.format.language).adapt(batches) if export else batches

    def _count(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            self._rows += len(batch)
            yield batch


def open_feed(path: Path, language: str | None = None, encoding: str | None = None) -> Feed:
    """Opens a Parquet, JSONL or CSV file, gzipped or not, whatever its name.

    Text that is not UTF-8 is in `encoding`, or else in what makes words of it, of the language (BCP 47) first.

    Raises FeedError, here or while its batches are read, for a file that cannot be used.
    """
    source = open_source(path)
    try:
        return Feed(source, detect_format(source, language, encoding))
    except BaseException:
        source.close()
        raise


def _read_batches(source: FeedSource, detected: FeedFormat) -> Iterator[Batch]:
    if detected.metadata is not None:
        return read_parquet(source, detected.metadata)
    if detected.header is not None:
        return read_csv(source, detected.encoding, detected.header)
    return read_jsonl(source, detected.encoding)
