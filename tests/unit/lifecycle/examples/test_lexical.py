import math

import numpy as np
import pytest

from lifecycle.examples.lexical import LexicalSearch

TEXTS = ["red mug", "Blue mug", "red hat", "4 in. pipe"]


def test_scores_are_those_of_the_formula() -> None:
    """Lucene's idf is ln(1 + (N - n + 0.5) / (n + 0.5)); texts of 2, 2, 2 and 3 terms are 2.25 long on average."""
    result = LexicalSearch(TEXTS, "en").search(["blue"], 4)
    idf = math.log(1 + (4 - 1 + 0.5) / (1 + 0.5))
    expected = idf * 1 / (1 + 0.6 * (1 - 0.75 + 0.75 * 2 / 2.25))
    assert result.rows.tolist() == [[1, -1, -1, -1]]
    assert result.scores[0, 0] == pytest.approx(expected, rel=1e-5)


def test_words_are_those_of_the_served_index() -> None:
    """Stems, numbers with units, ties by row; a word that nothing holds finds nothing."""
    result = LexicalSearch(TEXTS, "en").search(["RED mugs", "4 inch", "zorb", ""], 2)
    assert result.rows.tolist() == [[0, 1], [3, -1], [-1, -1], [-1, -1]]
    assert (np.diff(result.scores) <= 0).all()


def test_the_language_is_the_texts() -> None:
    texts = ["rote Tassen", "blaue Tasse", "Hut"]
    assert LexicalSearch(texts, "de").search(["Tasse"], 3).rows.tolist() == [[0, 1, -1]]
    assert LexicalSearch(texts, "en").search(["Tasse"], 3).rows.tolist() != [[0, 1, -1]]


def test_more_asked_for_than_there_is() -> None:
    assert LexicalSearch(["a1 b2"], "en").search(["a1"], 10).rows.tolist() == [[0]]


def test_what_is_done_is_told() -> None:
    seen: list[tuple[int, int | None]] = []
    LexicalSearch(TEXTS, "en").search(["mug", "hat"], 1, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]
