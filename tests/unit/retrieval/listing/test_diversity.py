"""Maximal marginal relevance and caps, worked by hand."""

import numpy as np
import pytest

from retrieval.listing.diversity import apply_caps, spread_by_vectors


def test_without_strength_the_order_stays() -> None:
    vectors = np.eye(4, dtype=np.float32)[[0, 0, 1, 1, 2]]
    assert spread_by_vectors(vectors, 0.0).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("strength", "order"),
    [
        # After 0, relevance 1: of 1 (.75, a copy of 0), 2 (.5, apart) and 3 (.25, apart) the gains at .5 are
        # .375 - .5, .25 and .125; after 2, 1 has .375 - .5 and 3, a copy of 2, .125 - .5.
        (0.5, [0, 2, 1, 3]),
        # At 1 only difference counts: 1 and 3 are both copies by then, and the more relevant one comes first.
        (1.0, [0, 2, 1, 3]),
        # At .2: .6 - .2 = .4 of 1 and .4 of 2 are equal, and 1 is more relevant.
        (0.2, [0, 1, 2, 3]),
    ],
)
def test_copies_come_after_what_differs(strength: float, order: list[int]) -> None:
    vectors = np.eye(4, dtype=np.float32)[[0, 0, 1, 1]]
    assert spread_by_vectors(vectors, strength).tolist() == order


def test_nothing_is_spread() -> None:
    assert spread_by_vectors(np.zeros((0, 3), np.float32), 0.5).tolist() == []


def test_a_cap_moves_further_ones_behind_the_window() -> None:
    values = [["a"], ["a"], ["a"], ["b"], [None], ["a"], ["b"]]
    assert apply_caps(values, [1], window=3) == ([0, 3, 4, 1, 2, 5, 6], {1, 2})


def test_where_too_few_others_are_left_the_window_is_filled() -> None:
    assert apply_caps([["a"], ["a"], ["b"]], [1], window=3) == ([0, 2, 1], {1})


def test_several_caps_bind_each() -> None:
    values = [["a", "x"], ["b", "x"], ["b", "y"], ["c", "x"]]
    assert apply_caps(values, [1, 1], window=4) == ([0, 2, 1, 3], {1, 3})
