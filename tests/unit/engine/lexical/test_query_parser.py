"""What a query's words ask of an index."""

import math
from pathlib import Path

import pytest
from wordings import lexical_index, titles

from engine.lexical.index import LexicalIndex
from engine.lexical.query_parser import LexicalQueryParser

TITLES = (
    "dishwasher rack",
    "dish soap",
    "washer hose",
    "cordless drill 20V DCD771C2",
    "cordless drill charger",
    "pair of scissors",
)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> LexicalIndex:
    return lexical_index(tmp_path_factory.mktemp("words"), titles(*TITLES))


def asked(index: LexicalIndex, text: str) -> dict[str, tuple[float, tuple[int, ...]]]:
    query = LexicalQueryParser(index, "en").read(text)
    return {index.terms[term.number]: (pytest.approx(term.weight), term.words) for term in query.terms}


def test_words_ask_for_themselves(index: LexicalIndex) -> None:
    assert asked(index, "the cordless drills") == {"cordless": (1, (0,)), "drill": (1, (1,))}


def test_codes_and_quantities_ask_for_their_parts_too(index: LexicalIndex) -> None:
    assert asked(index, "dcd771c2") == {"dcd771c2": (1, (0,)), "dcd": (0.5, (0,)), "771": (0.5, (0,))}
    assert asked(index, "20 volt") == {"20v": (1, (0,)), "20": (0.5, (0,))}
    assert asked(index, "DCD771X") == {"dcd": (0.5, (0,)), "771": (0.5, (0,))}


def test_neighbours_ask_for_the_word_they_make(index: LexicalIndex) -> None:
    result = asked(index, "dish washer")
    assert result["dishwash"] == (1, (0, 1))
    assert result["dish"] == (1, (0,)) and result["washer"] == (1, (1,))


def test_an_unknown_word_asks_for_the_two_that_it_is_made_of(tmp_path: Path) -> None:
    index = lexical_index(tmp_path, titles(*["drill charger"] * 3))
    assert asked(index, "drillcharger") == {"drill": (1, (0,)), "charger": (1, (0,))}


def test_an_unknown_word_asks_for_those_spelt_nearly_like_it(index: LexicalIndex) -> None:
    assert asked(index, "drlil") == {"drill": (0.7, (0,))}
    assert asked(index, "cordlesss") == {"cordless": (0.7, (0,))}
    assert asked(index, "scisors") == {"scissor": (0.7, (0,))}


def test_short_words_numbers_and_codes_are_not_guessed(index: LexicalIndex) -> None:
    assert asked(index, "owf") == {}
    assert asked(index, "21v 20x") == {"20": (0.5, (1,))}


def test_a_rare_word_beside_a_common_one_is_taken_for_an_error(tmp_path: Path) -> None:
    index = lexical_index(tmp_path, titles(*["cordless drill"] * 50, "cordles saw"))
    assert set(asked(index, "cordles")) == {"cordl", "cordless"}


def test_words_weigh_by_how_few_hold_them(index: LexicalIndex) -> None:
    query = LexicalQueryParser(index, "en").read("cordless soap qqqq")
    assert [word.text for word in query.words] == ["cordless", "soap", "qqqq"]
    assert query.weights == pytest.approx([math.log(1 + (6 - held + 0.5) / (held + 0.5)) for held in (2, 1, 0)])


def test_a_query_of_unknown_words_asks_for_nothing(index: LexicalIndex) -> None:
    query = LexicalQueryParser(index, "en").read("qqqq 999999")
    assert query.terms == () and len(query.words) == 2
    assert len(index.search(query.terms, {"title": 1.0}, 5).rows) == 0


NAMES = (
    ("L'Or\u00e9al shampoo", ("loreal", "l'oreal", "l oreal", "l\u2019Or\u00e9al", "or\u00e9al shampoo")),
    ("Arc'teryx rain jacket", ("arcteryx jacket", "arc teryx")),
    ("M.A.C. lipstick", ("mac", "m.a.c", "m a c", "MAC lipstick")),
    ("Dr. Martens boots", ("dr martens", "dr.martens")),
    ("Levi's 501 jeans", ("levis", "levi's", "levi jeans")),
    ("H&M hoodie", ("hm hoodie", "h&m", "h & m")),
    ("AT&T phone", ("att", "at&t", "at & t")),
    ("U.S. Polo Assn. shirt", ("us polo", "u.s. polo", "u s polo")),
    ("C# book", ("c#", "c# book")),
    ("C++ book", ("c++",)),
    (".NET book", (".net",)),
    ("\u7eff\u8336 200g", ("\u8336", "\u7eff\u8336", "\u7eff\u8336\u8336")),
)
OTHERS = ("C book", "net for hair", "hair shampoo", "floral rain coat", "size m boots", "home phone", "rain jacket")


@pytest.mark.parametrize(("title", "typed"), [(title, typed) for title, ways in NAMES for typed in ways])
def test_a_name_is_found_however_it_is_typed(tmp_path: Path, title: str, typed: str) -> None:
    index = lexical_index(tmp_path, titles(*OTHERS, *(name for name, _ in NAMES)))
    place = len(OTHERS) + [name for name, _ in NAMES].index(title)
    query = LexicalQueryParser(index, "en").read(typed)
    assert index.search(query.terms, {"title": 1.0}, 3).rows[0] == place
    assert not query.spellings


def test_words_that_come_again_count_once(index: LexicalIndex) -> None:
    assert asked(index, "drill drill drills") == asked(index, "drill")
