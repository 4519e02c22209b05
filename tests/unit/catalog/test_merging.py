from itertools import pairwise

import numpy as np
import pytest

from catalog.columns import Column, Kind, make_column
from catalog.merging import merge_columns

VALUES = {
    Kind.string: ["b", None, "é", "a"],
    Kind.strings: [("b", "z"), None, ("m", "b"), ("a",)],
    Kind.number: [1.0, None, 3.0, 2.0],
    Kind.money: [1.0, None, 3.0, 2.0],
    Kind.boolean: [True, None, False, True],
    Kind.date: [86400.0, None, 3.0, 2.0],
    Kind.text: ["x", None, "y", "z"],
}


def same(left: Column, right: Column) -> bool:
    arrays = [(left.arrays[name], right.arrays[name]) for name in right.arrays]
    equal = all(np.array_equal(a, b, equal_nan=a.dtype == np.float64) for a, b in arrays)
    return equal and list(left.values) == list(right.values) and left.kind is right.kind


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("cuts", [(1, 2), (2,), (0, 4), (3,)])
def test_segments_merge_to_the_column_of_the_whole(kind: Kind, cuts: tuple[int, ...]) -> None:
    values = VALUES[kind]
    edges = [0, *cuts, 4]
    parts = [make_column(kind, values[a:b]) for a, b in pairwise(edges)]
    assert same(merge_columns(parts[0], parts[1:], [len(part) for part in parts[1:]]), make_column(kind, values))


@pytest.mark.parametrize("kind", list(Kind))
def test_a_segment_that_lacks_the_field_has_it_in_no_product(kind: Kind) -> None:
    merged = merge_columns(make_column(kind, VALUES[kind]), [None], [2])
    assert same(merged, make_column(kind, [*VALUES[kind], None, None]))


def test_values_are_read_through_what_was_inserted() -> None:
    base, fresh = make_column(Kind.string, ["b", "d", "f"]), make_column(Kind.string, ["a", "e", "d", "g"])
    merged = merge_columns(base, [fresh], [4])
    assert [merged.values[i] for i in range(6)] == ["a", "b", "d", "e", "f", "g"] and merged.values[-1] == "g"
    assert merged.code("e") == 3 and merged.code("c") == -1 and merged.codes.tolist() == [1, 2, 4, 0, 3, 2, 5]


def test_another_kind_is_a_fault() -> None:
    with pytest.raises(ValueError, match="a fresh segment has a column of kind number where the release's is string"):
        merge_columns(make_column(Kind.string, ["a"]), [make_column(Kind.number, [1])], [1])
