"""What products get in fusion for saying the query."""

from pathlib import Path

import numpy as np
import pytest
from builders import product
from wordings import lexical_index, titles

from engine.lexical.index import Evidence, LexicalQuery
from engine.lexical.query_parser import LexicalQueryParser
from engine.protocol import Candidates
from retrieval.pipeline.candidates import DENSE, LEXICAL, fuse_ranks
from retrieval.pipeline.coverage import favour, weighted_share
from text.synonyms import Synonyms
from text.terms import Word

_FIELDS = ("title", "brand", "description")


def query(*weights: float, length: int = 9) -> LexicalQuery:
    """A query of words with these inverse document frequencies."""
    words = tuple(Word(str(place), str(place)) for place in range(len(weights)))
    return LexicalQuery(words, weights=weights, length=length)


def evidence(*products: list[list[float]], lengths: int = 5) -> Evidence:
    """Of each product, what each field holds of each word."""
    matched = np.array(products, np.float32)
    shape = matched.shape[:2]
    conflicting_quantity = np.zeros((len(products), matched.shape[2]), bool)
    return Evidence(
        np.ones(shape, np.float32), matched, conflicting_quantity, np.full(shape, lengths, np.int32), _FIELDS
    )


def test_names_count_by_the_rarity_of_the_words_they_say() -> None:
    """Words weigh 3 and 1: .03 for all of it, .0225 for the rarer one, by title and brand and not by description."""
    held = evidence(
        [[1, 1], [0, 0], [0, 0]],
        [[1, 0], [0, 1], [0, 0]],
        [[1, 0], [0, 0], [0, 1]],
        [[0, 0.5], [0, 0], [1, 1]],
        *[[[1.0, 1], [0, 0], [0, 0]]] * 4,  # so many that none of them is picked out
    )
    result = favour(query(3.0, 1.0), held, 1.0)
    np.testing.assert_allclose(result[:4], [0.03, 0.03, 0.0225, 0.00375], rtol=1e-5)
    np.testing.assert_allclose(favour(query(3.0, 1.0), held, 0.5)[:2], 0.015, rtol=1e-5)


def test_few_products_that_say_all_come_first() -> None:
    held = evidence([[1, 1], [0, 0], [0, 0]], [[1, 0], [0, 0], [0, 0]], [[1, 0.8], [0, 0], [0, 0]])
    result = favour(query(1.0, 1.0), held, 1.0)
    np.testing.assert_allclose(result, [0.13, 0.015, 0.027], rtol=1e-5)


def test_without_words_nothing_is_favoured() -> None:
    held = evidence([[1, 1], [0, 0], [0, 0]])
    assert favour(query(1.0, 1.0), held, 0.0).tolist() == [0]
    nothing = Evidence(
        np.ones((1, 3), np.float32),
        np.zeros((1, 3, 0), np.float32),
        np.zeros((1, 0), bool),
        np.zeros((1, 3), np.int32),
        _FIELDS,
    )
    assert favour(LexicalQuery(), nothing, 1.0).tolist() == [0]


_TITLES = (
    "Cordless Drill",
    "Cordless Drill 20V DCD771C2 with Charger",
    "Charger for the Cordless Drill",
    "T-Shirt, men's, 2 x 4 in. logo",
    "Men's T-Shirt with 2 x 4 in. logo and a drill",
    "Brush for the drill",
    "Brush",
    "Drill",
    "L'Oréal Brush, M.A.C",
    "AT&T Drill DCD-771-C2, 1/2 in. x 3 ft.",
)


