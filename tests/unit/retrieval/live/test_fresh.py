"""Fresh segments over a release, with a real lexical index, real vectors and real columns."""

from pathlib import Path

import numpy as np
import pytest
from builders import product
from live import Base, tokens_of, unit_vectors

from core.filters import Equal
from engine.lexical.query_parser import LexicalQueryParser, ViewParser
from engine.lexical.segments import search_view
from engine.vector.segments import search_view as search_vectors

_ROWS = [
    product("p0", "red drill", brand="Acme", price_micros=1, popularity=10.0),
    product("p1", "blue saw", brand="Bosch", price_micros=2, popularity=20.0),
    product("p2", "lamp", price_micros=3),
]
_FRESH = product("q0", "green zorbix hammock", brand="Zorbix", price_micros=9, popularity=15.0, attributes=[("a", "b")])


@pytest.fixture
def base(tmp_path: Path) -> Base:
    return Base(tmp_path, _ROWS, unit_vectors(3))


def parser(base: Base) -> ViewParser:
    return ViewParser(LexicalQueryParser(base.words, "en"), base.words)


def test_a_product_that_came_is_found_by_words_vector_and_filter(base: Base) -> None:
    vectors = unit_vectors(4)
    view = base.view([base.build([_FRESH], vectors[3:])])
    assert view.row(3) == _FRESH and view.id(3) == "q0" and view.attributes(3, 5) == [("a", "b")]
    query = parser(base).read("zorbix", view)
    assert search_view(base.words, view, query, {"title": 1.0}, 5).rows.tolist() == [3]
    assert search_vectors(base.vectors, view, vectors[3:], 2)[0][0, 0] == 3
    assert np.flatnonzero(view.mask(Equal("brand", "Zorbix"))).tolist() == [3]
    assert [tokens.tolist() for tokens in view.tokens(np.array([3]))] == [tokens_of([_FRESH])[0].tolist()]
    assert view.popularity(np.array([0, 3, 1])).tolist() == [0.25, 0.5, 0.75] and view.prices(np.array([3])) == [9]


def test_a_word_is_known_in_views_whose_products_hold_it(base: Base) -> None:
    before = base.view([base.build([product("q1", "blue lamp")], unit_vectors(1))])
    read = parser(base).read
    assert read("zorbix", before).terms == ()
    view = base.view([base.build([_FRESH], unit_vectors(1))])
    [term] = read("zorbix", view).terms
    assert base.words.term(term.number) == "zorbix"
    gone = base.view(view.segments[1:], np.array([False, False, False, True]))
    assert read("zorbix", gone).terms == () and read("zorbix", view).terms == (term,)
    assert read("zorbix").terms == () and read("zorbix", before).terms == ()


def test_a_word_that_came_corrects_spelling_and_counts_as_a_brand(base: Base) -> None:
    view = base.view([base.build([_FRESH], unit_vectors(1))])
    read = parser(base).read
    assert read("zorbx hammock", view).spellings == {"zorbx": "zorbix"}
    assert read("zorbix", view).brands == {0}
    assert read("zorbx hammock").spellings == {}


def test_the_more_products_hold_a_new_word_the_less_it_counts(base: Base) -> None:
    one = base.build([_FRESH], unit_vectors(1))
    more = base.build([_FRESH | {"id": f"r{i}"} for i in range(2)], unit_vectors(2))
    scores = []
    for fresh in ([one], [one, more]):
        view = base.view(fresh)
        query = parser(base).read("zorbix", view)
        scores.append(search_view(base.words, view, query, {"title": 1.0}, 9).scores.tolist())
    assert len(set(scores[1])) == 1 and len(scores[1]) == 3
    rarities = [np.log(1 + (3 - held + 0.5) / (held + 0.5)) for held in (1, 3)]
    np.testing.assert_allclose(scores[1][0] / scores[0][0], rarities[1] / rarities[0], rtol=1e-5)


def test_what_does_not_fit_the_release_is_refused(base: Base) -> None:
    with pytest.raises(ValueError, match="1 products, 2 vectors"):
        base.fresh.build([_FRESH], unit_vectors(2), tokens_of([_FRESH]))
    with pytest.raises(ValueError, match="cross-encoder"):
        base.fresh.build([_FRESH], unit_vectors(1))
    vectors = unit_vectors(1)
    vectors[0, 0] = np.nan
    with pytest.raises(ValueError, match="vector 0 holds values that are not finite"):
        base.build([_FRESH], vectors)
