import json
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import FeedError
from evaluation.judgments import JUDGMENTS_SCHEMA, load_frequencies, load_judgments

_ROWS = [("red shoes", "1", 3.0), ("red shoes", "2", 1.0), ("blue hat", "1", 1.5)]


def _csv(path: Path, text: str) -> Path:
    target = path / "j.csv"
    target.write_text(text)
    return target


def _rows(table: pa.Table) -> list[tuple]:
    return [(row["query"], row["product_id"], row["grade"]) for row in table.to_pylist()]


def test_every_format_reads_the_same(tmp_path: Path) -> None:
    names = ("query", "product_id", "grade")
    table = pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in _ROWS])
    pq.write_table(table, tmp_path / "j.parquet")
    lines = "\n".join(json.dumps(row) for row in table.to_pylist())
    (tmp_path / "j.jsonl").write_text(lines + "\n")
    _csv(tmp_path, "query,product_id,grade\n" + "\n".join(",".join(map(str, row)) for row in _ROWS))
    tables = [load_judgments(tmp_path / f"j.{suffix}") for suffix in ("parquet", "jsonl", "csv")]
    for read in tables:
        assert read.schema == JUDGMENTS_SCHEMA
        assert _rows(read) == _ROWS
        assert read["split"].to_pylist() == tables[0]["split"].to_pylist()


def test_ids_and_queries_that_look_like_numbers_stay_as_written(tmp_path: Path) -> None:
    path = _csv(tmp_path, "query,product_id,grade\n007,00123,1\n008,00124,2\n")
    assert _rows(load_judgments(path)) == [("007", "00123", 1), ("008", "00124", 2)]
    path = _csv(tmp_path, "query,product_id,grade\n2020-01-02,1.50,1\n2020-01-03,2.50,2\n")
    assert _rows(load_judgments(path)) == [("2020-01-02", "1.50", 1), ("2020-01-03", "2.50", 2)]


def test_whole_number_ids_of_parquet_become_text(tmp_path: Path) -> None:
    pq.write_table(pa.table({"query": ["a", "a"], "product_id": [10, 11], "grade": [0, 1]}), tmp_path / "j.parquet")
    assert _rows(load_judgments(tmp_path / "j.parquet")) == [("a", "10", 0), ("a", "11", 1)]


def test_ids_that_are_decimals_with_a_scale_become_their_plain_numbers(tmp_path: Path) -> None:
    ids = pa.array([Decimal("12340.0000000000"), Decimal("0E-10")], pa.decimal128(38, 10))
    pq.write_table(pa.table({"query": ["a", "a"], "product_id": ids, "grade": [0, 1]}), tmp_path / "j.parquet")
    assert _rows(load_judgments(tmp_path / "j.parquet")) == [("a", "12340", 0), ("a", "0", 1)]


def test_the_last_judgment_of_a_pair_counts(tmp_path: Path) -> None:
    path = _csv(tmp_path, "query,product_id,grade\na,1,1\nb,1,2\na,1,3\na,2,0\n")
    assert _rows(load_judgments(path)) == [("b", "1", 2), ("a", "1", 3), ("a", "2", 0)]


def test_splits_given_are_kept(tmp_path: Path) -> None:
    path = _csv(tmp_path, "query,product_id,grade,split\na,1,1,test\na,2,2,test\nb,1,2,train\n")
    assert load_judgments(path)["split"].to_pylist() == ["test", "test", "train"]


def test_splits_made_are_by_query_stable_and_near_80_10_10(tmp_path: Path) -> None:
    lines = [f"query {i},{product},{product}" for i in range(2000) for product in (1, 2)]
    table = load_judgments(_csv(tmp_path, "query,product_id,grade\n" + "\n".join(lines)))
    split = dict(zip(table["query"].to_pylist(), table["split"].to_pylist(), strict=True))
    assert [split[row["query"]] for row in table.to_pylist()] == table["split"].to_pylist()
    shares = {name: list(split.values()).count(name) / 2000 for name in ("train", "valid", "test")}
    # 205, 26 and 25 of 256 first bytes; three standard deviations of 2,000 draws are .027 and .020.
    assert shares["train"] == pytest.approx(205 / 256, abs=0.027)
    assert shares["valid"] == pytest.approx(26 / 256, abs=0.02)
    # Worked with sha256sum: the first bytes are 204, 205, 230 and 231, either side of 80 and 90% of 256.
    known = {"query 47": "train", "query 123": "valid", "query 24": "valid", "query 182": "test"}
    assert {query: split[query] for query in known} == known


