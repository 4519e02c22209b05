"""Merged columns that grow from view to view: always what merging anew gives."""

from collections.abc import Sequence

import numpy as np
import pytest

from catalog.columns import Column, Kind, make_column
from catalog.growing import MergedColumns
from catalog.merging import merge_columns

_VALUES = {
    Kind.string: [["b", None, "d"], ["d", "b"], [None], ["a", "b"], ["b"]],
    Kind.strings: [[["b", "d"], None, ["c"]], [["d"], ["b", "c"]], [None], [["a", "z"]], [["a"]]],
    Kind.number: [[1.0, None, 2.0], [3.0, None], [None], [4.0], [5.0]],
    Kind.money: [[1, None, 2], [3, None], [None], [4], [5]],
    Kind.boolean: [[True, None, False], [False], [None], [True], [True]],
    Kind.text: [["x", None, "y"], [None, "z"], [None], ["z"], [None]],
}


def assert_same(ours: Column, theirs: Column) -> None:
    assert (ours.kind, ours.unit, list(ours.values)) == (theirs.kind, theirs.unit, list(theirs.values))
    for name, array in theirs.arrays.items():
        np.testing.assert_array_equal(ours.arrays[name], array)
        assert ours.arrays[name].dtype == array.dtype and not ours.arrays[name].flags.writeable


def column(kind: Kind, values: Sequence[object]) -> Column:
    return make_column(kind, values, "EUR" if kind is Kind.money else "")


@pytest.mark.parametrize("kind", _VALUES)
def test_further_segments_come_behind_and_former_views_stay(kind: Kind) -> None:
    base, *others = (column(kind, values) for values in _VALUES[kind])
    parts: list[Column | None] = [others[0], None, *others[1:]]
    counts = [2 if part is None else len(part) for part in parts]
    merged, seen = MergedColumns(), []
    for count in range(len(parts) + 1):
        ours = merged.column("f", base, parts[:count], counts[:count])
        seen.append((ours, merge_columns(base, parts[:count], counts[:count])))
        assert merged.column("f", base, parts[:count], counts[:count]) is ours
    for ours, theirs in seen:
        assert_same(ours, theirs)
    for count in (2, 0, len(parts), 1):  # views of before that are asked again
        assert_same(merged.column("f", base, parts[:count], counts[:count]), seen[count][1])


@pytest.mark.parametrize("kind", [Kind.string, Kind.strings])
def test_a_segment_without_values_comes_behind(kind: Kind) -> None:
    merged, base = MergedColumns(), column(kind, _VALUES[kind][0])
    parts = [column(kind, [None]) for _ in range(2)]
    for count in (0, 1, 2):
        assert_same(
            merged.column("f", base, parts[:count], [1] * count), merge_columns(base, parts[:count], [1] * count)
        )


@pytest.mark.parametrize("kind", _VALUES)
def test_other_segments_in_the_same_place_are_merged_anew(kind: Kind) -> None:
    base, *others = (column(kind, values) for values in _VALUES[kind])
    merged = MergedColumns()
    merged.column("f", base, others[:2], [len(one) for one in others[:2]])
    ours = merged.column("f", base, [others[2], others[0]], [len(others[2]), len(others[0])])
    assert_same(ours, merge_columns(base, [others[2], others[0]], [len(others[2]), len(others[0])]))
    patched = column(kind, _VALUES[kind][0][::-1])
    assert_same(
        merged.column("f", patched, others[:1], [len(others[0])]), merge_columns(patched, others[:1], [len(others[0])])
    )


def test_the_rows_of_the_base_are_not_copied_for_each_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    base = column(Kind.number, [1.0] * 1000)
    merged = MergedColumns()
    one = merged.column("f", base, [column(Kind.number, [2.0])], [1])
    parts = [column(Kind.number, [2.0]) for _ in range(3)]
    first = merged.column("f", base, parts[:1], [1])
    second = merged.column("f", base, parts[:2], [1, 1])
    third = merged.column("f", base, parts, [1, 1, 1])
    assert np.shares_memory(second.numbers, third.numbers) and not np.shares_memory(one.numbers, first.numbers)
    assert len(second.numbers) == 1002 and third.numbers[-3:].tolist() == [2.0] * 3
