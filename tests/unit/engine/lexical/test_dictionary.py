"""The vocabulary: terms found, and terms with typing errors against brute force."""

from pathlib import Path

import pytest
from rapidfuzz.distance import OSA

from engine.lexical.dictionary import Terms, write_terms
from text.letters import plain

WORDS = sorted(
    ["drill", "drills", "grill", "thrill", "dril", "dirll", "18v", "dcd771", "dcd777", "caf\u00e9", "ab", "banana"],
    key=lambda term: term.encode(),
)
WRITTEN = {"drill": {"drilling": 2, "drill": 5, "drilled": 5}, "grill": {"grilles": 1}, "ab": {"abs": 1}}


@pytest.fixture
def terms(tmp_path: Path) -> Terms:
    write_terms(WORDS, WRITTEN, tmp_path)
    return Terms(tmp_path)


def test_each_term_has_its_number(terms: Terms) -> None:
    assert [terms[number] for number in range(len(terms))] == WORDS
    assert [terms.find(word) for word in WORDS] == list(range(len(WORDS)))


@pytest.mark.parametrize("word", ["", "a", "drillz", "zzz", "\u4e2d", "\0"])
def test_other_terms_have_none(terms: Terms, word: str) -> None:
    assert terms.find(word) is None


@pytest.mark.parametrize("edits", [1, 2])
@pytest.mark.parametrize("word", ["drill", "drlil", "gril", "bannana", "driling", "cafe", "xyz", "anana"])
def test_terms_alike_are_those_that_a_look_at_all_finds(terms: Terms, word: str, edits: int) -> None:
    letters = [term for term in WORDS if term.isalpha() and len(term) >= 3]
    ways = {term: [plain(form) for form in WRITTEN.get(term, [term]) if plain(form) != word] for term in letters}
    errors = {term: min((OSA.distance(word, form) for form in forms), default=9) for term, forms in ways.items()}
    expected = {term: count for term, count in errors.items() if count <= edits}
    assert {terms[result.number]: result.errors for result in terms.similar(word, edits)} == expected


def test_a_term_is_spelt_as_written_with_the_fewest_errors_then_most_often(terms: Terms) -> None:
    def spelling(word: str) -> str:
        return next(result.spelling for result in terms.similar(word, 2) if terms[result.number] == "drill")

    assert spelling("driling") == "drilling" and spelling("drrill") == "drill" and spelling("driled") == "drilled"
    assert spelling("drillxd") == "drilled"  # one error; two to drill


def test_numbers_and_codes_are_like_no_other(terms: Terms) -> None:
    assert terms.similar("dcd772", 2) == []
    assert terms.similar("19v", 1) == []


def test_fewer_errors_come_first(terms: Terms) -> None:
    assert [result.errors for result in terms.similar("drill", 2)] == [1, 1, 1, 2, 2]


def test_a_vocabulary_of_codes_alone_has_nothing_alike(tmp_path: Path) -> None:
    write_terms(["1", "2"], {}, tmp_path)
    assert Terms(tmp_path).similar("drill", 2) == []


def test_terms_are_found_by_how_they_begin_and_end(terms: Terms) -> None:
    assert list(terms.beginning("drill")) == ["drill", "drills"]
    assert set(terms.ending("rill")) == {"drill", "grill", "thrill"}
    assert list(terms.beginning("zz")) == list(terms.ending("zz")) == []


def test_an_index_of_the_format_before_is_read(tmp_path: Path) -> None:
    write_terms(WORDS, WRITTEN, tmp_path)
    expected = Terms(tmp_path).similar("drlil", 2)
    for name in ("form_lengths.npy", "backwards.npy"):
        (tmp_path / name).unlink()
    assert Terms(tmp_path).similar("drlil", 2) == expected
    assert list(Terms(tmp_path).ending("rill")) == []
