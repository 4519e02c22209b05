import gzip
import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import FeedError
from indexer.feed.batch import BrokenRow
from indexer.feed.delimited import detect_delimiter
from indexer.feed.lines import Lines
from indexer.feed.read import Feed, open_feed

ROWS = [{"id": "1", "title": "Müller, drill"}, {"id": "2", "title": 'two\nlines "quoted"'}]
JSONL = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
CSV = 'id,title\n1,"Müller, drill"\n2,"two\nlines ""quoted"""\n'


def write(folder: Path, data: bytes | str, name: str = "feed") -> Path:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def read(path: Path) -> tuple[Feed, list[dict[str, Any]], list[BrokenRow]]:
    feed, rows, broken = open_feed(path), [], []
    for batch in feed.batches:
        assert len(batch.numbers) == len(batch.rows)
        rows += batch.rows
        broken += batch.broken
    return feed, rows, broken


def parquet(folder: Path) -> Path:
    path = folder / "feed"
    pq.write_table(pa.Table.from_pylist(ROWS), path)
    return path


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_every_format_by_its_content_alone(tmp_path: Path, kind: str, zipped: bool) -> None:
    path = parquet(tmp_path) if kind == "parquet" else write(tmp_path, JSONL if kind == "jsonl" else CSV)
    if zipped:
        path.write_bytes(gzip.compress(path.read_bytes()))
    feed, rows, broken = read(path)
    assert (feed.format.name, feed.format.columns, feed.format.complete) == (kind, ("id", "title"), kind != "jsonl")
    assert rows == ROWS
    assert not broken
    assert feed.position() == feed.total > 0


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "cp1252"])
@pytest.mark.parametrize("text", [CSV, JSONL])
def test_encodings(tmp_path: Path, encoding: str, text: str) -> None:
    _, rows, broken = read(write(tmp_path, text.encode(encoding)))
    assert rows == ROWS
    assert not broken


def test_other_alphabets_are_detected(tmp_path: Path) -> None:
    text = "id;title\n" + "1;Красная куртка для детей\n2;Синие джинсы мужские, размер 48\n" * 20
    feed, rows, _ = read(write(tmp_path, text.encode("cp1251")))
    assert rows[1]["title"] == "Синие джинсы мужские, размер 48"
    assert feed.format.encoding == "cp1251"


def test_a_late_letter_decides_the_encoding(tmp_path: Path) -> None:
    text = "id,title\n" + "1,plain\n" * 300_000 + "2,Größe\n"  # beyond the first two chunks
    feed, rows, broken = read(write(tmp_path, text.encode("cp1252")))
    assert feed.format.encoding == "cp1252"
    assert (rows[-1]["title"], broken) == ("Größe", [])


def test_a_stray_byte_in_utf8_breaks_its_row_alone(tmp_path: Path) -> None:
    data = "id,title\n1,Müller\n".encode() + b"2,M\xfcller\n" + "3,Jäger\n".encode()
    _, rows, broken = read(write(tmp_path, data))
    assert [row["title"] for row in rows] == ["Müller", "Jäger"]
    assert [(entry.number, entry.reason) for entry in broken] == [(2, "undecodable")]
    assert "\ufffd" in broken[0].raw


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters(tmp_path: Path, delimiter: str) -> None:
    text = f'id{delimiter}title{delimiter}note\n1{delimiter}"a{delimiter}b"{delimiter}\n2{delimiter}c{delimiter}d\n'
    assert detect_delimiter(text) == delimiter
    _, rows, _ = read(write(tmp_path, text))
    assert rows[0] == {"id": "1", "title": f"a{delimiter}b", "note": ""}


def test_commas_in_prose_do_not_beat_the_delimiter() -> None:
    assert detect_delimiter("id;title;price\n1;big, red, round;1,5\n2;small;2,5\n3;a, b;1\n") == ";"


def test_malformed_json_lines_are_kept_aside(tmp_path: Path) -> None:
    lines = ['{"id": 1}', "{broken", "[1]", "", "42", '{"id": 2}', '{"a": "\\ud800"}', "[" * 100_000]
    _, rows, broken = read(write(tmp_path, "\n".join(lines)))
    assert rows == [{"id": 1}, {"id": 2}, {"a": "\ud800"}]
    assert [(b.number, b.reason) for b in broken] == [(n, "malformed_json") for n in (2, 3, 5, 8)]


