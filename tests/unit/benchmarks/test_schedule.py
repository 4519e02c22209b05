import numpy as np
import pytest

from benchmarks.load.schedule import Arrivals, due_times


def test_constant_arrivals_are_evenly_spaced() -> None:
    assert due_times(4, 1.0, Arrivals.CONSTANT, 0).tolist() == [0, 0.25, 0.5, 0.75]


def test_poisson_arrivals_have_the_rate_and_the_gaps_of_independent_shoppers() -> None:
    times = due_times(50, 200, Arrivals.POISSON, 1)
    assert len(times) == pytest.approx(10_000, rel=0.03)
    assert (np.diff(times) >= 0).all() and times[0] >= 0 and times[-1] < 200
    gaps = np.diff(times)
    assert gaps.mean() == pytest.approx(1 / 50, rel=0.03)
    assert gaps.std() == pytest.approx(1 / 50, rel=0.05)  # as exponential gaps have; even ones would have 0


def test_the_same_seed_gives_the_same_times() -> None:
    first, again = (due_times(10, 5, Arrivals.POISSON, 7) for _ in range(2))
    assert first.tolist() == again.tolist()
    assert first.tolist() != due_times(10, 5, Arrivals.POISSON, 8).tolist()
