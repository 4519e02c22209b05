from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lifecycle.examples.events import read_events


def test_ids_that_are_decimals_with_a_scale_are_their_plain_numbers(tmp_path: Path) -> None:
    ids = pa.array([Decimal("12340.0000000000"), Decimal("12341.5000000000")], pa.decimal128(38, 10))
    path = tmp_path / "events.parquet"
    pq.write_table(pa.table({"query": ["a", "a"], "product_id": ids, "position": [1, 2], "clicked": [1, 0]}), path)
    assert sorted(read_events(path).products.to_pylist()) == ["12340", "12341.5"]