def test_numbers_without_end_cost_no_row(tmp_path: Path) -> None:
    lines = [
        '{"id": 1, "n": ' + "9" * 5000 + "}",
        '{"id": 2, "n": 1e999, "m": NaN, "k": -Infinity}',
        '{"id": 3, "id": 4}',
    ]
    _, rows, broken = read(write(tmp_path, "\n".join(lines)))
    assert [row["id"] for row in rows] == [1, 2, 4]  # of a key twice, the last
    assert rows[0]["n"] == "9" * 5000
    assert not broken


def test_csv_rows_of_another_width_are_kept_aside(tmp_path: Path) -> None:
    _, rows, broken = read(write(tmp_path, "id,title\n1,a\n2\n3,b,c\n\n4,d\n"))
    assert [row["id"] for row in rows] == ["1", "4"]
    assert [(b.number, b.raw.strip()) for b in broken] == [(2, "2"), (3, "3,b,c")]


def test_an_open_quote_costs_one_row_and_not_its_neighbours(tmp_path: Path) -> None:
    text = 'id,title\n1,a\n2,"open\n3,b\n4,"c, d"\n5,e\n'
    _, rows, broken = read(write(tmp_path, text))
    assert [row["id"] for row in rows] == ["1", "3", "4", "5"]
    assert [(b.number, b.raw) for b in broken] == [(2, '2,"open\n')]


def test_an_open_quote_at_the_end(tmp_path: Path) -> None:
    _, rows, broken = read(write(tmp_path, 'id,title,x\n1,a,b\n2,"open\n3,b,c\n'))
    assert [row["id"] for row in rows] == ["1", "3"]
    assert len(broken) == 1


def test_an_open_quote_swallows_no_row_of_fitting_width(tmp_path: Path) -> None:
    _, rows, broken = read(write(tmp_path, 'id,title\n1,"open\n2,"b"\n3,"open\n4,d\n'))
    assert [row["id"] for row in rows] == ["2", "4"]
    assert [(b.number, b.raw) for b in broken] == [(1, '1,"open\n'), (3, '3,"open\n')]


def test_a_row_cut_inside_its_quotes_is_no_row(tmp_path: Path) -> None:
    _, rows, broken = read(write(tmp_path, 'id,title\n1,"a"\n2,"Big red dri'))
    assert [row["id"] for row in rows] == ["1"]
    assert [b.raw for b in broken] == ['2,"Big red dri']


def test_unescaped_quotes_in_one_line_are_forgiven(tmp_path: Path) -> None:
    _, rows, broken = read(write(tmp_path, 'id,title,x\n1,"12" pipe",a\n2,"b" ,c\n3,d,e\n'))
    assert [(row["id"], row["x"]) for row in rows] == [("1", "a"), ("2", "c"), ("3", "e")]
    assert not broken


def test_a_field_of_many_lines_and_characters(tmp_path: Path) -> None:
    long = "line of text\n" * 20_000  # beyond what Python's reader takes by itself
    _, rows, broken = read(write(tmp_path, f'id,title\n1,"{long}"\n2,b\n'))
    assert [row["title"] for row in rows] == [long, "b"]
    assert not broken
    endless = '1,"' + "x" * ((1 << 20) + 1) + '"\n'
    _, rows, broken = read(write(tmp_path, f"id,title\n{endless}2,b\n"))
    assert [row["title"] for row in rows] == ["b"]
    assert [(b.number, len(b.raw)) for b in broken] == [(1, 4096)]


def test_column_names_are_one_line_each(tmp_path: Path) -> None:
    assert read(write(tmp_path, '\ufeffid,"Price\n (EUR) "\n1,2\n'))[0].format.columns == ("id", "Price (EUR)")


