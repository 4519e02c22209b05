"""Words with signs in them, expected by hand: each way to type a name makes its term."""

import pytest

from text.terms import Analyser


def whole(text: str, language: str = "en") -> list[str]:
    return [word.term for word in Analyser(language).words(text)]


@pytest.mark.parametrize("sign", "'`\u00b4\u02b9\u02bc\u2018\u2019\u2032\u05f3\uff07")
def test_every_apostrophe_is_one(sign: str) -> None:
    assert Analyser("en").terms(f"Arc{sign}teryx") == ["arcteryx", "arc", "teryx"]


@pytest.mark.parametrize(
    ("written", "typed"),
    [
        ("L'Or\u00e9al", "loreal"),
        ("Levi\u2019s", "levis"),
        ("McDonald's", "mcdonalds"),
        ("M.A.C", "mac"),
        ("M.A.C.", "m.a.c"),
        ("o.b.", "ob"),
        ("R.E.M.", "rem"),
        ("U.S.", "us"),
        ("L.L.Bean", "llbean"),
        ("J.Crew", "jcrew"),
        ("H&M", "hm"),
        ("H & M", "h&m"),
        ("AT&T", "att"),
        ("\u0141\u00f3d\u017a", "lodz"),
        ("Sm\u00f8rrebr\u00f8d", "smorrebrod"),
    ],
)
def test_a_name_is_one_word_however_it_is_typed(written: str, typed: str) -> None:
    assert whole(written) == whole(typed)


def test_parts_of_names_are_parts() -> None:
    [name] = Analyser("en").words("L'Or\u00e9al")
    assert name.parts == ("oreal",)
    assert Analyser("en").terms("L.L.Bean") == ["llbean", "ll", "bean"]
    assert Analyser("en").terms("M&M's") == ["mms", "mm", "m", "ms"]


def test_points_and_ampersands_of_words_divide_them() -> None:
    assert whole("Dolce&Gabbana black.white in.x size.m 4&5") == [
        *("dolc", "gabbana", "black", "white", "in", "x", "size", "m", "4", "5")
    ]


def test_an_elided_article_is_cut_off_and_kept_with_its_word() -> None:
    assert Analyser("fr").terms("l'huile d'\u00e9t\u00e9") == ["huil", "lhuil", "ete", "det"]
    assert [word.text for word in Analyser("fr").content("robe d'\u00e9t\u00e9")] == ["robe", "\u00e9t\u00e9"]
    assert "loreal" in Analyser("fr").terms("L'Or\u00e9al") and whole("loreal", "fr") == ["loreal"]
    assert whole("dell\u2019olio", "it") == whole("olio", "it")


@pytest.mark.parametrize("language", ["de", "tr", "tlh"])
def test_what_stands_before_an_apostrophe_and_s_is_found_alone(language: str) -> None:
    assert Analyser(language).terms("Levi's") == [*Analyser(language).terms("levis"), *Analyser(language).terms("levi")]


@pytest.mark.parametrize(("text", "term"), [("C#", "c#"), ("f#", "f#"), ("C++", "c++"), (".NET", ".net"), ("A+", "a+")])
def test_signs_at_short_words_belong_to_them(text: str, term: str) -> None:
    [word] = Analyser("en").words(text)
    assert word.term == term and len(word.parts) == 1


def test_other_signs_at_words_do_not() -> None:
    assert whole("Google+ #10 asp.net #tag black+decker") == ["googl", "10", "asp", "net", "tag", "black", "decker"]


def test_single_letters_beside_each_other_are_no_stop_words() -> None:
    assert [word.text for word in Analyser("en").content("m a c lipstick for a girl")] == [
        *("m", "a", "c", "lipstick", "girl")
    ]
