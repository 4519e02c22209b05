"""Drift of scores: whether first hits score as they did when the release was new.

The population stability index compares two distributions over the same bins: the sum of (p - q) * ln(p / q), where q is
a bin's share of the reference and p its share of late (N. Siddiqi, Credit Risk Scorecards, 2006). The bins are the
deciles of the first scores that were served, so that any scale of scores will do. By the custom of that field, below
0.1 nothing has changed, and above 0.25 something has.
"""

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence

BINS = 10
SAMPLE = 500
"""Scores of the reference, and scores that are compared with it."""
_LEAST = 0.5  # of a score, in an empty bin: its logarithm would be infinite


class ScoreDrift:
    """The drift of one catalog's first scores, since the models were first seen."""

    def __init__(self, sample: int = SAMPLE) -> None:
        """`sample` scores make the reference, and as many of late are compared with it."""
        self._sample = sample
        self._models = ""
        self._first: list[float] = []
        self._borders: list[float] = []
        self._expected: list[int] = []
        self._recent: deque[int] = deque(maxlen=sample)

    def add(self, score: float, models: str) -> None:
        """Adds the score of a first hit. `models` names what scored it: others have another scale, so the reference is
        taken anew."""
        if not math.isfinite(score):
            return
        if models != self._models:
            self._models, self._first, self._borders, self._expected = models, [], [], []
            self._recent.clear()
        if self._borders:
            self._recent.append(bisect_right(self._borders, score))
            return
        self._first.append(score)
        if len(self._first) == self._sample:
            self._borders = deciles(self._first)
            self._expected = _counts([bisect_right(self._borders, each) for each in self._first])
            self._first = []

    @property
    def index(self) -> float | None:
        """The population stability index; None until enough scores were seen."""
        if len(self._recent) < self._sample:
            return None
        return stability_index(self._expected, _counts(self._recent))


def deciles(scores: Sequence[float]) -> list[float]:
    """The nine borders between tenths of the scores; equal ones where a tenth has one score alone."""
    ordered = sorted(scores)
    return [ordered[len(ordered) * tenth // BINS] for tenth in range(1, BINS)]


def stability_index(expected: Sequence[int], observed: Sequence[int]) -> float:
    """The population stability index of two counts over the same bins, neither of them empty."""
    index = 0.0
    for before, now in zip(expected, observed, strict=True):
        if before == now == 0:
            continue
        q, p = max(before, _LEAST) / sum(expected), max(now, _LEAST) / sum(observed)
        index += (p - q) * math.log(p / q)
    return index


def _counts(bins: Sequence[int] | deque[int]) -> list[int]:
    counts = [0] * BINS
    for each in bins:
        counts[each] += 1
    return counts