@pytest.mark.parametrize(
    ("encoding", "bad"), [("utf-16", b"2\0,\0\0\xd8x\0\n\0"), ("utf-16", b"2\0,\0a\0\n"), ("utf-8-sig", b"2,\xff\n")]
)
def test_what_does_not_decode_is_told_in_every_encoding(tmp_path: Path, encoding: str, bad: bytes) -> None:
    _, rows, broken = read(write(tmp_path, "id,title\n1,ä\n".encode(encoding) + bad))
    assert [row["id"] for row in rows] == ["1"]
    assert [(b.number, b.reason) for b in broken] == [(2, "undecodable")]
    assert broken[0].raw.startswith("2,")
    assert "\ufffd" in broken[0].raw


def test_letters_of_more_bytes_keep_their_row_apart(tmp_path: Path) -> None:
    line = "1;子供用の赤いジャケット\n".encode("cp932")
    # The bad line comes after the sample from which the encoding is guessed.
    feed, rows, broken = read(write(tmp_path, b"id;title\n" + line * 3000 + b"2;\x81\x20abc\n"))
    assert (feed.format.encoding, len(rows)) == ("cp932", 3000)
    assert [(b.number, b.reason) for b in broken] == [(3001, "undecodable")]


def test_objects_nested_without_end_are_broken_rows(tmp_path: Path) -> None:
    def line(depth: int) -> str:
        return '{"id": 1, "x": ' + "[" * depth + "]" * depth + "}"

    _, rows, broken = read(write(tmp_path, "\n".join(map(line, (99, 100, 980, 990, 5000)))))
    assert len(rows) == 1
    assert [(b.number, b.detail) for b in broken] == [(n, "nested too deeply") for n in (2, 3, 4, 5)]
    _, rows, _ = read(write(tmp_path, json.dumps({"id": 1, "x": "[" * 200}) + "\n"))
    assert len(rows) == 1


def test_wide_and_long_rows_come_in_smaller_batches(tmp_path: Path) -> None:
    wide = "id" + ",c" * 4000 + "\n" + ("1" + "," * 4000 + "\n") * 1200
    sizes = [len(batch.rows) for batch in open_feed(write(tmp_path, wide)).batches]
    assert (sum(sizes), sizes[1]) == (1200, 525)  # 2,097,152 characters, 4,002 a row
    assert sizes[0] <= 525
    long = json.dumps({"id": 1, "title": "x" * (1 << 20)}) + "\n"
    sizes = [len(batch.rows) for batch in open_feed(write(tmp_path, long * 20)).batches]
    assert sum(sizes) == 20
    assert max(sizes) == 2


def test_a_peek_takes_nothing_away(tmp_path: Path) -> None:
    lines = Lines(tmp_path, io.BytesIO(b"a\n" * 10), "utf-8")
    assert lines.peek(3) == "a\na\n"
    assert lines.characters == 4
    assert "".join(lines) == "a\n" * 10
    assert lines.characters == 20


def test_wide_parquet_comes_in_smaller_batches(tmp_path: Path) -> None:
    path = tmp_path / "feed"
    pq.write_table(pa.table({f"c{i}": pa.array([1] * 1500) for i in range(1024)}), path)
    assert [len(batch.rows) for batch in open_feed(path).batches] == [1024, 476]


def test_parquet_types_that_python_does_not_hold(tmp_path: Path) -> None:
    table = pa.table(
        {
            "price": pa.array([39.99, None, float("nan")], pa.float32()),
            "at": pa.array([1_600_000_000_000_000_001, None, 0], pa.timestamp("ns")),
        }
    )
    path = tmp_path / "feed"
    pq.write_table(table, path)
    _, rows, broken = read(path)
    assert not broken
    assert rows[0] == {"price": 39.99, "at": datetime(2020, 9, 13, 12, 26, 40)}
    assert rows[1] == {"price": None, "at": None}
    assert rows[2]["price"] != rows[2]["price"]


def test_a_parquet_value_that_cannot_be_read_breaks_its_row_alone(tmp_path: Path) -> None:
    offsets = pa.py_buffer(np.array([0, 1, 2, 3], np.int32).tobytes())
    text = pa.Array.from_buffers(pa.string(), 3, [None, offsets, pa.py_buffer(b"a\xffc")])
    table = pa.table({"id": ["1", "2", "3"], "title": text, "until": pa.array([0, 0, 1 << 60], pa.timestamp("us"))})
    path = tmp_path / "feed"
    pq.write_table(table, path)
    _, rows, broken = read(path)
    assert [row["id"] for row in rows] == ["1"]
    assert [(b.number, b.reason, b.detail.split(":")[0]) for b in broken] == [
        (2, "unreadable_value", "title"),
        (3, "unreadable_value", "until"),
    ]
    assert json.loads(broken[1].raw) == {"id": "3", "title": "c"}


