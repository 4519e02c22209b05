from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from benchmarks.load.queries import ALL, read_queries
from core.errors import TandemError


def judgments(path: Path, **columns: list) -> Path:
    table = {
        "query": ["red mug", "red mug", "lamp", "drill"],
        "product_id": ["1", "2", "3", "4"],
        "grade": [3.0, 1.0, 2.0, 1.0],
        "split": ["test", "test", "test", "train"],
    }
    pyarrow.parquet.write_table(pa.table(table | columns), path)
    return path


def test_judgments_are_asked_by_split_with_their_grades(tmp_path: Path) -> None:
    path = judgments(tmp_path / "j.parquet")
    log = read_queries(path)
    assert log.queries == ["red mug", "lamp"] and log.shares.tolist() == [0.5, 0.5]
    assert log.grades == {"red mug": {"1": 3.0, "2": 1.0}, "lamp": {"3": 2.0}}
    assert read_queries(path, ALL).queries == ["red mug", "lamp", "drill"]
    assert read_queries(path, "train").queries == ["drill"]


def test_a_count_of_judged_queries_gives_their_shares(tmp_path: Path) -> None:
    log = read_queries(judgments(tmp_path / "j.parquet", count=[30, 30, 10, 5]))
    assert log.shares.tolist() == [0.75, 0.25]


def test_a_csv_of_counts(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("query,count\nred mug,3\nlamp,1\nnever,0\n")
    log = read_queries(path)
    assert log.queries == ["red mug", "lamp"] and log.shares.tolist() == [0.75, 0.25] and not log.grades


def test_text_with_a_query_a_line_counts_repeats(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("red mug\nlamp\n\nred mug\nred mug\n")
    log = read_queries(path)
    assert log.queries == ["red mug", "lamp"] and log.shares.tolist() == [0.75, 0.25]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("log.txt", "\n\n", "holds no queries"),
        ("log.csv", "query,times\na,1\n", "has no column count"),
        ("log.csv", "query,count\na,0\n", "holds no queries"),
        ("log.pdf", "x", "judgments are read from"),
    ],
)
def test_a_file_that_cannot_be_used_is_told(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(TandemError, match=message):
        read_queries(tmp_path / name)


def test_missing_files_and_splits_are_told(tmp_path: Path) -> None:
    with pytest.raises(TandemError, match="no such file"):
        read_queries(tmp_path / "none.txt")
    with pytest.raises(TandemError, match="no query is in split 'valid'"):
        read_queries(judgments(tmp_path / "j.parquet"), "valid")


def test_queries_are_drawn_by_their_shares(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("query,count\na,8\nb,2\n")
    log = read_queries(path)
    drawn = log.draw(10_000, 0)
    assert (drawn == 0).mean() == pytest.approx(0.8, abs=0.02)
    assert drawn.tolist() == log.draw(10_000, 0).tolist()


def test_zipf_shares_fall_as_one_over_the_rank(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("\n".join(map(str, range(100))))
    shares = np.sort(read_queries(path).skewed(1.0).shares)[::-1]
    assert shares.sum() == pytest.approx(1)
    assert shares[0] / shares[9] == pytest.approx(10) and shares[0] / shares[99] == pytest.approx(100)
