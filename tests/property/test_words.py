"""Whatever a feed or a shopper writes, words can be made of it, and the same ones however it is encoded."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from text.quantities import number, prepared, quantities
from text.terms import Analyser

ENGLISH = Analyser("en")
LANGUAGES = [ENGLISH, *map(Analyser, ("de", "fr", "zh", "ja", "ar", "xx"))]
TEXTS = st.text(max_size=60) | st.text("0123456789 xX./-,'\"\u00bdinftvab%", max_size=40)


@given(TEXTS, st.sampled_from(LANGUAGES))
def test_terms_are_never_empty_and_hold_no_space(text: str, analyser: Analyser) -> None:
    for word in analyser.words(text):
        for term in (word.term, *word.parts):
            assert term
            assert not any(character.isspace() for character in term)


@given(TEXTS)
def test_composed_and_decomposed_text_have_the_same_words(text: str) -> None:
    assert ENGLISH.terms(unicodedata.normalize("NFD", text)) == ENGLISH.terms(unicodedata.normalize("NFC", text))


@given(TEXTS)
def test_a_query_has_words_wherever_its_text_has(text: str) -> None:
    assert bool(ENGLISH.content(text)) == bool(ENGLISH.words(text))


@given(st.integers(1, 999), st.integers(1, 63), st.integers(2, 64), st.sampled_from(["in.", "inch", '"', "-inch"]))
def test_fractions_mean_their_value(whole: int, top: int, bottom: int, unit: str) -> None:
    [quantity] = quantities(prepared(f"{whole}-{top}/{bottom} {unit}".replace(" -", "-").replace(' "', '"')))
    assert quantity.unit == "in"
    assert abs(quantity.value - (whole + top / bottom)) < 1e-9


@given(st.floats(0, 99_999, allow_nan=False))
def test_a_number_is_read_as_it_is_written(value: float) -> None:
    text = number(value)
    result = quantities(prepared(f"a {text} b"))
    assert [number(quantity.value) for quantity in result] == [text]
