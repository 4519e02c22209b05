import gzip
from pathlib import Path

import pytest

from core.errors import FeedError
from indexer.feed.delimited import CsvHeader, detect_delimiter
from indexer.feed.exports import Shopify
from indexer.feed.format import FeedFormat, detect_format, is_parquet, refuse_foreign, text_format
from indexer.feed.source import open_source

FEED = Path("feed")


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b'{"id": 1}', "jsonl"),
        (b'\xef\xbb\xbf \r\n\t{"id": 1}', "jsonl"),
        (b"id,title", "csv"),
        (b'"[id]",title', "csv"),
    ],
)
def test_formats(head: bytes, name: str) -> None:
    assert text_format(FEED, head, "utf-8") == name


def test_the_format_is_read_in_the_files_encoding() -> None:
    assert text_format(FEED, '{"id": 1}'.encode("utf-16"), "utf-16") == "jsonl"


@pytest.mark.parametrize(
    ("head", "message"),
    [(b" \n\t", "the file is empty"), (b" [{}]", "a JSON array"), (b"\n<rss>", "looks like XML or HTML")],
)
def test_other_formats_are_refused(head: bytes, message: str) -> None:
    with pytest.raises(FeedError, match=message):
        text_format(FEED, head, "utf-8")


@pytest.mark.parametrize(
    ("head", "message"),
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
def test_foreign_files(head: bytes, message: str) -> None:
    with pytest.raises(FeedError, match=message):
        refuse_foreign(FEED, head)


@pytest.mark.parametrize(
    ("head", "columns"),
    [
        (b"ORCID,id", ["ORCID", "id"]),
        (b"BZhang,title", ["BZhang", "title"]),
        (b"ARROW1,title", ["ARROW1", "title"]),
        ("id,title".encode("utf-16"), ["id", "title"]),
    ],
)
def test_texts_that_only_look_foreign(tmp_path: Path, head: bytes, columns: list[str]) -> None:
    path = tmp_path / "feed"
    path.write_bytes(head)
    with open_source(path) as source:
        detected = detect_format(source)
    assert (detected.name, list(detected.columns)) == ("csv", columns)


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
    assert detect_delimiter(sample) == delimiter


def test_a_field_too_long_for_the_reader_ends_the_sample() -> None:
    assert detect_delimiter("a;b\n1;2\n3;" + "x" * (1 << 21) + "\n") == ";"


def detect(folder: Path, data: bytes, language: str | None = None) -> FeedFormat:
    path = folder / "feed"
    path.write_bytes(data)
    with open_source(path) as source:
        return detect_format(source, language)


def test_one_decision_says_all_of_how_a_csv_is_read(tmp_path: Path) -> None:
    text = 'sep=;\n\n"id";"Größe\n in cm"\n1;2\n'
    detected = detect(tmp_path, gzip.compress(text.encode("cp1252")), "de")
    assert (detected.name, detected.encoding, detected.complete) == ("csv", "cp1252", True)
    assert detected.header == CsvHeader(("id", "Größe in cm"), ";", 4)  # hint, empty line, header of two lines


def test_the_decision_names_the_export_and_its_columns(tmp_path: Path) -> None:
    detected = detect(tmp_path, b"Handle,Title,Variant SKU,options\na,A,1,x\n")
    assert detected.export is Shopify
    assert detected.columns == ("Handle", "Title", "Variant SKU", "options", "stock")
    assert detected.header
    assert detected.header.columns == ("Handle", "Title", "Variant SKU", "options")
    assert detected.notes == ("a Shopify export, read with its rows of variants and of what is no product",)
