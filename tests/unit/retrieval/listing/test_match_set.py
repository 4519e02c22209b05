"""What matches, worked by hand."""

from pathlib import Path

import numpy as np
import pytest
from listings import make_shop

from engine.protocol import Candidates
from retrieval.listing.match_set import (
    ALWAYS_SIMILAR,
    LexicalMatches,
    make_match_set,
    similar_matches,
)

# Similarities 1, .995, .99, ...: the 100th best has .505, the 151st .25.
_SIMILAR = Candidates(np.arange(200), (1 - 0.005 * np.arange(200)).astype(np.float32))


@pytest.mark.parametrize(
    ("threshold", "count"),
    [
        (None, 100),  # as similar as the 100th
        (0.9, 100),  # a threshold above that of the 100th takes nothing away
        (0.25, 151),  # one below lets all above it in
        (-1.0, 200),
    ],
)
def test_the_threshold_lets_in_and_never_out(threshold: float | None, count: int) -> None:
    matching = similar_matches(_SIMILAR, threshold)
    assert len(matching.scores) == count and matching.rows.tolist() == list(range(count))


def test_fewer_than_a_hundred_all_match() -> None:
    few = Candidates(np.arange(3), np.array([0.9, 0.2, 0.1], np.float32))
    assert similar_matches(few, 0.5).rows.tolist() == [0, 1, 2]
    none = Candidates(np.zeros(0, np.int64), np.zeros(0, np.float32))
    assert similar_matches(none, 0.5).rows.tolist() == []


def test_words_match_at_two_thirds_or_among_the_hundred_best(tmp_path: Path) -> None:
    release, _ = make_shop(tmp_path)
    scores = np.zeros(release.view.rows, np.float32)
    scores[:300] = np.arange(300, 0, -1)
    covered = np.zeros(release.view.rows, np.float32)
    covered[[250, 251, 252]] = [2 / 3, 0.66, 1.0]
    matches = make_match_set(release.view, None, LexicalMatches(covered, scores))
    assert np.flatnonzero(matches.matching).tolist() == [*range(ALWAYS_SIMILAR), 250, 252]
