"""Terms that came behind a vocabulary, and the vocabulary of a view."""

import threading
from pathlib import Path

import pytest
from wordings import lexical_index, titles

from engine.lexical.dictionary import SimilarTerm, Terms
from engine.lexical.fresh_terms import FreshTerms, ViewTerms


@pytest.fixture
def base(tmp_path: Path) -> Terms:
    return lexical_index(tmp_path, titles("hammer", "hammock", "saw")).terms


def test_numbers_go_on_from_the_base_and_never_change() -> None:
    terms = FreshTerms(10)
    assert [terms.add(name) for name in ("b", "a", "b", "c")] == [10, 11, 10, 12]
    assert terms.all() == ["b", "a", "c"] and [terms[number] for number in (10, 11, 12)] == ["b", "a", "c"]
    assert terms.find("c") == 12 and terms.find("d") is None and len(terms) == 3


def test_spellings_within_errors_are_found_whatever_their_number() -> None:
    terms = FreshTerms(0)
    for name, spelling in (("zorbix", "zorbix"), ("zorbix", "zorbixes"), ("quux", "quux"), ("x12y", "x12y")):
        terms.add(name, spelling)
    assert list(terms.similar("zorbx", 1)) == [SimilarTerm(0, "zorbix", 1)]
    assert list(terms.similar("zorbixs", 1)) == [SimilarTerm(0, "zorbix", 1), SimilarTerm(0, "zorbixes", 1)]
    assert list(terms.similar("zorbix", 2)) == [SimilarTerm(0, "zorbixes", 2)]  # not itself
    assert list(terms.similar("x12z", 1)) == [] and terms.words() == [("zorbix", 0), ("quux", 1)]


def test_a_view_has_the_fresh_terms_that_its_products_hold(base: Terms) -> None:
    fresh, held = FreshTerms(len(base)), set()
    view = ViewTerms(base, fresh, held.__contains__)
    number = fresh.add("hamster", "hamster")
    assert view.find("hammer") == base.find("hammer") and not view.consulted
    assert view.find("hamster") is None and view.consulted
    assert "hamster" not in [*view.beginning("ham"), *view.ending("ster")]
    held.add(number)
    assert view.find("hamster") == number and view[number] == "hamster" and view[0] == base[0]
    assert list(view.beginning("ham")) == [*base.beginning("ham"), "hamster"]
    assert list(view.ending("ster")) == ["hamster"]
    assert SimilarTerm(number, "hamster", 1) in view.similar("hamser", 2)
    assert {one.spelling for one in view.similar("hamser", 2)} == {"hamster", "hammer"}
    assert len(view) == len(base) + 1


def test_readers_are_not_disturbed_by_writers() -> None:
    terms, names = (
        FreshTerms(0),
        [f"word{chr(97 + i % 26)}{chr(97 + i // 26 % 26)}{chr(97 + i // 676)}" for i in range(3000)],
    )
    ended, problems = threading.Event(), []

    def read() -> None:
        while not ended.is_set():
            near = [*terms.similar("wordaaa", 2), *(SimilarTerm(n, terms[n], 1) for n in terms.beginning("wordb"))]
            problems.extend(one for one in near if terms[one.number] != one.spelling)
            count = len(terms)
            if count and terms.find(terms[count - 1]) != count - 1:
                problems.append(count)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for name in names:
        terms.add(name, name)
    ended.set()
    for reader in readers:
        reader.join()
    assert not problems and len(terms) == 3000 == len(set(map(terms.find, names)))