def test_neither_case_nor_spaces_change_the_split(tmp_path: Path) -> None:
    # By sha256sum the first bytes of "red shoes" and " red  shoes" are 97 and 255: as written they would fall apart.
    table = load_judgments(_csv(tmp_path, "query,product_id,grade\nRed Shoes,1,1\nred shoes,1,2\n red  shoes,1,2\n"))
    assert len(set(table["split"].to_pylist())) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("query,grade\na,1\n", "no column product_id; it has query, grade"),
        ("query,product_id,grade\na,1,high\n", "grade"),
        ("query,product_id,grade\na,1,0\na,2,0\n", "every grade is 0, so no product is relevant"),
        ("query,product_id,grade\na,1,\na,2,1\n", "1 rows have no grade"),
        ("query,product_id,grade\na,,2\na,2,1\n", "1 rows have no product_id"),
        ("query,product_id,grade\n,1,2\na,2,1\n", "1 rows have no query"),
        ("query,product_id,grade\na,1,inf\na,2,1\na,3,2\n", "not a number"),
        ("query,product_id,grade\n", "holds no judgments"),
        ("query,product_id,grade,split\na,1,1,dev\na,2,2,train\n", "'dev'; it must be train, valid or test"),
        ("query,product_id,grade,split\na,1,1,test\na,2,2,train\n", "more than one split, such as 'a'"),
        (
            "query,product_id,grade,split\nRed  hat,1,1,test\nred hat,2,2,train\n",
            "'Red  hat' in test and 'red hat' in train",
        ),
        ("query,product_id,grade\na,1\n", "cannot be read as csv"),
        ("", "cannot be read as csv"),
    ],
)
def test_what_cannot_be_used_is_told_on_one_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(FeedError) as error:
        load_judgments(_csv(tmp_path, text))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_one_grade_alone_can_be_measured_by_and_not_learned_of(tmp_path: Path) -> None:
    path = _csv(tmp_path, "query,product_id,grade\na,1,1\na,2,1\n")
    assert _rows(load_judgments(path)) == [("a", "1", 1), ("a", "2", 1)]
    with pytest.raises(FeedError, match="every grade is 1; a model needs at least two different grades to learn from"):
        load_judgments(path, to_learn=True)


def test_ids_are_read_as_a_feed_writes_them(tmp_path: Path) -> None:
    """Decimals and floats without their noughts, texts without blanks around them."""
    for ids in ([Decimal("12.000"), Decimal("7.500")], [12.0, 7.5], [b"12", b"7.5"], ["\u00a012", "7.5 "]):
        pq.write_table(pa.table({"query": ["a", "a"], "product_id": ids, "grade": [0, 1]}), tmp_path / "j.parquet")
        assert _rows(load_judgments(tmp_path / "j.parquet")) == [("a", "12", 0), ("a", "7.5", 1)]
    path = _csv(tmp_path, "query,product_id,grade\n a ,SKU 12 A ,1\na,1001.0,2\n")
    assert _rows(load_judgments(path)) == [("a", "SKU 12 A", 1), ("a", "1001.0", 2)]
    path = _csv(tmp_path, "query,product_id,grade\na,1001.0,1\na,1002.0,2\n")  # a table program's numbers
    assert _rows(load_judgments(path)) == [("a", "1001", 1), ("a", "1002", 2)]


def test_json_lines_say_what_they_are_line_by_line(tmp_path: Path) -> None:
    rows = [
        {"query": "2020-01-02", "product_id": 12340, "grade": "2", "note": {"by": "me"}},
        {"query": 2020, "product_id": "0017", "grade": 1},
        {"query": "2020-01-02", "product_id": 5.0, "grade": True, "split": None},
    ]
    (tmp_path / "j.jsonl").write_text("\ufeff" + "\n\n".join(map(json.dumps, rows)), "utf-8")
    with pytest.raises(FeedError, match="split holds 'None'"):
        load_judgments(tmp_path / "j.jsonl")
    del rows[2]["split"]
    (tmp_path / "j.jsonl").write_text("\ufeff" + "\n\n".join(map(json.dumps, rows)), "utf-8")
    assert _rows(load_judgments(tmp_path / "j.jsonl")) == [
        ("2020-01-02", "12340", 2), ("2020", "0017", 1), ("2020-01-02", "5", 1)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"query": "mug \xe9", "product_id": "1", "grade": 1}', "line 2: is not UTF-8; save the file as UTF-8"),
        (b'{"query": "mug", "product_id": "1", "grade": ', "line 2: cannot be read as jsonl"),
        (b"[" * 100_000, "line 2: cannot be read as jsonl"),
        (b"[1]", "line 2: is no object with query, product_id and grade"),
        (b'{"query": "mug", "product_id": ["1"], "grade": 1}', "line 2: product_id holds \"['1']\"; it must be a text"),
        (b'{"query": "mug", "product_id": "1", "grade": "high"}', "line 2: grade holds 'high'; it must be a number"),
        (b'{"query": "mug \\ud800", "product_id": "1", "grade": 1}', "cannot be read as jsonl"),
    ],
)
def test_a_json_line_that_cannot_be_used_is_named(tmp_path: Path, line: bytes, words: str) -> None:
    (tmp_path / "j.jsonl").write_bytes(b'{"query": "mug", "product_id": "2", "grade": 0}\n' + line + b"\n")
    with pytest.raises(FeedError) as error:
        load_judgments(tmp_path / "j.jsonl")
    assert words in str(error.value) and "\n" not in str(error.value)


