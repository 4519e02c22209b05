"""Percentile ranks of popularity, by hand and by scipy."""

import numpy as np
import pytest
from scipy.stats import percentileofscore

from catalog.popularity import PopularityScale

NAN = float("nan")


def popularity(numbers: np.ndarray) -> np.ndarray:
    """Of each product among all of them."""
    return PopularityScale(numbers).percentiles(numbers)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([10, 1000, 20, 30], [1 / 8, 7 / 8, 3 / 8, 5 / 8]),
        ([0, 0, 0, 5], [3 / 8, 3 / 8, 3 / 8, 7 / 8]),
        ([NAN, 2, NAN, 1], [NAN, 3 / 4, NAN, 1 / 4]),
        ([7], [1 / 2]),
        ([NAN, NAN], [NAN, NAN]),
        ([], []),
    ],
)
def test_shares_of_what_is_less_popular(numbers: list[float], expected: list[float]) -> None:
    result = popularity(np.array(numbers, np.float64))
    assert result.dtype == np.float32 and result.tolist() == pytest.approx(expected, nan_ok=True)


def test_it_is_the_percentile_rank() -> None:
    rng = np.random.default_rng(0)
    numbers = rng.poisson(3, 500).astype(np.float64)
    expected = percentileofscore(numbers, numbers, kind="mean") / 100
    assert popularity(numbers) == pytest.approx(expected, abs=1e-6)


def test_only_the_order_counts() -> None:
    numbers = np.random.default_rng(0).normal(size=100)
    assert (popularity(numbers) == popularity(np.exp(3 * numbers))).all()


def test_a_catalog_without_numbers_takes_no_memory() -> None:
    assert popularity(np.full(1000, np.nan)).strides == (0,)


def test_products_that_are_not_on_the_scale_are_ranked_among_those_that_are() -> None:
    scale = PopularityScale(np.array([10.0, NAN, 20, 20, 40]))
    ranks = scale.percentiles(np.array([5.0, 10, 20, 30, 99, NAN]))
    assert ranks.tolist() == pytest.approx([0, 1 / 8, 1 / 2, 3 / 4, 1, NAN], nan_ok=True)
    assert np.isnan(PopularityScale(np.array([NAN])).percentiles(np.array([3.0]))).all()
