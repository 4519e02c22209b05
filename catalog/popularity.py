"""How popular a product is in comparison with the products of its catalog."""

import numpy as np
from numpy.typing import NDArray


class PopularityScale:
    """Turns any number that rises with popularity into a percentile rank among the products of a catalog.

    Only the order counts, so that units sold in one shop and clicks in another compare.
    """

    def __init__(self, numbers: NDArray[np.float64]) -> None:
        """`numbers` are of the products to rank among, shape (n,); NaN for those without one."""
        self._sorted = np.sort(numbers[~np.isnan(numbers)])

    def percentiles(self, numbers: NDArray[np.float64]) -> NDArray[np.float32]:
        """The share of the scale's products with a smaller number, equal ones counted half; shape as given, NaN for
        products without a number, or where the scale has none."""
        known = ~np.isnan(numbers)
        if not len(self._sorted) or not known.any():
            return np.broadcast_to(np.float32(np.nan), numbers.shape)  # takes no memory
        below, up_to = (np.searchsorted(self._sorted, numbers[known], side) for side in ("left", "right"))
        result = np.full(numbers.shape, np.nan, np.float32)
        result[known] = (below + up_to) / (2 * len(self._sorted))
        return result
