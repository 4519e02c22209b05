import gzip
import zlib
from pathlib import Path

import pytest

from core.errors import FeedError
from indexer.feed.read import open_feed
from indexer.feed.source import feed_errors, open_source

FEED = Path("feed")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (EOFError("ended"), "feed: the gzip data is cut short or damaged (ended); fetch the file again"),
        (zlib.error("-3"), "feed: the gzip data is cut short or damaged (-3); fetch the file again"),
        (gzip.BadGzipFile("CRC"), "feed: the gzip data is cut short or damaged (CRC); fetch the file again"),
        (PermissionError(13, "Permission denied"), "feed: cannot be read: Permission denied"),
    ],
)
def test_errors_of_reading_are_one_line(error: Exception, message: str) -> None:
    with pytest.raises(FeedError) as caught, feed_errors(FEED):
        raise error
    assert str(caught.value) == message


def test_other_errors_pass_through() -> None:
    with pytest.raises(KeyError), feed_errors(FEED):
        raise KeyError


def test_plain_bytes_are_their_own_progress(tmp_path: Path) -> None:
    path = tmp_path / "feed"
    path.write_bytes(b"abc" * 100_000)
    with open_source(path) as source:
        stream = source.rewind()
        assert stream.read(1000) == (b"abc" * 334)[:1000]
        assert source.position() >= 1000
        stream.read()
        assert source.position() == source.size == 300_000


def test_gzip_is_unpacked_whatever_the_name(tmp_path: Path) -> None:
    path = tmp_path / "feed.csv"
    path.write_bytes(gzip.compress(b"abc" * 1000))
    with open_source(path) as source:
        assert source.head == b"abc" * 1000
        assert source.rewind().read() == source.rewind().read() == source.seekable().read() == b"abc" * 1000
        assert source.position() == source.size == path.stat().st_size


def test_a_path_the_system_refuses(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="cannot be read: File name too long"):
        open_source(tmp_path / ("x" * 300))


@pytest.mark.parametrize("zipped", [False, True])
def test_a_feed_is_one_file_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool) -> None:
    path = tmp_path / "feed"
    data = b"id;title\n" + "1;Größe\n".encode("cp1252") * 1000  # the whole text decides the encoding
    path.write_bytes(gzip.compress(data) if zipped else data)
    opened = []
    plain_open = Path.open

    def count(file: Path, *args: str) -> object:
        opened.append(file)
        return plain_open(file, *args)

    monkeypatch.setattr(Path, "open", count)
    feed = open_feed(path)
    path.unlink()  # what is open stays readable: no later step opens the path again
    assert sum(len(batch.rows) for batch in feed.batches) == 1000
    assert opened == [path]


def test_a_refused_feed_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "feed"
    path.write_bytes(b"id,title\n1,a\n")
    with open_source(path) as source:
        stream = source.rewind()
    assert stream.closed
    assert source.position() == source.size
