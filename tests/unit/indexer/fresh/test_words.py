"""Words of fresh products: their scores are those of the index, and words that it lacks are found."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import product
from wordings import lexical_index, titles

from engine.lexical.index import LexicalIndex
from indexer.fresh.words import FreshWords

_ENGLISH = [
    product(
        "p0", "red drill 18 V", brand="Acme", description="A red drill, 2 batteries", attributes=[("power", "18 V")]
    ),
    product("p1", "blue saw", brand="Bosch", gtin="4006381333931"),
    product("p2", "drill bits 2 x 4 in", brand="Acme", product_type="Tools > Bits", attributes=[("length", "4 in")]),
    product("p3", "red red lamp", description="lamp"),
]
_GERMAN = titles("Stehlampe rot", "Wandlampe", "Hängelampe Lampe", "Gartenlampe klein", "Esstisch", "Lampe", "Tisch")


def postings(index: LexicalIndex) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """Rows and scores of every term in every field."""
    terms = [*(index.terms[number] for number in range(len(index.terms))), *index.fresh_terms.all()]
    result = {}
    for field in index.fields:
        for number, term in enumerate(terms):
            rows, scores = index.postings(field).lookup(number)
            if len(rows):
                result[field, term] = list(zip(rows.tolist(), scores.tolist(), strict=True))
    return result


@pytest.mark.parametrize(("rows", "language"), [(_ENGLISH, "en"), (_GERMAN, "de")])
def test_the_products_of_an_index_have_its_scores(tmp_path: Path, rows: list[dict[str, Any]], language: str) -> None:
    base = lexical_index(tmp_path, rows, language)
    fresh = FreshWords(base, language).build(rows)
    ours, theirs = postings(fresh), postings(base)
    assert ours.keys() == theirs.keys() and len(theirs) > 10
    for key, expected in theirs.items():
        assert [row for row, _ in ours[key]] == [row for row, _ in expected]
        np.testing.assert_allclose([one for _, one in ours[key]], [one for _, one in expected], rtol=1e-6)
    for field in base.fields:
        np.testing.assert_array_equal(fresh.postings(field).lengths, base.postings(field).lengths)
    assert len(base.fresh_terms) == 0


def test_statistics_stay_those_of_the_base(tmp_path: Path) -> None:
    """However many fresh products hold a word, it is as rare as in the base: BM25 by hand."""
    base = lexical_index(tmp_path, titles("red drill", "red saw", "lamp"))
    fresh = FreshWords(base, "en").build(titles("red", "red", "red lamp", "red lamp lamp"))
    _, scores = fresh.postings("title").lookup(base.terms.find("red"))  # type: ignore[arg-type]
    rarity = np.log(1 + (3 - 2 + 0.5) / (2 + 0.5))  # 2 of the 3 products of the base
    lengths = np.array([1, 1, 2, 3])
    expected = rarity / (1 + 0.6 * (1 - 0.75 + 0.75 * lengths / (5 / 3)))
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


def test_a_new_word_has_a_number_behind_the_vocabulary_and_counts_as_the_rarest(tmp_path: Path) -> None:
    base = lexical_index(tmp_path, titles("red drill", "red saw", "lamp"))
    words = FreshWords(base, "en")
    first, second = words.build(titles("zorbix drill")), words.build(titles("lamp", "zorbix quux"))
    number = base.fresh_terms.find("zorbix")
    assert number is not None and number >= len(base.terms) and base.term(number) == "zorbix"
    assert first.postings("title").lookup(number)[0].tolist() == [0]
    rows, scores = second.postings("title").lookup(number)
    rarity = np.log(1 + (3 - 1 + 0.5) / (1 + 0.5))
    assert rows.tolist() == [1]
    np.testing.assert_allclose(scores, rarity / (1 + 0.6 * (0.25 + 0.75 * 2 / (5 / 3))), rtol=1e-6)
    assert base.postings("title").lookup(number)[0].tolist() == [] and base.document_frequency(number) == 0
    assert base.postings("title").at(number, np.array([0, 1])).tolist() == [0, 0]


def test_a_new_compound_is_found_by_its_head(tmp_path: Path) -> None:
    base = lexical_index(tmp_path, _GERMAN, "de")
    fresh = FreshWords(base, "de").build(titles("Wintergartenlampe", "Grillrost"))
    head = base.terms.find("~lamp")
    assert head is not None and fresh.postings("title").lookup(head)[0].tolist() == [0]


def test_fields_that_the_base_lacks_are_left_out(tmp_path: Path) -> None:
    base = lexical_index(tmp_path, titles("red drill", "lamp"))
    fresh = FreshWords(base, "en").build([product("q", "lamp", brand="Acme")])
    assert fresh.fields == base.fields and "brand" not in base.fields
    assert base.fresh_terms.find("acm") is None
