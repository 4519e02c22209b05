"""A feed's file, opened once: its bytes, unpacked where they are gzip, and what goes wrong while they are read."""

import gzip
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from core.errors import FeedError

_HEAD = 1 << 16
_BLOCK = 1 << 20
_GZIP = b"\x1f\x8b"
# A gzipped Parquet file may unpack to so many bytes, or to so many times its own: Parquet is packed already.
_UNPACKED, _UNPACKED_TIMES = 1 << 28, 20


@contextmanager
def feed_errors(path: Path) -> Iterator[None]:
    """Turns what goes wrong while a feed's bytes are read into a FeedError."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FeedError(f"{path}: the gzip data is cut short or damaged ({error}); fetch the file again") from None
    except UnicodeError as error:  # of UTF-16 and UTF-32 without their mark
        raise FeedError(f"{path}: {error}; set encoding in the mapping to what the file is, or leave it out") from None
    except OSError as error:
        raise FeedError(f"{path}: cannot be read: {error.strerror or error}") from None


class FeedSource:
    """The bytes of an open file, gunzipped, which can be read from the beginning as often as needed.

    `head` holds the first 64 KiB, `size` counts the bytes of the file itself.
    """

    def __init__(self, path: Path, file: IO[bytes], size: int) -> None:
        """Raises FeedError where the first bytes cannot be read."""
        self.path = path
        self.size = size
        self._file = file
        self._unpacked: IO[bytes] | None = None
        with feed_errors(path):
            self._zipped = file.read(len(_GZIP)) == _GZIP
            file.seek(0)
            self._bytes: IO[bytes] = gzip.GzipFile(fileobj=file) if self._zipped else file  # type: ignore[assignment]
            self.head = self._bytes.read(_HEAD)

    def __enter__(self) -> "FeedSource":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; closing twice is harmless."""
        for file in (self._unpacked, self._bytes, self._file):
            if file is not None:
                file.close()

    def position(self) -> int:
        """How many bytes of the file have been read: of a gzipped one, packed bytes."""
        return self.size if self._file.closed else self._file.tell()

    def rewind(self) -> IO[bytes]:
        """The unpacked bytes from the beginning; they end an earlier reading of them."""
        with feed_errors(self.path):
            self._bytes.seek(0)
        return self._bytes

    def seekable(self) -> IO[bytes]:
        """The bytes for a reader that jumps, unpacked on disk where they are gzipped.

        Raises FeedError for a file that unpacks to more than a Parquet file would.
        """
        if not self._zipped:
            return self.rewind()
        if self._unpacked is None:
            self._unpacked = self._unpack()
        self._unpacked.seek(0)
        return self._unpacked

    def _unpack(self) -> IO[bytes]:
        target = tempfile.TemporaryFile()  # noqa: SIM115  closed with the source
        limit = max(_UNPACKED, _UNPACKED_TIMES * self.size)
        stream = self.rewind()
        with feed_errors(self.path):
            while block := stream.read(_BLOCK):
                if target.tell() > limit:
                    target.close()
                    raise FeedError(
                        f"{self.path}: unpacks to over {limit:,} bytes, more than Parquet does; unpack it first"
                    )
                target.write(block)
        return target


def open_source(path: Path) -> FeedSource:
    """Opens the file. Raises FeedError for what is not a file with anything in it."""
    with feed_errors(path):
        if not path.exists():
            raise FeedError(f"{path}: no such file")
        if not path.is_file():
            raise FeedError(f"{path}: not a file; give one Parquet, JSONL or CSV file")
        size = path.stat().st_size
        if not size:
            raise FeedError(f"{path}: the file is empty")
        file = path.open("rb")
    try:
        return FeedSource(path, file, size)
    except BaseException:
        file.close()
        raise