def test_a_stray_nul_is_no_reason_to_refuse_a_feed(tmp_path: Path) -> None:
    _, rows, _ = read(write(tmp_path, "id,title\n1,a\0b and more\n2,c\n"))
    assert [row["title"] for row in rows] == ["a\0b and more", "c"]


def test_repeated_and_empty_column_names(tmp_path: Path) -> None:
    feed, rows, _ = read(write(tmp_path, "id,image,image,\n1,a,b,c\n"))
    assert feed.format.columns == ("id", "image", "image_2", "column_4")
    assert rows == [{"id": "1", "image": "a", "image_2": "b", "column_4": "c"}]


def test_jsonl_columns_come_from_the_first_rows(tmp_path: Path) -> None:
    text = "".join(json.dumps({"id": i, f"key_{i}": 1}) + "\n" for i in range(3))
    assert read(write(tmp_path, text))[0].format.columns == ("id", "key_0", "key_1", "key_2")


def test_nested_parquet_values(tmp_path: Path) -> None:
    schema = pa.schema([("id", pa.int64()), ("m", pa.map_(pa.string(), pa.string())), ("l", pa.list_(pa.string()))])
    path = tmp_path / "feed"
    pq.write_table(pa.Table.from_pylist([{"id": 1, "m": [("a", "b")], "l": ["x", "y"]}], schema), path)
    assert read(path)[1] == [{"id": 1, "m": [("a", "b")], "l": ["x", "y"]}]


def test_parquet_rows_are_numbered_through(tmp_path: Path) -> None:
    path = tmp_path / "feed"
    pq.write_table(pa.table({"id": list(range(10_000))}), path, row_group_size=3000)
    numbers = [number for batch in open_feed(path).batches for number in batch.numbers]
    assert numbers == list(range(1, 10_001))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"\n \n", "the file is empty"),
        (b"\xef\xbb\xbf", "the file is empty"),
        (gzip.compress(b"", mtime=0), "the file is empty"),
        (gzip.compress(CSV.encode() * 50, mtime=0)[:60], "cut short or damaged"),
        (b"\x1f\x8bgarbage that is no gzip", "cut short or damaged"),
        (b'[{"id": 1}]', "JSON array"),
        (b"<?xml version='1.0'?><rss/>", "XML"),
        (b"PK\x03\x04rest", "zip archive"),
        (b"\x28\xb5\x2f\xfdrest", "zstd"),
        (b'{\n "id": 1,\n "title": "a"\n}\n', "no line is an object (line 1: Expecting property name"),
        (b'id,"title\n1,a\n', "the first line is no CSV header"),
        (b"id,title,\xff\n1,\xc3\xa4,b\n2,\xc3\xa4,b\n", "the first line holds bytes that are not UTF-8"),
        (gzip.compress(gzip.compress(b"id,title\n", mtime=0), mtime=0), "gzipped twice"),
        (b"ab\0cd\1", "neither Parquet nor text"),
        (b"PAR1 but no more", "damaged Parquet"),
        (b"just some prose\nwithout any sense\n", "fewer than two columns"),
    ],
)
def test_unusable_files_are_told_in_one_line(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(FeedError) as caught:
        read(write(tmp_path, data))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="no such file"):
        open_feed(tmp_path / "none")
    with pytest.raises(FeedError, match="not a file"):
        open_feed(tmp_path)


def test_a_parquet_file_without_rows(tmp_path: Path) -> None:
    path = tmp_path / "feed"
    pq.write_table(pa.table({"id": pa.array([], pa.string())}), path)
    with pytest.raises(FeedError, match="holds no rows"):
        open_feed(path)


def test_utf16_without_its_mark_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="set encoding in the mapping"):
        list(open_feed(write(tmp_path, b"id,title\n1,a\n"), encoding="utf-16").batches)
