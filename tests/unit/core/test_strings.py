import time
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.strings import fold_text, query_key, quoted

# Ordinary text, and text rich in what goes wrong: combining marks around invisible characters, every sort of space.
_TRICKY = st.text(
    st.sampled_from("eE\u0301\u0323\u200b\u00ad\ufeff \t\n\u00a0\u2028\u3000\u1100\u1161\u11a8\x00\x1f\x85")
)
# Runs of marks, some of which NFC writes as two or takes out of their order.
_MARKS = st.text(st.sampled_from("ae\u0301\u0323\u0327\u0344\u05b0\u0f71\u0f73\u034f\u09be\u200b "), min_size=20)
_TEXTS = st.text() | _TRICKY | _MARKS


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


@pytest.mark.parametrize(
    ("marks", "kept"),
    [
        ("\u0323" * 16, "\u0323" * 16),
        ("\u0323" * 17, "\u0323" * 16),
        ("\u0301\u0323" * 500, "\u0323" * 8 + "\u0301" * 8),  # in their canonical order, which is by place
        ("\u0344" * 500, "\u0308\u0301" * 8),  # one that NFC writes as two
        ("\u200b\u0323" * 500, "\u0323" * 16),  # what stood apart is one run once it is gone
    ],
)
def test_of_many_marks_on_a_letter_sixteen_stay(marks: str, kept: str) -> None:
    assert fold_text(f"q{marks} q{marks}") == f"q{kept} q{kept}"  # no mark makes one letter with q


def test_stacks_of_real_scripts_stay_whole() -> None:
    for text in ("\u0f68\u0f7c\u0f7e", "\u0e01\u0e35\u0e49", "\u05e9\u05bc\u05c1\u05b8\u0591", "\u1e69\u0328"):
        assert unicodedata.normalize("NFC", text) == fold_text(text)
    assert fold_text("हिन्दी किताबें") == "हिन्दी किताबें"


@pytest.mark.parametrize("fold", [fold_text, query_key])
@pytest.mark.parametrize(
    "unit", ["\u0301\u0323", "\u0344\u0323", "a\u0301\u0323", "\u1112\u1161\u11ab", "\ufdfa ", "1½"]
)
def test_the_time_grows_with_the_length(fold: Callable[[str], str], unit: str) -> None:
    def seconds(length: int) -> float:
        text = "a" + unit * (length // len(unit))
        taken = []
        for _ in range(3):
            start = time.perf_counter()
            fold(text)
            taken.append(time.perf_counter() - start)
        return min(taken)

    # Twelve times the text: some twelve times the time, not 144 times.
    assert seconds(60_000) < 50 * seconds(5_000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("red", "'red'"),
        ("x" * 40, f"'{'x' * 40}'"),
        ("x" * 41, f"'{'x' * 39}…'"),
        ("a\nb\x1b[0m\u202e", r"'a\nb\x1b[0m\u202e'"),
        ("größe 靴", "'größe 靴'"),
    ],
)
def test_a_quote_is_short_and_can_be_printed(text: str, message: str) -> None:
    assert quoted(text) == message and message.isprintable()
