import numpy as np
import pytest
from scipy.sparse import csr_array

from lifecycle.examples.position_bias import Propensities, assume_curve, estimate, fit_strengths, harvest

# Two products, each shown at positions 1 and 2: (pair, position, shown, clicked).
TWO = [(0, 1, 10, 5), (0, 2, 10, 2), (1, 1, 20, 4), (1, 2, 10, 1)]


def estimated(rows: list[tuple[int, int, int, int]], least: int = 1) -> Propensities:
    columns = np.array(rows).T
    return estimate(*columns, least, 1.0)


def test_two_positions_by_hand() -> None:
    # 5*10/20 + 4*10/30 = 23/6 for the first, 2*10/20 + 1*20/30 = 10/6 for the second.
    n, c = csr_array([[10.0, 10], [20, 10]]), csr_array([[5.0, 2], [4, 1]])
    table, clicks = harvest(n, c)
    assert table == pytest.approx(np.array([[0, 23 / 6], [10 / 6, 0]]))
    assert list(clicks) == [9, 3]
    assert fit_strengths(table) == pytest.approx([1, 10 / 23])
    result = estimated(TWO)
    assert result.at(np.array([1, 2])) == pytest.approx([1, 10 / 23])
    assert result.why is None and result.clicks == 12
    # Beyond what is known it goes on as 1 / position^eta, and 1 / 2^eta is 10/23.
    assert result.at(np.array([4])) == pytest.approx([(10 / 23) ** 2])


def test_exact_shares_of_three_positions_are_found() -> None:
    p = np.array([1.0, 0.6, 0.3])
    table = p[:, None] / (p[:, None] + p) * np.array([[0, 8, 1], [8, 0, 5], [1, 5, 0]])
    assert fit_strengths(table) == pytest.approx(p, rel=1e-6)


def test_products_shown_at_one_position_say_nothing() -> None:
    assert estimated([*TWO, (2, 1, 1000, 0), (3, 2, 1000, 900)]).values == pytest.approx([1, 10 / 23])


def test_counts_in_parts_are_as_good_as_whole() -> None:
    parts = [(0, 1, 4, 0), (0, 1, 6, 5), *TWO[1:]]
    assert estimated(parts).values == pytest.approx(estimated(TWO).values)


@pytest.mark.parametrize(
    "rows",
    [
        [(0, 1, 100, 80), (1, 2, 100, 10)],  # nothing moved
        [(0, 1, 100, 80), (0, 2, 100, 0)],  # no click at the second
        [(0, 7, 100, 80)],
    ],
)
def test_too_little_variation_is_the_curve(rows: list[tuple[int, int, int, int]]) -> None:
    result = estimated(rows)
    assert result.why == "fewer than two positions have 1 clicks of products shown at others too"
    assert result.at(np.array([1, 2, 4])) == pytest.approx([1, 1 / 2, 1 / 4])


def test_a_position_with_few_clicks_is_left_to_the_curve() -> None:
    result = estimated([(0, 1, 100, 60), (0, 2, 100, 30), (0, 3, 100, 4)], least=10)
    assert list(result.positions) == [1, 2] and result.eta == pytest.approx(1)
    assert result.at(np.array([3])) == pytest.approx([1 / 3])


def test_positions_that_nothing_joins_are_not_compared() -> None:
    result = estimated([(0, 1, 100, 60), (0, 2, 100, 30), (1, 8, 100, 9), (1, 9, 100, 9)])
    assert list(result.positions) == [1, 2]


def test_between_known_positions_logarithms_are_interpolated_and_before_them_it_rises() -> None:
    result = Propensities(np.array([2, 8]), np.array([0.8, 0.2]), 1.0)
    assert result.at(np.array([4])) == pytest.approx([0.4])
    assert result.at(np.array([1])) == pytest.approx([1.0])
    assert assume_curve(0.0, "").at(np.array([1, 50])) == pytest.approx([1, 1])


def test_the_first_position_is_seen_most_even_where_it_is_not_known() -> None:
    result = estimated([(0, 2, 100, 60), (0, 4, 100, 30)])
    assert result.at(np.array([1, 2, 4])) == pytest.approx([1, 1 / 2, 1 / 4])
