"""What a soak makes of the values that it reads once a second."""

import numpy as np
import pytest

from benchmarks.soak import _rests, _slope


@pytest.mark.parametrize("leak", [0.0, 0.02])
def test_growth_is_that_of_the_floor_whatever_swaps_take(leak: float) -> None:
    times = np.arange(900.0)
    swapping = times % 20 < 5 + times / 100  # they take ever longer: there is more to replay
    values = 400 + leak * times + 120 * swapping
    rests = _rests(times, values)
    assert len(rests) == 15 and all(value < 420 for _, value in rests)
    assert _slope(*np.array(rests).T) == pytest.approx(leak, abs=1e-3)
    assert _slope(np.array([3.0]), np.array([400.0])) == 0.0
