"""The shop a benchmark runs on, and a smaller one of the same products."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from benchmarks.shop import BenchShop, read_questions
from core.errors import TandemError
from core.releases import ReleaseStore
from indexer.models import ModelFolders


def judgments(folder: Path) -> Path:
    rows = [
        {"query": "red mug", "product_id": "p7", "grade": 3.0, "split": "test"},
        {"query": "lamp", "product_id": "p9", "grade": 1.0, "split": "valid"},
        {"query": "sock", "product_id": "gone", "grade": 2.0, "split": "test"},
        {"query": "red mug", "product_id": "p2", "grade": 1.0, "split": "test"},
        {"query": "hose", "product_id": "p4", "grade": 1.0, "split": "train"},
    ]
    path = folder / "judgments.parquet"
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_test_queries_are_asked_and_valid_ones_held_out(tmp_path: Path) -> None:
    result = read_questions(judgments(tmp_path))
    assert result.queries == ["red mug", "sock"] and result.held_out == ("lamp",)
    assert result.grades == {"red mug": {"p7": 3.0, "p2": 1.0}, "sock": {"gone": 2.0}}


def test_fewer_queries_keep_all_their_judgments(tmp_path: Path) -> None:
    assert read_questions(judgments(tmp_path), 1).grades == {"red mug": {"p7": 3.0, "p2": 1.0}}


def test_judgments_without_test_queries_are_refused(tmp_path: Path) -> None:
    table = pa.table({"query": ["x", "x"], "product_id": ["p", "q"], "grade": [1.0, 2.0], "split": ["train"] * 2})
    pyarrow.parquet.write_table(table, tmp_path / "train.parquet")
    with pytest.raises(TandemError, match="no query is in split test"):
        read_questions(tmp_path / "train.parquet")


def test_so_many_titles_hold_the_judged_ones_first(tmp_path: Path) -> None:
    feed = tmp_path / "feed.jsonl"
    lines = [{"id": f"p{n}", "title": f"Thing {n}", "brand": "Acme"} for n in range(10)]
    feed.write_text("".join(json.dumps(line) + "\n" for line in lines))
    models = ModelFolders(tmp_path / "encoder", tmp_path / "ranker")
    shop = BenchShop(feed, None, read_questions(judgments(tmp_path)), models, ReleaseStore(tmp_path / "releases"))
    smaller = shop.with_titles(4, tmp_path)
    written = [json.loads(line) for line in smaller.catalog.read_text().splitlines()]
    assert written == [{"id": f"p{n}", "title": f"Thing {n}"} for n in (7, 2, 0, 1)]
    assert smaller.mapping is None and smaller.questions == shop.questions
