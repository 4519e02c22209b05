import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.text import fold_text

# Ordinary text, and text rich in what goes wrong: combining marks around invisible characters, every sort of space.
_TRICKY = st.text(
    st.sampled_from("eE\u0301\u0323\u200b\u00ad\ufeff \t\n\u00a0\u2028\u3000\u1100\u1161\u11a8\x00\x1f\x85")
)
_TEXTS = st.text() | _TRICKY


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("  red   shoes ", "red shoes"),
        ("red\tshoes\r\nsize 9", "red shoes size 9"),
        ("cafe\u0301", "caf\u00e9"),
        ("a\u00a0b\u3000c", "a b c"),
        ("so\u00adft\u200bware\ufeff", "software"),
        ("nul\x00bell\x07", "nulbell"),
        ("e\u200b\u0301", "\u00e9"),  # what stood apart belongs together
        ("\u0915\u094d\u200d\u0937", "\u0915\u094d\u200d\u0937"),  # joiners stay
        ("\U0001f469\u200d\U0001f52c", "\U0001f469\u200d\U0001f52c"),
        ("\u202eevil\u202c", "evil"),
        (" \n ", ""),
    ],
)
def test_folding_by_hand(given_text: str, expected: str) -> None:
    assert fold_text(given_text) == expected


@given(_TEXTS)
def test_folding_twice_is_folding_once(text: str) -> None:
    once = fold_text(text)
    assert fold_text(once) == once


@given(_TEXTS)
def test_folded_text_is_nfc_without_controls_and_with_single_spaces(text: str) -> None:
    folded = fold_text(text)
    assert unicodedata.is_normalized("NFC", folded)
    assert not [c for c in folded if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]
    assert folded == folded.strip() and "  " not in folded
    assert all(c == " " for c in folded if c.isspace())


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126)))
def test_plain_words_pass_unchanged(text: str) -> None:
    assert fold_text(text) == text
