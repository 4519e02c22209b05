"""Whatever is typed, negations are read without an error, and nothing is made up."""

from hypothesis import given
from hypothesis import strategies as st

from text.negation import affirmed, read_negations
from text.negation_words import NEGATION_WORDS

_LANGUAGES = st.sampled_from([*NEGATION_WORDS, "nb", "ja", "", "en-US"])
_WORDS = st.sampled_from(
    ["without", "no", "not", "w/o", "or", "and", ",", "/", "a", "free", "of", "sans", "d'", "pas", "ohne", "kein", "5",
     "red", "arms", "chair", "sugar-free", "\u0130", "(", ".", "with", "sin", "ni", "no.", "non-"]
)  # fmt: skip
_TEXTS = st.text(max_size=300) | st.lists(_WORDS, max_size=60).map(" ".join)


@given(_TEXTS, _LANGUAGES)
def test_what_is_left_and_what_is_negated_are_words_of_the_query(text: str, language: str) -> None:
    negations = read_negations(text, language)
    if not negations.phrases:
        assert negations.rest == text
        return
    assert any(character.isalnum() for character in negations.rest)
    assert all(phrase and phrase in text for phrase in negations.phrases)
    assert sum(map(len, negations.phrases)) + len(negations.rest) <= len(text)


@given(_TEXTS, _LANGUAGES)
def test_nothing_is_added_to_a_product(text: str, language: str) -> None:
    kept = affirmed(text, language)
    assert kept == text or len(kept) < len(text)
