"""Whatever shoppers did: grades from 0 to 1, in any order of rows the same, and dirty logs end in one line."""

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from core.errors import FeedError
from core.strings import query_key
from evaluation.judgments import JUDGMENTS_SCHEMA, split_of
from lifecycle.examples.behaviour import Behaviour, BehaviourJudgments, make_judgments
from lifecycle.examples.events import read_events
from lifecycle.examples.position_bias import estimate

_ROW = st.tuples(
    st.sampled_from(["red mug", "Red  Mug", " RED mug", "hat", "", "\u200b", "éclair", "e\u0301clair"]),
    st.sampled_from(["1", "01", "2", "3", "", "é"]),
    st.integers(1, 12) | st.just(10**9),
    st.booleans(),
    st.none() | st.booleans(),
    st.sampled_from(["s", "t", "", None]),
)
_ROWS = st.lists(_ROW, min_size=1, max_size=60)
_NAMES = ("query", "product_id", "position", "clicked", "purchased", "session")
_TYPES = (pa.string(), pa.string(), pa.int64(), pa.bool_(), pa.bool_(), pa.string())
_SETTINGS = st.builds(
    Behaviour,
    impressions=st.integers(1, 3),
    examined=st.floats(0.01, 5),
    skipped=st.integers(1, 3),
    strength=st.none() | st.floats(0.01, 100),
    clicks=st.integers(1, 5),
    eta=st.floats(0, 3),
)


def _made(rows: list[tuple], settings: Behaviour) -> BehaviourJudgments | None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "e.parquet"
        columns = [pa.array(column, kind) for column, kind in zip(zip(*rows, strict=True), _TYPES, strict=True)]
        pq.write_table(pa.table(columns, list(_NAMES)), path)
        try:
            return make_judgments(read_events(path), settings)
        except FeedError as error:
            assert "\n" not in str(error)
            return None


@given(_ROWS, _SETTINGS, st.randoms(use_true_random=False))
def test_grades_are_shares_and_no_order_of_rows_matters(rows, settings, random) -> None:
    result = _made(rows, settings)
    shuffled = random.sample(rows, len(rows))
    other = _made(shuffled, settings)
    if result is None or other is None:
        assert result is other
        return
    assert result.table.equals(other.table) and result.line() == other.line()
    table = result.table
    assert table.schema == JUDGMENTS_SCHEMA and all(column.null_count == 0 for column in table.columns)
    grades = table["grade"].to_numpy()
    assert np.all((grades >= 0) & (grades <= 1)) and grades.min() < grades.max()
    keys = list(zip(map(query_key, table["query"].to_pylist()), table["product_id"].to_pylist(), strict=True))
    assert len(set(keys)) == len(keys) <= result.pairs - sum(result.left_out.values())
    assert table["split"].to_pylist() == [split_of(key) for key, _ in keys]
    clicked = {(query_key(row[0]), row[1]) for row in rows if row[3] or row[4]}
    assert {query for query, _ in keys} <= {query for query, _ in clicked}


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9), st.integers(1, 50), st.integers(0, 50)), min_size=1),
    st.integers(1, 20),
    st.floats(0, 3),
)
def test_propensities_are_probabilities(rows: list[tuple[int, int, int, int]], least: int, eta: float) -> None:
    pair, position, shown, clicked = np.array(rows).T
    result = estimate(pair, position, shown, np.minimum(shown, clicked), least, eta)
    values = result.at(np.arange(1, 100))
    assert np.all((values > 0) & (values <= 1)) and np.isclose(values.max(), 1)


_DIRTY = st.sampled_from(["", "1", "0", "-1", "1.5", "true", "x", "nan", "1e400", '"', '"a,b"', "é", "\udcff", "\x00"])


@given(st.lists(st.lists(_DIRTY, min_size=3, max_size=5), max_size=6), st.sampled_from(["csv", "jsonl"]))
def test_dirty_logs_are_read_or_refused_in_one_line(rows: list[list[str]], kind: str) -> None:
    text = "query,product_id,position,clicked\n" + "\n".join(map(",".join, rows)) + "\n"
    if kind == "jsonl":
        names = ("query", "product_id", "position", "clicked", "session")
        lines = (",".join(f'"{name}":{value}' for name, value in zip(names, row, strict=False)) for row in rows)
        text = "".join(f"{{{line}}}\n" for line in lines)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"e.{kind}"
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        try:
            make_judgments(read_events(path), Behaviour(impressions=1, examined=0.1, clicks=1))
        except FeedError as error:
            assert "\n" not in str(error)