def test_damaged_parquet_and_other_encodings_are_refused_on_one_line(tmp_path: Path) -> None:
    table = pa.table({"query": ["mug"] * 500, "product_id": [str(i) for i in range(500)], "grade": range(500)})
    pq.write_table(table, tmp_path / "j.parquet", compression="snappy")
    whole = (tmp_path / "j.parquet").read_bytes()
    (tmp_path / "j.parquet").write_bytes(whole[:100] + bytes(255 - byte for byte in whole[100:900]) + whole[900:])
    with pytest.raises(FeedError, match="cannot be read as parquet"):
        load_judgments(tmp_path / "j.parquet")
    (tmp_path / "j.csv").write_bytes("query,product_id,grade\nmug é,1,1\nmug,2,0\n".encode("latin-1"))
    with pytest.raises(FeedError, match="save it as UTF-8"):
        load_judgments(tmp_path / "j.csv")
    texts = pa.array([b"mug \xe9", b"mug"]).view(pa.string())  # as a program writes it that does not look
    pq.write_table(pa.table({"query": texts, "product_id": ["1", "2"], "grade": [1, 0]}), tmp_path / "j.parquet")
    with pytest.raises(FeedError, match="column query is not UTF-8; save the file as UTF-8"):
        load_judgments(tmp_path / "j.parquet")


def test_a_grade_that_is_no_number_is_refused(tmp_path: Path) -> None:
    table = pa.table({"query": ["a", "a", "a"], "product_id": ["1", "2", "3"], "grade": [1.0, 2.0, float("nan")]})
    pq.write_table(table, tmp_path / "j.parquet")
    with pytest.raises(FeedError, match="infinite or not a number"):
        load_judgments(tmp_path / "j.parquet")


@pytest.mark.parametrize("grade", [1e300, -1e300, 1700000000, 101])
def test_a_grade_whose_gain_no_number_holds_is_refused(tmp_path: Path, grade: float) -> None:
    table = pa.table({"query": ["a", "a"], "product_id": ["1", "2"], "grade": [grade, 0.0]})
    pq.write_table(table, tmp_path / "j.parquet")
    with pytest.raises(FeedError, match="some grade is beyond 100"):
        load_judgments(tmp_path / "j.parquet")


def test_files_of_no_known_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="no such file"):
        load_judgments(tmp_path / "none.csv")
    with pytest.raises(FeedError, match="no such file"):
        load_judgments(tmp_path)
    (tmp_path / "j.xls").write_text("x")
    with pytest.raises(FeedError, match=r"\.parquet, \.csv or \.jsonl"):
        load_judgments(tmp_path / "j.xls")
    (tmp_path / "j.parquet").write_text("not parquet")
    with pytest.raises(FeedError, match="cannot be read as parquet"):
        load_judgments(tmp_path / "j.parquet")
    (tmp_path / "j.jsonl").write_text('{"query": ')
    with pytest.raises(FeedError, match="cannot be read as jsonl"):
        load_judgments(tmp_path / "j.jsonl")


def test_frequencies_are_the_highest_of_a_querys_rows(tmp_path: Path) -> None:
    path = tmp_path / "judged.csv"
    path.write_text("query,product_id,grade,count\na,1,1,7\na,2,0,9\nb,1,1,\n")
    assert load_frequencies(path) == {"a": 9.0}
    path.write_text("query,product_id,grade\na,1,1\n")
    assert load_frequencies(path) is None
    path.write_text("query,product_id,grade,frequency\na,1,1,often\n")
    with pytest.raises(FeedError, match="column frequency holds string"):
        load_frequencies(path)
