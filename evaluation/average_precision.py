"""Mean average precision of lists against what people then took, as the H&M challenge of 2022 defines MAP@12.

AP@k = 1 / min(k, number of products taken) * sum over ranks r <= k of precision at r where product r was taken
"""

from collections.abc import Collection, Sequence
from typing import TypeVar

Item = TypeVar("Item")

CUTOFF = 12


def average_precision(ranked: Sequence[Item], taken: Collection[Item], k: int = CUTOFF) -> float:
    """AP@k of one list, best first; a product that comes again counts once. 0 where nothing was taken."""
    wanted, hits, total = set(taken), 0, 0.0
    if not wanted:
        return 0.0
    for rank, item in enumerate(ranked[:k], 1):
        if item in wanted and item not in ranked[: rank - 1]:
            hits += 1
            total += hits / rank
    return total / min(k, len(wanted))
