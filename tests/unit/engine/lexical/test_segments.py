"""Lexical search through a view of several segments, by hand."""

from pathlib import Path

import numpy as np
import pytest
from builders import product
from segments import Cut

from engine.lexical.query_parser import LexicalQueryParser
from engine.lexical.segments import evidence_of_view, search_view

_WEIGHTS = {"title": 1.0, "attributes": 0.5}
_TITLES = ("red drill", "red saw", "blue drill bit case", "drill", "red drill", "lamp")


@pytest.fixture
def cut(tmp_path: Path) -> Cut:
    """Rows 0 to 2 are the base's, 3 and 4 the first fresh segment's, 5 the second's."""
    rows = [product(f"p{place}", title) for place, title in enumerate(_TITLES)]
    return Cut(tmp_path, rows, np.eye(6, dtype=np.float32), [3, 5])


@pytest.mark.parametrize(
    ("deleted", "k", "expected"),
    [
        # Equal texts have equal scores, wherever they are: 0 and 4 hold both words, and the shorter text counts more.
        ([], 9, [0, 4, 3, 1, 2]),
        ([], 2, [0, 4]),
        ([0, 3], 9, [4, 1, 2]),
        ([0, 1, 2, 3, 4], 9, []),
    ],
)
def test_segments_are_merged_by_score(cut: Cut, deleted: list[int], k: int, expected: list[int]) -> None:
    query = LexicalQueryParser(cut.words, "en").read("red drill")
    view = cut.view(np.isin(np.arange(6), deleted))
    result = search_view(cut.base.words, view, query, _WEIGHTS, k)  # type: ignore[arg-type]
    assert sorted(result.rows.tolist()) == sorted(expected)
    assert result.rows.tolist()[:2] == expected[:2]
    whole = cut.words.search(query.terms, _WEIGHTS, 9)
    by_row = dict(zip(whole.rows.tolist(), whole.scores.tolist(), strict=True))
    assert result.scores.tolist() == [by_row[row] for row in result.rows.tolist()]


def test_evidence_comes_in_the_order_in_which_rows_are_asked_for(cut: Cut) -> None:
    query = LexicalQueryParser(cut.words, "en").read("red drill")
    rows = np.array([5, 0, 4, 2, 0])
    held = evidence_of_view(cut.base.words, cut.view(), query, rows)  # type: ignore[arg-type]
    title = held.fields.index("title")
    assert (held.matched[:, title] >= 1).tolist() == [[False] * 2, [True] * 2, [True] * 2, [False, True], [True] * 2]
    assert held.lengths[:, title].tolist() == [1, 2, 2, 4, 2]
    nothing = evidence_of_view(cut.base.words, cut.view(), query, rows[:0])  # type: ignore[arg-type]
    assert nothing.scores.shape == (0, len(held.fields)) and nothing.matched.shape == (0, len(held.fields), 2)
