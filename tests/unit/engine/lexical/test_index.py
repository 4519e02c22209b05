"""Search by words, against BM25 worked out anew."""

import math
from pathlib import Path

import numpy as np
import pytest
from builders import product
from wordings import lexical_index, titles

from core.errors import ReleaseError
from engine.lexical import index as lexical
from engine.lexical.index import LexicalIndex, LexicalQuery, QueryTerm, lexical_files
from engine.lexical.query_parser import LexicalQueryParser
from text.terms import Word

K1, B = 0.6, 0.75
TITLES = ("red drill", "red red saw", "blue drill press stand", "hammer")


def bm25(texts: tuple[str, ...], word: str) -> list[float]:
    """Robertson's BM25 with Lucene's inverse document frequency, of a word in each text."""
    split = [text.split() for text in texts]
    average = sum(map(len, split)) / len(split)
    held = sum(word in words for words in split)
    idf = math.log(1 + (len(texts) - held + 0.5) / (held + 0.5))
    return [idf * words.count(word) / (words.count(word) + K1 * (1 - B + B * len(words) / average)) for words in split]


def asked(index: LexicalIndex, *words: str, weight: float = 1.0) -> list[QueryTerm]:
    numbers = [index.terms.find(word) for word in words]
    assert None not in numbers
    return [QueryTerm(number, weight, (place,)) for place, number in enumerate(numbers) if number is not None]


def query(terms: list[QueryTerm], words: int = 1) -> LexicalQuery:
    return LexicalQuery(tuple(Word(str(place), str(place)) for place in range(words)), tuple(terms))


@pytest.fixture
def index(tmp_path: Path) -> LexicalIndex:
    return lexical_index(tmp_path, titles(*TITLES))


def test_scores_are_bm25(index: LexicalIndex) -> None:
    rows = np.arange(len(TITLES))
    for word in ("red", "drill", "hammer"):
        scores = index.evidence(query(asked(index, word)), rows).scores
        title = scores[:, index.fields.index("title")]
        assert title == pytest.approx(bm25(TITLES, word), rel=1e-5)


def test_search_adds_up_terms_and_leaves_out_what_shares_none(index: LexicalIndex) -> None:
    result = index.search(asked(index, "red", "drill"), {"title": 2.0}, 10)
    expected = 2 * (np.array(bm25(TITLES, "red")) + bm25(TITLES, "drill"))
    assert result.rows.tolist() == [0, 1, 2]
    assert result.scores == pytest.approx(expected[[0, 1, 2]], rel=1e-5)


def test_a_field_without_weight_is_not_searched(index: LexicalIndex) -> None:
    assert len(index.search(asked(index, "red"), {"codes": 1.0}, 10).rows) == 0


def test_equal_scores_stand_in_the_order_of_rows_also_at_the_border(tmp_path: Path) -> None:
    index = lexical_index(tmp_path, titles(*["same word"] * 20, "same word same word"))
    result = index.search(asked(index, "same"), {"title": 1.0}, 5)
    assert result.rows.tolist() == [20, 0, 1, 2, 3]


def test_fields_are_told_apart(tmp_path: Path) -> None:
    rows = [
        product("a", "drill", brand="Makita", gtin="0123456789012", attributes=[("voltage", "18V")]),
        product("b", "makita bag", description="for a drill"),
    ]
    index = lexical_index(tmp_path, rows)
    assert index.fields == ("title", "brand", "attributes", "description", "codes", "units")
    scores = index.evidence(query(asked(index, "makita")), np.array([0, 1])).scores
    assert [[index.fields[i] for i in np.flatnonzero(row)] for row in scores] == [["brand"], ["title"]]
    assert index.search(asked(index, "0123456789012"), {"codes": 1.0}, 5).rows.tolist() == [0]
    assert index.search(asked(index, "18v"), {"attributes": 1.0}, 5).rows.tolist() == [0]


def test_what_is_matched_of_each_word_is_its_best_term(index: LexicalIndex) -> None:
    [red], [drill] = asked(index, "red"), asked(index, "drill", weight=0.5)
    terms = [red, QueryTerm(drill.number, 0.5, (1,)), QueryTerm(red.number, 0.25, (1,))]
    rows = np.array([3, 0, 1])
    matched = index.evidence(query(terms, words=2), rows).matched[:, index.fields.index("title")]
    assert matched.tolist() == [[0, 0], [1, 0.5], [1, 0.25]]


def test_rivals_state_another_quantity_of_the_same_unit(tmp_path: Path) -> None:
    index = lexical_index(tmp_path, titles("18V drill", "20V drill", "drill 3 in.", "drill"))
    read = LexicalQueryParser(index, "en").read("18 volt drill")
    evidence = index.evidence(read, np.arange(4))
    assert evidence.conflicting_quantity.tolist() == [[True, False], [True, False], [False, False], [False, False]]
    assert evidence.matched[:, index.fields.index("title"), 0].tolist() == [1, 0, 0, 0]
    assert evidence.lengths[:, index.fields.index("title")].tolist() == [3, 3, 3, 1]


def test_words_that_mostly_name_brands_are_known(tmp_path: Path) -> None:
    rows = [
        product("a", "Makita drill", brand="Makita"),
        product("b", "home drill"),
        product("c", "home", brand="Home"),
    ]
    index = lexical_index(tmp_path, [*rows, product("d", "home saw")])
    assert LexicalQueryParser(index, "en").read("makita home drill").brands == {0}


def test_of_very_many_postings_the_commonest_terms_are_left_out(
    index: LexicalIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    terms = asked(index, "red", "drill", "hammer")
    monkeypatch.setattr(lexical, "_MOST_POSTINGS", 3)
    assert index.search(terms, {"title": 1.0}, 10).rows.tolist() in ([3, 0, 1], [3, 1, 0])  # drill is left out
    monkeypatch.setattr(lexical, "_MOST_POSTINGS", 0)
    assert index.search(terms, {"title": 1.0}, 10).rows.tolist() == [3]


def test_of_very_many_products_a_sample_speaks(index: LexicalIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    red, drill = (index.terms.find(word) for word in ("red", "drill"))
    assert red is not None and drill is not None
    exact = index.cooccurrence_weight(drill, {red: 2.0})
    monkeypatch.setattr(lexical, "_MOST_SAMPLED", 1)
    assert (
        exact == 2.0 and index.cooccurrence_weight(drill, {red: 2.0}) == 4.0
    )  # of rows 0 and 2, the first speaks for both


def test_files_that_are_missing_or_cut_are_told(tmp_path: Path, index: LexicalIndex) -> None:
    path = tmp_path / "lexical" / lexical_files(index.fields)[-1]
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ReleaseError, match=r"is not a lexical index.*index the catalog again"):
        LexicalIndex(tmp_path / "lexical", index.fields, 4)
    path.unlink()
    with pytest.raises(ReleaseError, match="is not a lexical index"):
        LexicalIndex(tmp_path / "lexical", index.fields, 4)
