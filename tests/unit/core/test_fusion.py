"""Reciprocal rank fusion, by hand."""

import numpy as np
import pytest

from core.fusion import fuse


def lists(*rows: list[int]) -> list[np.ndarray]:
    return [np.array(one, np.int64) for one in rows]


def test_scores_are_sums_of_weighted_reciprocal_ranks() -> None:
    rows, scores = fuse(lists([7, 3], [3, 9]), [1.0, 2.0])
    assert rows.tolist() == [3, 9, 7]
    assert scores == pytest.approx([1 / 62 + 2 / 61, 2 / 62, 1 / 61])


def test_equal_scores_stand_in_the_order_of_rows() -> None:
    assert fuse(lists([9, 4], [4, 9]), [1.0, 1.0])[0].tolist() == [4, 9]


def test_one_list_keeps_its_order_and_none_is_empty() -> None:
    assert fuse(lists([5, 1, 3], []), [1.0, 1.0])[0].tolist() == [5, 1, 3]
    rows, scores = fuse(lists([], []), [1.0, 1.0])
    assert rows.shape == scores.shape == (0,)
