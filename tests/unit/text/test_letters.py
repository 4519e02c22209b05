"""Letters of many scripts, expected by hand: what is typed in several ways is one word."""

import pytest

from text.terms import Analyser

TURKISH = [
    ("I\u015eIKLI", "\u0131\u015f\u0131kl\u0131"),
    ("ISITICI", "Is\u0131t\u0131c\u0131"),
    ("KIRMIZI", "K\u0131rm\u0131z\u0131"),
    ("kirmizi", "K\u0131rm\u0131z\u0131"),
    ("\u0130PEK", "ipek"),
    ("IKEA", "ikea"),
]
SAME = [
    ("he", "\u05d2\u05f3\u05d9\u05e0\u05e1", "\u05d2'\u05d9\u05e0\u05e1"),
    ("he", "\u05d2\u05d9\u05e0\u05e1", "\u05d2'\u05d9\u05e0\u05e1"),
    ("he", "\u05e0\u05e2\u05dc\u05d9", "\u05e0\u05b7\u05e2\u05b2\u05dc\u05b5\u05d9"),
    ("he", "\u05e6\u05d4\u05f4\u05dc", '\u05e6\u05d4"\u05dc'),
    ("ar", "\u0623\u062d\u0645\u0631", "\u0627\u062d\u0645\u0631"),
    ("ar", "\u0645\u0640\u0640\u0648\u0628\u064e\u0627\u064a\u0644", "\u0645\u0648\u0628\u0627\u064a\u0644"),
    ("fa", "\u06a9\u06cc\u0641", "\u0643\u064a\u0641"),
    (
        "fa",
        "\u06a9\u062a\u0627\u0628\u200c\u062e\u0627\u0646\u0647",
        "\u06a9\u062a\u0627\u0628\u062e\u0627\u0646\u0647",
    ),
    ("hi", "\u091c\u093c\u0942\u0924\u0947", "\u091c\u0942\u0924\u0947"),
    ("hi", "\u0938\u093e\u095c\u0940", "\u0938\u093e\u0921\u0940"),
    ("ja", "\uff8a\uff9d\uff76\uff9e\uff70", "\u30cf\u30f3\u30ac\u30fc"),
    ("vi", "\u0111\u1ea7m", "dam"),
    ("el", "\u039a\u0391\u03a6\u0395\u03a3", "\u03ba\u03b1\u03c6\u03ad\u03c2"),
    ("de", "STRASSE", "Stra\u00dfe"),
    ("de", "STRA\u1e9eE", "strasse"),
    ("lt", "\u012e", "\u012f"),
    ("ru", "\u0435\u043b\u043a\u0430", "\u0451\u043b\u043a\u0430"),
    ("en", "\uff37\uff28\uff0d\uff11\uff10\uff10\uff10", "WH-1000"),
]


@pytest.mark.parametrize(("one", "other"), TURKISH)
@pytest.mark.parametrize("language", ["tr", "az-AZ"])
def test_turkish_has_two_kinds_of_i(language: str, one: str, other: str) -> None:
    assert Analyser(language).terms(one) == Analyser(language).terms(other)


def test_a_dotless_i_is_an_i_in_every_language() -> None:
    assert Analyser("en").terms("k\u0131rm\u0131z\u0131 \u0130PEK") == ["kirmizi", "ipek"]


@pytest.mark.parametrize(("language", "one", "other"), SAME)
def test_letters_written_one_for_another_are_one(language: str, one: str, other: str) -> None:
    assert Analyser(language).terms(one) == Analyser(language).terms(other)


@pytest.mark.parametrize(
    "text", ["\u0661\u0662\u066b\u0665 mm", "\u06f1\u06f2\u066b\u06f5 mm", "\u0967\u0968.\u096b mm", "12.5mm"]
)
def test_digits_of_all_scripts_are_numbers(text: str) -> None:
    assert Analyser("en").terms(text) == ["12.5mm", "12.5"]


def test_indic_words_are_whole() -> None:
    for word in ("\u0915\u092a\u0921\u093c\u0947", "\u0938\u094d\u0915\u0930\u094d\u091f", "\u0c1a\u0c40\u0c30"):
        assert len(Analyser("te").words(word)) == 1


def test_products_hold_the_signs_of_words_without_spaces() -> None:
    [tea] = Analyser("zh").words("\u7eff\u8336")
    assert tea.all_terms == ("\u7eff\u8336", "\u7eff", "\u8336")
    assert "\u8336" in {term for word in Analyser("ja").words("\u7dd1\u8336\u306e\u307f") for term in word.all_terms}
    assert "\ucef5" in {term for word in Analyser("ko").words("\uba38\uadf8\ucef5") for term in word.all_terms}


def test_numbers_beside_words_without_spaces_are_numbers() -> None:
    assert [word.term for word in Analyser("zh").words("\u65b0\u6b3e5kg\u7eff\u8336")] == [
        *("\u65b0\u6b3e", "5kg", "\u7eff\u8336")
    ]
    assert "100" in Analyser("ko").terms("100\uac1c\uc785")


def test_products_hold_words_as_they_are_typed_without_accents() -> None:
    """Stems go by accents: Snowball makes cantas of one, and cantasi of the other."""
    [written] = Analyser("tr").words("\u00e7antas\u0131")
    [typed] = Analyser("tr").words("cantasi")
    assert typed.term in written.all_terms
