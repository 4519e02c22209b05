from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest

from indexer.feed import arrow_values
from indexer.feed.arrow_values import python_values

FLOAT = pa.array([39.99, 19.95, None], pa.float32())
TREE = [{"a": [1.5, None], "m": [("k", 5.1)]}, None, {"a": None, "m": []}]


@pytest.mark.parametrize(
    ("array", "values"),
    [
        (FLOAT, [39.99, 19.95, None]),
        (
            pa.array([39.99, 19.95, 5.1, None], pa.float16()),
            [40.0, 19.95, 5.1, None],
        ),  # 39.99 is not to be had in 16 bits
        (pa.ListArray.from_arrays(pa.array([0, 2, 3]), FLOAT), [[39.99, 19.95], [None]]),
        (pa.StructArray.from_arrays([FLOAT], ["amount"]), [{"amount": 39.99}, {"amount": 19.95}, {"amount": None}]),
        (pa.array([[0.1], None], pa.large_list(pa.float32())), [[0.1], None]),
        (pa.array([[0.1, 0.2], None], pa.list_(pa.float32(), 2)), [[0.1, 0.2], None]),
        (pa.array([[0.1], None, []], pa.list_view(pa.float32())), [[0.1], None, []]),
        (
            pa.array(TREE, pa.struct([("a", pa.list_(pa.float32())), ("m", pa.map_(pa.string(), pa.float16()))])),
            TREE,
        ),
        (pa.array(["a", "b", "a", None]).dictionary_encode(), ["a", "b", "a", None]),
        (pa.array([0.1, 0.1, None], pa.float32()).dictionary_encode(), [0.1, 0.1, None]),
        (pa.array(["a", None], pa.string_view()), ["a", None]),
        (pa.array([b"a", None], pa.binary_view()), [b"a", None]),
        (pa.array(["a", None], pa.large_string()), ["a", None]),
        (pa.array([1_000_001], pa.timestamp("ns")), [datetime(1970, 1, 1, 0, 0, 0, 1000)]),
        (pa.array([[1_000_001]], pa.list_(pa.timestamp("ns"))), [[datetime(1970, 1, 1, 0, 0, 0, 1000)]]),
        (pa.array([1_000_001], pa.duration("ns")), [timedelta(microseconds=1000)]),
        (pa.array([1_000_001], pa.time64("ns")), [time(0, 0, 0, 1000)]),
        (pa.array([Decimal("1.50")], pa.decimal256(76, 2)), [Decimal("1.50")]),
        (pa.array([UUID(int=1).bytes, None], pa.uuid()), [str(UUID(int=1)), None]),
        (pa.array([None, None]), [None, None]),
        (pa.array([{}], pa.struct([])), [{}]),
    ],
    ids=str,
)
def test_values_of_every_type_and_depth(array: pa.Array, values: list[Any]) -> None:
    assert python_values(array) == values
    for place in range(len(array)):  # a slice knows where it begins
        assert python_values(array.slice(place, 1)) == values[place : place + 1]


def test_a_text_that_many_rows_share_is_made_once() -> None:
    array = pa.DictionaryArray.from_arrays(pa.array([1] * 1000), pa.array(["unused", "x" * 1000]))
    values = python_values(array)
    assert len(values) == 1000
    assert len({id(value) for value in values}) == 1


def test_texts_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_values, "TEXT_LIMIT", 10)
    for kind in (pa.string(), pa.large_string(), pa.string_view()):
        assert python_values(pa.array(["ä" * 100, "b", None], kind)) == ["ä" * 10, "b", None]
    assert python_values(pa.array([b"a" * 100], pa.binary())) == [b"a" * 10]


@pytest.mark.parametrize("place", [-1, 2])
def test_a_value_beyond_its_dictionary_is_damage(place: int) -> None:
    indices, words = pa.array([0, place], pa.int32()), pa.array(["a", "b"])
    array = pa.DictionaryArray.from_arrays(indices, words, safe=False)
    with pytest.raises(pa.ArrowException, match="beyond its dictionary"):
        python_values(array)
