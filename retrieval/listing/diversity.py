"""Spreads results: by how different their vectors are, and by caps on how many share a value."""

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from retrieval.listing.spec import CAP_WINDOW

MMR_WINDOW = 100
"""Results that are reordered by difference."""


def spread_by_vectors(vectors: NDArray[np.float32], strength: float) -> NDArray[np.intp]:
    """The places of n results in their new order, shape (n,), by maximal marginal relevance.

    `vectors`, shape (n, d), are unit vectors in the order of relevance, which is 1 for the first and falls evenly to
    1 / n. Each next result has the highest (1 - strength) * relevance - strength * similarity to the most similar
    result before it; the more relevant of equal ones comes first. Source: Carbonell and Goldstein, "The use of MMR,
    diversity-based reranking for reordering documents and producing summaries", SIGIR 1998.
    """
    count = len(vectors)
    relevance = 1 - np.arange(count, dtype=np.float32) / max(count, 1)
    nearest = np.zeros(count, np.float32)
    left = np.ones(count, bool)
    order = np.empty(count, np.intp)
    for place in range(count):
        gains = np.where(left, (1 - strength) * relevance - strength * nearest, -np.inf)
        order[place] = chosen = int(np.argmax(gains))
        left[chosen] = False
        similarities = vectors @ vectors[chosen]
        nearest = similarities if not place else np.maximum(nearest, similarities)
    return order


def apply_caps(
    values: Sequence[Sequence[Hashable | None]], caps: Sequence[int], window: int = CAP_WINDOW
) -> tuple[list[int], set[int]]:
    """The places of n results in their new order, and those that a cap moved back.

    `values` has, for each result, its value in each capped field, None where it has none, which no cap counts. Results
    are taken in their order; one whose value is there as often as its cap allows comes after the first `window`
    results. Where too few others are left, such results fill the window.
    """
    taken: list[int] = []
    moved: list[int] = []
    counts: Counter[tuple[int, Hashable]] = Counter()
    for place, row in enumerate(values):
        if len(taken) == window:
            break
        keys = [(field, value) for field, value in enumerate(row) if value is not None]
        if any(counts[key] >= caps[key[0]] for key in keys):
            moved.append(place)
            continue
        counts.update(keys)
        taken.append(place)
    rest = range(max([*taken, *moved], default=-1) + 1, len(values))
    return [*taken, *moved, *rest], set(moved)
