from pathlib import Path
from typing import Any

import pytest

from indexer.feed import delimited
from indexer.feed.batch import BrokenRow
from indexer.feed.read import open_feed


def read(folder: Path, text: str | bytes) -> tuple[list[str], list[dict[str, Any]], list[BrokenRow]]:
    path = folder / "feed.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    feed = open_feed(path)
    batches = list(feed.batches)
    return list(feed.format.columns), [r for b in batches for r in b.rows], [r for b in batches for r in b.broken]


@pytest.mark.parametrize("mark", ["", "\ufeff", "\ufeff\ufeff"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", "^"])
def test_excels_hint_at_the_delimiter_is_no_header(tmp_path: Path, mark: str, delimiter: str) -> None:
    text = f"{mark}sep={delimiter}\r\nid,title,price\r\nA1,Mug,9.90\r\n".replace(",", delimiter)
    columns, rows, broken = read(tmp_path, text)
    assert columns == ["id", "title", "price"]
    assert rows == [{"id": "A1", "title": "Mug", "price": "9.90"}]
    assert not broken


def test_a_hint_in_excels_own_unicode_text(tmp_path: Path) -> None:
    _, rows, _ = read(tmp_path, "sep=\t\r\nid\ttitle\r\n1\tGröße\r\n".encode("utf-16"))
    assert rows == [{"id": "1", "title": "Größe"}]


@pytest.mark.parametrize("quote", ["", '"'])
def test_more_than_one_mark_at_the_beginning(tmp_path: Path, quote: str) -> None:
    text = '\ufeff\ufeff"id","title"\n"A1","Mug"\n'.replace('"', quote)
    columns, rows, _ = read(tmp_path, text)
    assert columns == ["id", "title"]
    assert rows == [{"id": "A1", "title": "Mug"}]


def test_missing_cells_at_the_end_are_empty(tmp_path: Path) -> None:
    _, rows, broken = read(tmp_path, "id,title,price,color\n1,Mug,9.90,red\n2,Knife,19.50\n3,Pan\n4,Cup,1,\n")
    assert [tuple(row.values()) for row in rows] == [
        ("1", "Mug", "9.90", "red"),
        ("2", "Knife", "19.50", ""),
        ("3", "Pan", "", ""),
        ("4", "Cup", "1", ""),
    ]
    assert not broken


def test_empty_cells_beyond_the_header_are_nothing_and_full_ones_are_told(tmp_path: Path) -> None:
    _, rows, broken = read(tmp_path, "id,title\n1,Mug,\n2,Knife,,,\n3,Pan,,x\n")
    assert [row["id"] for row in rows] == ["1", "2"]
    assert [(b.number, b.detail) for b in broken] == [(3, "4 fields where the header has 2")]


def test_rows_of_empty_cells_are_no_rows(tmp_path: Path) -> None:
    _, rows, broken = read(tmp_path, "id;title;price\n1;Mug;2\n;;\n; ;\n\n2;Pan;3\n" + ";;\n" * 100)
    assert [row["id"] for row in rows] == ["1", "2"]
    assert not broken


def test_parts_of_a_torn_row_are_no_short_rows(tmp_path: Path) -> None:
    _, rows, broken = read(tmp_path, 'id,title,a,b\n1,"open\n2,Knife,x,y\n3,"Pan,z\n4,Cup,x,y\n')
    assert [row["id"] for row in rows] == ["2", "4"]
    assert [b.raw for b in broken] == ['1,"open\n', '3,"Pan,z\n']


@pytest.mark.parametrize("first", ['"Board"', r'"12\" frying pan"'])
def test_quotes_behind_backslashes(tmp_path: Path, first: str) -> None:
    rest = [r'"Hinge, 4\", steel"', r'"a \"b\" c"', r'"ends 4\""', r'"two \"' + "\n" + r'lines\""', r'"C:\dir\"']
    text = "id,title,price\n" + "".join(f"A{i},{title},{i}\n" for i, title in enumerate([first, *rest]))
    _, rows, broken = read(tmp_path, text)
    assert [row["title"] for row in rows][1:] == [
        'Hinge, 4", steel',
        'a "b" c',
        'ends 4"',
        'two "\nlines"',
        "C:\\dir\\",  # nothing but a backslash at the end
    ]
    assert rows[0]["title"] == ("Board" if first == '"Board"' else '12" frying pan')
    assert [row["price"] for row in rows] == list("012345")
    assert not broken


def test_a_header_with_line_breaks_and_names_twice(tmp_path: Path) -> None:
    columns, rows, _ = read(tmp_path, 'id;"Title\n(EN)";price;price;\n1;Mug;"1,50";2;\n')
    assert columns == ["id", "Title (EN)", "price", "price_2", "column_5"]
    assert rows[0]["price"] == "1,50"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_system(tmp_path: Path, end: str) -> None:
    _, rows, _ = read(tmp_path, end.join(["id,title", "1,Mug", '2,"a, b"', ""]))
    assert [row["title"] for row in rows] == ["Mug", "a, b"]


def test_a_row_of_quoted_lines_without_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "_ROW_LIMIT", 1000)
    endless = '1,"a\n' + '","b\n' * 5000
    _, rows, broken = read(tmp_path, f"id,title\n0,first\n{endless}\n2,last\n")
    assert rows[0] == {"id": "0", "title": "first"}
    assert rows[-1] == {"id": "2", "title": "last"}
    assert broken
