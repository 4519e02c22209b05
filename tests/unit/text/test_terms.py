"""Words of several languages, expected by hand; stems are Snowball's."""

import pytest

from text.letters import plain
from text.terms import Analyser


def analysed(text: str, language: str = "en") -> list[tuple[str, tuple[str, ...]]]:
    return [(word.term, word.parts) for word in Analyser(language).words(text)]


def test_words_are_stemmed_and_lose_case_and_accents() -> None:
    assert analysed("Men\u2019s Caf\u00e9 drills") == [("men", ()), ("cafe", ()), ("drill", ())]


def test_words_with_hyphens_are_whole_and_in_parts() -> None:
    assert analysed("heavy-duty T-shirt") == [("heavyduti", ("heavi", "duti")), ("tshirt", ("shirt",))]


def test_slashes_and_points_divide_words() -> None:
    assert analysed("black/white") == [("black", ()), ("white", ())]


@pytest.mark.parametrize(
    ("code", "whole", "parts"),
    [
        ("DCD771C2", "dcd771c2", ("dcd", "771")),
        ("WH-1000XM4", "wh1000xm4", ("wh", "1000xm4", "1000", "xm")),
        ("48-11-1850", "48111850", ("48", "11", "1850")),
        ("0123456789012", "0123456789012", ()),
    ],
)
def test_model_numbers_are_whole_and_in_parts(code: str, whole: str, parts: tuple[str, ...]) -> None:
    assert analysed(code) == [(whole, parts)]


def test_quantities_have_one_form_and_their_number_is_a_part() -> None:
    assert analysed("20 Volt") == analysed("20V") == [("20v", ("20",))]


def test_a_size_comes_as_its_numbers_and_as_a_whole() -> None:
    assert analysed("2 x 4 lumber") == [("2", ()), ("4", ()), ("lumber", ()), ("2x4", ())]
    assert analysed("1x2x3")[-1] == ("1x2x3", ("1x2", "2x3"))


def test_chinese_is_segmented() -> None:
    assert [term for term, _ in analysed("\u65e0\u7ebf\u84dd\u7259\u8033\u673a", "zh")] == [
        "\u65e0\u7ebf",
        "\u84dd\u7259",
        "\u8033\u673a",
    ]


@pytest.mark.parametrize("text", ["DCD771C2", "xr-500b", "4006381333931", "he6000/28", "12345678"])
def test_codes(text: str) -> None:
    assert [word.is_code for word in Analyser("en").words(text)] == [True]


@pytest.mark.parametrize("text", ["34x80", "2 x 4", "1/2", "18V", "2024", "1234567", "drill", "r2d2", "500 ml"])
def test_sizes_quantities_and_years_are_no_codes(text: str) -> None:
    assert not any(word.is_code for word in Analyser("en").words(text))


@pytest.mark.parametrize(
    ("text", "language", "terms"),
    [
        ("\u30ef\u30a4\u30e4", "ja", ["\u30ef\u30a4", "\u30a4\u30e4"]),
        ("\uc774\uc5b4\ud3f0", "ko", ["\uc774\uc5b4", "\uc5b4\ud3f0"]),
        ("\u0e2b\u0e39\u0e1f", "th", ["\u0e2b\u0e39", "\u0e39\u0e1f"]),
    ],
)
def test_other_scripts_without_spaces_come_in_pairs(text: str, language: str, terms: list[str]) -> None:
    assert [term for term, _ in analysed(text, language)] == terms


def test_french_articles_are_cut_off() -> None:
    assert [word.term for word in Analyser("fr-FR").content("l'eau pour les enfants")] == ["eau", "enfant"]


def test_stop_words_are_left_out_of_queries_unless_there_are_no_others() -> None:
    english = Analyser("en")
    assert [word.text for word in english.content("the drill")] == ["drill"]
    assert [word.text for word in english.content("to the")] == ["to", "the"]
    assert english.terms("the drill") == ["the", "drill"]


def test_an_unknown_language_is_not_stemmed() -> None:
    assert analysed("drills", "tlh") == [("drills", ())]


def test_marks_of_scripts_that_need_them_stay() -> None:
    assert plain("\u0439") == "\u0439"
    assert analysed("\u0939\u093f\u0928\u094d\u0926\u0940", "xx") == [("\u0939\u093f\u0928\u094d\u0926\u0940", ())]
