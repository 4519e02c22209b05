"""However a catalog is cut into segments and whatever is deleted, a view of it answers as one segment of what is left.

The segments share the word statistics of the catalog, as fresh segments have those of their base.
"""

import tempfile
from pathlib import Path

import numpy as np
from builders import product
from hypothesis import given, settings
from hypothesis import strategies as st
from segments import Cut, vector_index

from engine.lexical.query_parser import LexicalQueryParser
from engine.lexical.segments import evidence_of_view, search_view
from engine.vector import segments as vectors

_WORDS = ("red", "blue", "drill", "saw", "18v", "lamp", "acme")
_WEIGHTS = {"title": 1.0, "brand": 0.5}
_TITLES = st.lists(st.sampled_from(_WORDS), min_size=1, max_size=4).map(" ".join)


@st.composite
def catalogs(draw: st.DrawFn) -> tuple[list[dict], list[int], list[bool]]:
    """Products, the rows where segments begin, and which products are deleted."""
    titles = draw(st.lists(_TITLES, min_size=1, max_size=14))
    count = len(titles)
    rows = [
        product(f"p{i}", title, brand=draw(st.sampled_from((None, "Acme"))), price_micros=i, popularity=float(i + 1))
        for i, title in enumerate(titles)
    ]
    cuts = sorted(draw(st.sets(st.integers(1, count - 1), max_size=3))) if count > 1 else []
    return rows, cuts, draw(st.lists(st.booleans(), min_size=count, max_size=count))


@settings(max_examples=40)
@given(catalogs(), st.integers(1, 16), st.integers(0, 2**32 - 1), _TITLES)
def test_a_view_answers_as_one_segment_of_what_is_left(
    catalog: tuple[list[dict], list[int], list[bool]], k: int, seed: int, query: str
) -> None:
    rows, cuts, gone = catalog
    deleted = np.array(gone)
    alive = np.flatnonzero(~deleted)
    unit = np.random.default_rng(seed).standard_normal((len(rows) + 1, 8)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        cut = Cut(Path(folder), rows, unit[:-1], cuts)
        view, whole = cut.view(deleted), cut.whole
        assert view.ids() == [rows[row]["id"] for row in alive]
        for row in alive.tolist():
            assert view.row(row) == whole.table.row(row)
        assert [part.tolist() for part in view.tokens(alive)] == [part.tolist() for part in whole.tokens.take(alive)]  # type: ignore[union-attr]
        assert view.prices(alive).tolist() == whole.prices[alive].tolist()
        assert view.popularity(alive).tolist() == whole.popularity[alive].tolist()
        _check_vectors(cut, view, unit, alive, k)
        _check_words(cut, view, query, alive, k)


def _check_vectors(cut: Cut, view, unit: np.ndarray, alive: np.ndarray, k: int) -> None:
    base, query = cut.base.vectors, unit[-1]
    assert base is not None
    result, scores = vectors.search_view(base, view, query[None], k)
    kept = result[0] >= 0
    if len(alive):
        expected, expected_scores = vector_index(unit[alive]).search(query[None], k)
        assert result[0][kept].tolist() == alive[expected[0]].tolist()
        np.testing.assert_allclose(scores[0][kept], expected_scores[0], rtol=1e-5, atol=1e-6)
    else:
        assert not kept.any()
    again = vectors.score_view_rows(base, view, query, result[0][kept])
    np.testing.assert_allclose(again, scores[0][kept], rtol=1e-5, atol=1e-6)


def _check_words(cut: Cut, view, text: str, alive: np.ndarray, k: int) -> None:
    query = LexicalQueryParser(cut.words, "en").read(text)
    result = search_view(cut.base.words, view, query, _WEIGHTS, k)  # type: ignore[arg-type]
    mask = np.isin(np.arange(view.rows), alive)
    expected = cut.words.search(query.terms, _WEIGHTS, k, query.synonyms, mask)
    assert result.rows.tolist() == expected.rows.tolist() and result.scores.tolist() == expected.scores.tolist()
    rows = np.random.default_rng(k).permutation(alive)
    ours, theirs = evidence_of_view(cut.base.words, view, query, rows), cut.words.evidence(query, rows)  # type: ignore[arg-type]
    for name in ("scores", "matched", "conflicting_quantity", "lengths"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
