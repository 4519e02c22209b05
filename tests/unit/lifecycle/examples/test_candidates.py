import numpy as np
import pytest

from lifecycle.examples.candidates import nearest


def test_nearest_is_by_inner_product() -> None:
    items = np.array([[1, 0], [0.6, 0.8], [0, 1]], np.float32)
    result = nearest(np.array([[0, 1], [1, 0]], np.float32), items, 2)
    assert result.rows.tolist() == [[2, 1], [0, 1]]
    assert result.scores == pytest.approx(np.array([[1, 0.8], [1, 0.6]]))
