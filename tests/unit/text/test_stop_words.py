"""Stop words: the lists of bm25s, read without its package."""

import bm25s.stopwords
import pytest

from text.stop_words import stop_words


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", bm25s.stopwords.STOPWORDS_EN),
        ("de", bm25s.stopwords.STOPWORDS_GERMAN),
        ("nb", bm25s.stopwords.STOPWORDS_NORWEGIAN),
        ("zh", bm25s.stopwords.STOPWORDS_CHINESE),
        ("tr", bm25s.stopwords.STOPWORDS_TURKISH),
    ],
)
def test_they_are_those_of_the_library(language: str, expected: tuple[str, ...]) -> None:
    assert stop_words(language) == frozenset(expected) and len(expected) > 30


def test_summer_is_a_word_that_french_shoppers_look_for() -> None:
    assert frozenset(bm25s.stopwords.STOPWORDS_FRENCH) - stop_words("fr") == {"\u00e9t\u00e9", "\u00e9t\u00e9s"}


def test_a_language_without_a_list_has_none() -> None:
    assert stop_words("ja") == stop_words("") == frozenset()
