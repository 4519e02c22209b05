"""What a feed file is, told by its content: gzip, format, text encoding, CSV delimiter."""

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Literal

from core.errors import FeedError
from indexer.feed.survey import marked

Format = Literal["parquet", "jsonl", "csv"]

_GZIP = b"\x1f\x8b"
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
_DELIMITERS = ",;\t|"


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns what goes wrong while a feed's bytes are read into a FeedError."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FeedError(f"{path}: the gzip data is cut short or damaged ({error}); fetch the file again") from None
    except UnicodeError as error:  # of UTF-16 and UTF-32 without their mark
        raise FeedError(f"{path}: {error}; set encoding in the mapping to what the file is, or leave it out") from None
    except OSError as error:
        raise FeedError(f"{path}: cannot be read: {error.strerror or error}") from None


def open_bytes(path: Path) -> tuple[IO[bytes], IO[bytes]]:
    """The file's bytes, gunzipped where they are gzip, and the file itself, whose position tells the progress.

    Raises FeedError for what is not a file with anything in it.
    """
    with reading(path):
        if not path.exists():
            raise FeedError(f"{path}: no such file")
        if not path.is_file():
            raise FeedError(f"{path}: not a file; give one Parquet, JSONL or CSV file")
        if not path.stat().st_size:
            raise FeedError(f"{path}: the file is empty")
        raw = path.open("rb")
        zipped = raw.read(2) == _GZIP
        raw.seek(0)
        if not zipped:
            return raw, raw
        raw.close()
        unzipped = gzip.GzipFile(path)
        return unzipped, unzipped.fileobj  # type: ignore[return-value]


def format_of(path: Path, head: bytes, encoding: str) -> Format:
    """The format, from the file's first bytes. Raises FeedError, saying what to do, for any other."""
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
    if head.count(b"\0") * _NULS > len(head) and not marked(head):
        raise FeedError(f"{path}: neither Parquet nor text; feeds are read as Parquet, JSONL or CSV in UTF-8")


def is_parquet(head: bytes) -> bool:
    """Whether these first bytes are a Parquet file's."""
    return head.startswith(_PARQUET)


def delimiter_of(sample: str) -> str:
    """The delimiter under which most lines of the sample have as many fields as the first; more fields break a tie."""
    best = (0.0, 0, ",")
    for delimiter in _DELIMITERS:
        widths = _widths(sample, delimiter)
        if widths and widths[0] > 1:
            best = max(best, (widths.count(widths[0]) / len(widths), widths[0], delimiter))
    return best[2]


def _widths(sample: str, delimiter: str) -> list[int]:
    """The number of fields of each line, up to one that no delimiter makes sense of."""
    widths: list[int] = []
    with suppress(csv.Error):
        widths.extend(len(row) for row in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter) if row)
    return widths