@pytest.mark.parametrize("row", range(len(_TITLES)))
def test_a_product_whose_title_is_the_query_comes_first(tmp_path: Path, row: int) -> None:
    """Though the towers find it last, and another one first."""
    index = lexical_index(tmp_path, titles(*_TITLES, *(f"{title} again" for title in _TITLES)))
    others = [other for other in range(index.count) if other != row]
    text = _TITLES[row].lower().replace("drill", "drills")
    parsed = LexicalQueryParser(index, "en").read(text)
    by_words = index.search(parsed.terms, {"title": 1.0}, 50)
    rows = np.array([*others, row])
    dense = Candidates(rows, np.linspace(0.9, 0.1, len(rows), dtype=np.float32))
    fusion = fuse_ranks({DENSE: dense, LEXICAL: by_words}, (1.0, 1.0))
    held = index.evidence(parsed, fusion.rows)
    scores = {DENSE: fusion.sources[DENSE].scores, LEXICAL: held.scores.sum(1)}
    result = fusion.completed(scores).with_evidence(parsed, held, 1.0)
    assert result.rows[0] == row
    assert result.scores.tolist() == sorted(result.scores.tolist(), reverse=True)


def test_phrases_and_their_synonyms_come_before_half_a_phrase(tmp_path: Path) -> None:
    """Each product at the same rank by words and, the other way round, by the towers."""
    rows = [product("a", "Toilet Seat"), product("b", "Corner Sofa"), product("c", "Love Seat"), product("d", "Table")]
    index = lexical_index(tmp_path, rows)
    parsed = LexicalQueryParser(index, "en", Synonyms(groups=(("sofa", "love seat"),))).read("love seat")
    by_words = index.search(parsed.terms, {"title": 1.0}, 50, parsed.synonyms)
    assert by_words.rows.tolist() == [2, 1, 0]
    dense = Candidates(by_words.rows[::-1].copy(), np.array([0.9, 0.8, 0.7], np.float32))
    fusion = fuse_ranks({DENSE: dense, LEXICAL: by_words}, (1.0, 1.0))
    held = index.evidence(parsed, fusion.rows)
    scores = {DENSE: fusion.sources[DENSE].scores, LEXICAL: held.scores.sum(1)}
    result = fusion.completed(scores).with_evidence(parsed, held, 1.0)
    assert result.rows.tolist() == [2, 1, 0]


def test_what_is_reordered_keeps_what_was_found_of_it() -> None:
    dense = Candidates(np.array([4, 5]), np.array([0.9, 0.2], np.float32))
    lexical = Candidates(np.array([5]), np.array([2.0], np.float32))
    fusion = fuse_ranks({DENSE: dense, LEXICAL: lexical}, (1.0, 0.01))
    assert fusion.rows.tolist() == [4, 5]  # 1/61 against 1/62 + .01/61
    held = evidence([[0], [0], [0]], [[1], [0], [0]])
    scores = {DENSE: fusion.sources[DENSE].scores, LEXICAL: np.array([0, 3], np.float32)}
    result = fusion.completed(scores).with_evidence(query(2.0), held, 0.01)
    assert result.rows.tolist() == [5, 4] and result.lexical is not None and result.dense is not None
    assert result.lexical.scores.tolist() == [3, 0] and result.lexical.ranks.tolist() == [1, 0]
    assert result.dense.ranks.tolist() == [2, 1] and result.evidence is not None
    assert result.evidence.matched[:, 0, 0].tolist() == [1, 0]


def test_a_product_s_share_is_the_same_to_the_last_bit_whichever_products_are_beside_it() -> None:
    random = np.random.default_rng(0)
    for words in range(2, 14):
        asked = query(*random.random(words) * 9)
        matched = random.choice(np.array([0, 1 / 3, 0.45, 0.8, 1], np.float32), (150, words))
        together = weighted_share(asked, matched)
        for count in (1, 2, 7, 33, 149):
            assert weighted_share(asked, matched[:count]).tolist() == together[:count].tolist()


def test_a_share_is_a_share_of_the_weights() -> None:
    """Of weights 3 and 1: all, a quarter, and half of the heavier one; without words or weights nothing."""
    matched = np.array([[1, 1], [0, 1], [0.5, 0]], np.float32)
    assert weighted_share(query(3.0, 1.0), matched).tolist() == pytest.approx([1, 0.25, 0.375])
    assert weighted_share(query(), np.zeros((3, 0), np.float32)).tolist() == [0, 0, 0]
    assert weighted_share(query(0.0, 0.0), matched).tolist() == [0, 0, 0]
    assert weighted_share(query(1.0), np.zeros((0, 1), np.float32)).shape == (0,)
