import math

import numpy as np
import pytest

from benchmarks.bm25 import PlainBM25

TEXTS = ["red mug", "Blue mug", "red hat", "4 in. pipe"]


def test_scores_are_those_of_the_formula() -> None:
    """Lucene's idf is ln(1 + (N - n + 0.5) / (n + 0.5)); texts of 2, 2, 2 and 3 words are 2.25 long on average."""
    result = PlainBM25(TEXTS).search(["blue"], 4)
    idf = math.log(1 + (4 - 1 + 0.5) / (1 + 0.5))
    expected = idf * 1 / (1 + 1.5 * (1 - 0.75 + 0.75 * 2 / 2.25))
    assert result.rows.tolist() == [[1, -1, -1, -1]]
    assert result.scores[0, 0] == pytest.approx(expected, rel=1e-5)


def test_case_digits_ties_and_words_unknown() -> None:
    result = PlainBM25(TEXTS).search(["RED mug", "4", "mug", "zorb", ""], 2)
    assert result.rows.tolist()[:3] == [[0, 1], [3, -1], [0, 1]]
    assert (result.rows[3:] == -1).all() and not result.scores[3:].any()
    assert (np.diff(result.scores) <= 0).all()


def test_more_asked_for_than_there_is() -> None:
    assert PlainBM25(["a b"]).search(["a"], 10).rows.tolist() == [[0]]


def test_the_best_of_many_and_how_far_it_is() -> None:
    texts = [f"mug {'x ' * (i + 1)}" for i in range(50)]
    seen: list[tuple[int, int | None]] = []
    result = PlainBM25(texts).search(["mug", "x"], 3, lambda done, total: seen.append((done, total)))
    assert result.rows[0].tolist() == [0, 1, 2]
    assert seen == [(1, 2), (2, 2)]
