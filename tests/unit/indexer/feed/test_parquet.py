import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import FeedError
from indexer.cleaning.mapping import FeedMapping
from indexer.feed import source
from indexer.feed.read import open_feed
from indexer.products import clean_feed


def read(path: Path) -> list[dict[str, Any]]:
    return [row for batch in open_feed(path).batches for row in batch.rows]


@pytest.mark.parametrize("nested", [False, True])
def test_one_long_text_in_many_rows_takes_the_memory_of_one(tmp_path: Path, nested: bool) -> None:
    """9 KB of Parquet wrote out to gigabytes. What Arrow holds is looked at with each batch."""
    path, text = tmp_path / "feed.parquet", "word " * 200_000
    titles = pa.DictionaryArray.from_arrays(pa.array([0] * 4096, pa.int32()), pa.array([text]))
    column = pa.StructArray.from_arrays([titles], ["en"]) if nested else titles
    pq.write_table(pa.table({"id": [str(i) for i in range(4096)], "title": column}), path, compression="zstd")
    assert path.stat().st_size < 100_000
    before, most, texts = pa.total_allocated_bytes(), 0, set()
    for batch in open_feed(path).batches:
        most = max(most, pa.total_allocated_bytes() - before)
        texts |= {id(row["title"]["en"] if nested else row["title"]) for row in batch.rows}
    assert most < 64 << 20
    assert len(texts) <= 8
    if not nested:
        report = clean_feed(path, FeedMapping(), tmp_path / "work").report
        assert (report.kept, report.warnings) == (4096, {"title_cut": 4096})


def test_rows_of_long_texts_come_in_small_batches(tmp_path: Path) -> None:
    path = tmp_path / "feed.parquet"
    titles = [f"{i} " * 50_000 for i in range(600)]
    pq.write_table(pa.table({"id": list(range(600)), "title": titles}), path, use_dictionary=False, compression="zstd")
    sizes = [len(batch.rows) for batch in open_feed(path).batches]
    assert sum(sizes) == 600
    assert max(sizes) < 200


def test_a_gzipped_file_that_unpacks_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "_UNPACKED", 1 << 20)
    path = tmp_path / "feed"
    path.write_bytes(gzip.compress(b"PAR1" + bytes(4 << 20)))
    with pytest.raises(FeedError, match="unpacks to over 1,048,576 bytes"):
        open_feed(path)


def test_nested_floats_are_what_was_written(tmp_path: Path) -> None:
    kind = pa.struct([("amount", pa.float32()), ("currency", pa.dictionary(pa.int32(), pa.string()))])
    schema = pa.schema(
        [("id", pa.string()), ("title", pa.string()), ("offer", kind), ("prices", pa.list_(pa.float32()))]
    )
    row = {"id": "1", "title": "Mug", "offer": {"amount": 39.99, "currency": "EUR"}, "prices": [19.95]}
    path = tmp_path / "feed.parquet"
    pq.write_table(pa.Table.from_pylist([row], schema), path)
    assert read(path) == [row]
    fields = {"id": "id", "title": "title", "price": "offer.amount", "currency": "offer.currency"}
    mapping = FeedMapping.model_validate({"fields": fields, "attributes": {"include": ["prices", "offer"]}})
    result = clean_feed(path, mapping, tmp_path / "work")
    product = pa.ipc.open_file(str(result.columns)).read_all().to_pylist()[0]
    assert (product["price_micros"], product["currency"]) == (39_990_000, "EUR")
    assert ("prices", "19.95") in product["attributes"]


def test_thousands_of_columns_are_read(tmp_path: Path) -> None:
    path = tmp_path / "feed.parquet"
    pq.write_table(pa.table({"id": ["1"], "title": ["a"]} | {f"c{i}": ["x"] for i in range(5000)}), path)
    assert len(read(path)[0]) == 5002


@pytest.mark.parametrize("at", [20, 60, -30])
def test_damaged_pages_are_one_line(tmp_path: Path, at: int) -> None:
    path = tmp_path / "feed.parquet"
    pq.write_table(pa.table({"id": [str(i) for i in range(999)], "title": ["a title"] * 999}), path)
    data = bytearray(path.read_bytes())
    data[at : at + 20] = b"\xff" * 20
    path.write_bytes(data)
    with pytest.raises(FeedError, match="damaged Parquet"):
        read(path)
