import gzip
import zlib
from pathlib import Path

import pytest

from core.errors import FeedError
from indexer.feed.sniff import delimiter_of, format_of, is_parquet, open_bytes, reading, refuse_foreign

FEED = Path("feed")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (EOFError("ended"), "feed: the gzip data is cut short or damaged (ended); fetch the file again"),
        (zlib.error("-3"), "feed: the gzip data is cut short or damaged (-3); fetch the file again"),
        (gzip.BadGzipFile("CRC"), "feed: the gzip data is cut short or damaged (CRC); fetch the file again"),
        (PermissionError(13, "Permission denied"), "feed: cannot be read: Permission denied"),
    ],
)
def test_reading_turns_errors_into_one_line(error: Exception, said: str) -> None:
    with pytest.raises(FeedError) as caught, reading(FEED):
        raise error
    assert str(caught.value) == said


def test_other_errors_pass_through_reading() -> None:
    with pytest.raises(KeyError), reading(FEED):
        raise KeyError


def test_plain_bytes_are_their_own_progress(tmp_path: Path) -> None:
    path = tmp_path / "feed"
    path.write_bytes(b"abc")
    stream, raw = open_bytes(path)
    with stream:
        assert stream is raw
        assert stream.read() == b"abc"


def test_gzip_is_unpacked_whatever_the_name(tmp_path: Path) -> None:
    path = tmp_path / "feed.csv"
    path.write_bytes(gzip.compress(b"abc" * 1000))
    stream, raw = open_bytes(path)
    with stream:
        assert stream.read() == b"abc" * 1000
        assert raw.tell() == path.stat().st_size


def test_a_path_the_system_refuses(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="cannot be read: File name too long"):
        open_bytes(tmp_path / ("x" * 300))


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b'{"id": 1}', "jsonl"),
        (b'\xef\xbb\xbf \r\n\t{"id": 1}', "jsonl"),
        (b"id,title", "csv"),
        (b'"[id]",title', "csv"),
    ],
)
def test_formats(head: bytes, kind: str) -> None:
    assert format_of(FEED, head, "utf-8") == kind


def test_the_format_is_read_in_the_files_encoding() -> None:
    assert format_of(FEED, '{"id": 1}'.encode("utf-16"), "utf-16") == "jsonl"


@pytest.mark.parametrize(
    ("head", "said"),
    [(b" \n\t", "the file is empty"), (b" [{}]", "a JSON array"), (b"\n<rss>", "looks like XML or HTML")],
)
def test_other_formats_are_refused(head: bytes, said: str) -> None:
    with pytest.raises(FeedError, match=said):
        format_of(FEED, head, "utf-8")


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"PK\x03\x04", "zip archive or an Excel workbook"),
        (b"\x1f\x8b\x08", "gzipped twice"),
        (b"BZh91AY&SY", "bzip2"),
        (b"\xfd7zXZ\x00", "xz"),
        (b"ARROW1\x00\x00", "Arrow file"),
        (b"ORC\n\x0b", "ORC file"),
        (b"\x00" + b"a" * 8, "neither Parquet nor text"),
        (b"a\0\0\0\0\0b\xff\xfe" * 9, "neither Parquet nor text"),
    ],
)
def test_foreign_files(head: bytes, said: str) -> None:
    with pytest.raises(FeedError, match=said):
        refuse_foreign(FEED, head)


@pytest.mark.parametrize(
    "head",
    [b"ORCID,id,title", b"BZhang,title", b"ARROW1,title", "id,title".encode("utf-16"), b"\x00" + b"a" * 9],
)
def test_texts_that_only_look_foreign(head: bytes) -> None:
    refuse_foreign(FEED, head)


def test_parquet_by_its_mark() -> None:
    assert is_parquet(b"PAR1\x15\x04")
    assert not is_parquet(b"PAR")


@pytest.mark.parametrize(
    ("sample", "delimiter"),
    [
        ("a\tb\n1\t2\n", "\t"),
        ("a|b|c\n1|2|3\n", "|"),
        ("a;b,c;d\n1;2,5;3\n", ";"),  # both fit every line: three fields beat two
        ("a,b;c\n1,2;3\n1;2\n", ";"),  # 3 of 3 lines against 2 of 3
        ('a;b\n"x;y;z";2\n', ";"),
        ("one column\nalone\n", ","),
        ("", ","),
    ],
)
def test_delimiters_by_hand(sample: str, delimiter: str) -> None:
    assert delimiter_of(sample) == delimiter


def test_a_field_too_long_for_the_reader_ends_the_sample() -> None:
    assert delimiter_of("a;b\n1;2\n3;" + "x" * (1 << 21) + "\n") == ";"
