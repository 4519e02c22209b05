import errno
from pathlib import Path

import pytest
from builders import damage, product, publish, write_columns

from catalog.table import ProductTable
from core.errors import FeedError, ReleaseError
from core.progress import Silent
from core.releases import ReleaseStore
from indexer.cleaning.mapping import FeedMapping
from indexer.inputs import IndexOptions
from indexer.job import apply_models, index_feed
from indexer.models import ModelFolders
from indexer.queries import _sample, read_golden, read_queries, title_queries
from indexer.validate import GoldenQuery


def test_queries_are_read_a_line_each(tmp_path: Path) -> None:
    path = tmp_path / "q.txt"
    path.write_text("red  shoes\n\n  caf\u0065\u0301 table \n\u200b\n", "utf-8")
    assert read_queries(path) == {"red shoes": 1, "caf\u00e9 table": 1}


def test_counts_of_past_queries_stand_behind_a_tab_and_add_up(tmp_path: Path) -> None:
    path = tmp_path / "q.tsv"
    path.write_text("red shoes\t12\nlamp\n red  shoes \t 3\nlamp\t\n\t7\n")
    assert read_queries(path) == {"red shoes": 15, "lamp": 2}


@pytest.mark.parametrize("count", ["0", "-3", "1.5", "many", "1" * 16, "\u0663"])
def test_a_wrong_count_is_one_line_with_its_place(tmp_path: Path, count: str) -> None:
    path = tmp_path / "q.tsv"
    path.write_text(f"lamp\t4\nred shoes\t{count}\n", "utf-8")
    with pytest.raises(FeedError, match=r"line 2: .* is no count; give a query alone, or a tab and") as error:
        read_queries(path)
    assert "\n" not in str(error.value)


def test_a_long_log_is_measured_by_a_sample_that_stays_the_same() -> None:
    log = [f"query {number}" for number in range(5000)]
    measured = _sample(log)
    assert len(set(measured)) == 1000 and measured == _sample(log) and _sample(log[:1000]) == log[:1000]


def test_queries_that_are_none_are_told(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="no such file"):
        read_queries(tmp_path / "none")
    (tmp_path / "q.txt").write_text("\n \n")
    with pytest.raises(FeedError, match="holds no query"):
        read_queries(tmp_path / "q.txt")
    (tmp_path / "q.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(FeedError, match="UTF-8"):
        read_queries(tmp_path / "q.txt")


def test_golden_queries_are_read_a_line_each(tmp_path: Path) -> None:
    path = tmp_path / "g.jsonl"
    path.write_text('{"query": "a", "product_id": "1"}\n\n{"query": "b", "product_id": "2", "within": 3}\n')
    assert read_golden(path) == (
        GoldenQuery(query="a", product_id="1", within=10),
        GoldenQuery(query="b", product_id="2", within=3),
    )


@pytest.mark.parametrize(
    "line",
    ["{", "[]", '{"query": "a"}', '{"query": "", "product_id": "1"}', '{"query": "a", "product_id": "1", "with": 1}'],
)
def test_a_golden_query_at_fault_is_told_with_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "g.jsonl"
    path.write_text('{"query": "a", "product_id": "1"}\n' + line + "\n")
    with pytest.raises(FeedError, match="line 2: ") as error:
        read_golden(path)
    assert "\n" not in str(error.value)
    with pytest.raises(FeedError, match="no such file"):
        read_golden(tmp_path / "none")


def test_held_out_queries_are_the_first_words_of_titles_and_the_same_each_time(tmp_path: Path) -> None:
    rows = [product(str(i), f"alpha{i} beta{i} gamma{i} delta{i} epsilon{i} zeta{i}") for i in range(400)]
    columns = ProductTable(write_columns(tmp_path / "c.arrow", rows))
    queries = title_queries(columns)
    assert len(queries) == len(set(queries)) == 256 and queries == title_queries(columns)
    titles = columns.batches()
    known = {title for batch in titles for title in batch.column("title").to_pylist()}
    assert {len(query.split()) for query in queries} == {2, 3, 4, 5}
    assert all(any(title.startswith(query + " ") for title in known) for query in queries)


def test_models_cannot_be_applied_to_a_catalog_without_products(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="has no release yet: make one with `tandem index`"):
        apply_models("shop", ModelFolders(tmp_path, None), IndexOptions(), ReleaseStore(tmp_path / "r"), Silent())


def test_models_are_not_applied_to_damaged_products(tmp_path: Path) -> None:
    store = ReleaseStore(tmp_path / "r")
    manifest = publish(store, tmp_path / "scratch", {"products.arrow": b"columns", "index.faiss": b"index"})
    damage(store.path("shop", manifest.release_id) / "products.arrow")
    with pytest.raises(ReleaseError, match=r"products\.arrow differs"):
        apply_models("shop", ModelFolders(tmp_path, None), IndexOptions(), store, Silent())
    assert store.current("shop") == manifest.release_id


def test_a_feed_that_the_system_cannot_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Path) -> str:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("indexer.inputs.file_digest", fail)
    feed = tmp_path / "feed.csv"
    feed.write_text("id,title\n1,a\n")
    store = ReleaseStore(tmp_path / "releases")
    with pytest.raises(FeedError, match=r"feed.csv: cannot be read: Input/output error"):
        index_feed(feed, FeedMapping(), ModelFolders(tmp_path, None), IndexOptions(), store, Silent())
