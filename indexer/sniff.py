"""What a feed file is, told by its content: gzip, format, text encoding, CSV delimiter."""

import codecs
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

Format = Literal["parquet", "jsonl", "csv"]

_CHUNK = 1 << 20
_SAMPLE = 1 << 16
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
# Longer marks first: UTF-32's begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Text with one byte in so many zero is no text; a stray one is cleaned away.
_NULS = 10
_HIGH = bytes(range(0x80, 0x100))
_DELIMITERS = ",;\t|"
_ENCODINGS = ("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp932", "gb18030", "big5", "cp949")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns what goes wrong while a feed's bytes are read into a FeedError."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FeedError(f"{path}: the gzip data is cut short or damaged ({error}); fetch the file again") from None
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
    if head.count(b"\0") * _NULS > len(head) and not _mark(head):
        raise FeedError(f"{path}: neither Parquet nor text; feeds are read as Parquet, JSONL or CSV in UTF-8")


def is_parquet(head: bytes) -> bool:
    """Whether these first bytes are a Parquet file's."""
    return head.startswith(_PARQUET)


def encoding_of(stream: IO[bytes]) -> str:
    """The text encoding: by its mark, else UTF-8 where the bytes say so, else by charset-normalizer.

    Reads the whole stream, since the first letter that is not ASCII may stand far down. Lines that are not UTF-8
    among more that are do not make another encoding: they are reported one by one.
    """
    chunk = stream.read(_CHUNK)
    if mark := _mark(chunk):
        return mark
    good, bad, sample, rest = 0, 0, bytearray(), b""
    while chunk or rest:
        text = rest + chunk
        cut = _whole(text) if chunk else len(text)
        if not text.isascii():
            strange = [line for line in text[:cut].splitlines() if not line.isascii()]
            wrong = [line for line in strange if not _is_utf8(line)]
            good, bad = good + len(strange) - len(wrong), bad + len(wrong)
            _collect(wrong, sample)
        rest, chunk = text[cut:], stream.read(_CHUNK)
    return "utf-8" if good >= bad else _guess(bytes(sample))


def _whole(text: bytes) -> int:
    """Up to where these bytes are whole lines, or else, in a line longer than they are, whole letters."""
    return text.rfind(b"\n") + 1 or len(text.rstrip(_HIGH)) or len(text)


def _collect(lines: list[bytes], sample: bytearray) -> None:
    """Adds whole lines, since a torn letter at the sample's end would rule the right encoding out."""
    for line in lines:
        if sample and len(sample) + len(line) > _SAMPLE:
            return
        sample += line + b"\n"


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


def _mark(head: bytes) -> str | None:
    return next((encoding for mark, encoding in _MARKS if head.startswith(mark)), None)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _guess(data: bytes) -> str:
    """The likeliest encoding of bytes that are not UTF-8.

    Few letters fit many encodings, so Western European, which most shops use, stands unless it does not fit or
    another one makes clearly better words.
    """
    from charset_normalizer import from_bytes

    fitting = from_bytes(data, cp_isolation=list(_ENCODINGS))
    best = fitting.best()
    western = next((match for match in fitting if _ENCODINGS[0] in match.could_be_from_charset), None)
    if best is None or (western is not None and western.coherence >= best.coherence - 0.1):
        return _ENCODINGS[0]
    return str(best.encoding)
