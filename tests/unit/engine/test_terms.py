"""The vocabulary: terms found, and terms with typing errors against brute force."""

from pathlib import Path

import pytest
from rapidfuzz.distance import OSA

from engine.terms import Terms, write_terms

WORDS = sorted(
    ["drill", "drills", "grill", "thrill", "dril", "dirll", "18v", "dcd771", "dcd777", "caf\u00e9", "ab", "banana"],
    key=lambda term: term.encode(),
)
SPELT = {"drill": "drilling", "ab": "abs"}


@pytest.fixture
def terms(tmp_path: Path) -> Terms:
    write_terms(WORDS, SPELT, tmp_path)
    return Terms(tmp_path)


def test_each_term_has_its_number(terms: Terms) -> None:
    assert [terms[number] for number in range(len(terms))] == WORDS
    assert [terms.find(word) for word in WORDS] == list(range(len(WORDS)))


def test_terms_are_spelt_as_told_or_as_they_are(terms: Terms) -> None:
    spelt = {terms[number]: terms.spelling(number) for number in range(len(terms))}
    assert spelt == {word: word for word in WORDS} | SPELT


@pytest.mark.parametrize("word", ["", "a", "drillz", "zzz", "\u4e2d", "\0"])
def test_other_terms_have_none(terms: Terms, word: str) -> None:
    assert terms.find(word) is None


@pytest.mark.parametrize("edits", [1, 2])
@pytest.mark.parametrize("word", ["drill", "drlil", "gril", "bannana", "driling", "cafe", "xyz", "anana"])
def test_terms_alike_are_those_that_a_look_at_all_finds(terms: Terms, word: str, edits: int) -> None:
    letters = [term for term in WORDS if term.isalpha() and len(term) >= 3 and term != word]
    errors = {term: min(OSA.distance(word, form) for form in {term, SPELT.get(term, term)}) for term in letters}
    expected = {term: count for term, count in errors.items() if count <= edits}
    assert {terms[number]: errors for number, errors in terms.alike(word, edits)} == expected


def test_numbers_and_codes_are_like_no_other(terms: Terms) -> None:
    assert terms.alike("dcd772", 2) == []
    assert terms.alike("19v", 1) == []


def test_fewer_errors_come_first(terms: Terms) -> None:
    assert [errors for _, errors in terms.alike("drill", 2)] == [1, 1, 1, 1, 2]


def test_a_vocabulary_of_codes_alone_has_nothing_alike(tmp_path: Path) -> None:
    write_terms(["1", "2"], {}, tmp_path)
    assert Terms(tmp_path).alike("drill", 2) == []
