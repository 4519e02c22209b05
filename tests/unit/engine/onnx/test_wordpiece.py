"""Tokens by remembered words against the tokenizer itself, for any text; and when the tokenizer is asked instead."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer, Whitespace
from tokenizers.processors import TemplateProcessing

from engine.onnx.wordpiece import _LONGEST_WORD, tokenizing

PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *"abcde\u03c3\u03c212.,-\u00fc\u4e2d",
    *(f"##{c}" for c in "abcde\u03c3\u03c212\u00fc"),
    "cab",
    "##ab",
]
ALPHABET = "aAbBcCdDeE\u03c3\u03a3\u03c212.,-\u00fc\u00dc\u00c9\u4e2d \t\n\u00a0\u0301\x1c\u200b"


def bert(**given: Any) -> Tokenizer:
    """With padding and truncation, as published ones have them."""
    tokenizer = Tokenizer(WordPiece({piece: i for i, piece in enumerate(PIECES)}, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(**given)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.enable_truncation(7)
    return tokenizer


def asked(tokenizer: Tokenizer, texts: list[str], longest: int, special: bool) -> list[list[int]]:
    tokenizer.enable_truncation(longest)
    return [tokenizer.encode(text, add_special_tokens=special).ids for text in texts]


TEXTS = st.lists(st.text(ALPHABET) | st.text() | st.sampled_from(["[MASK]", "a[SEP]b", "[SEP] [CLS]", ""]), max_size=6)
SAME = tokenizing(bert(), 9, special=True)
ALONE = tokenizing(bert(lowercase=False), 6, special=False)


@given(TEXTS)
def test_tokens_are_the_tokenizers_own(texts: list[str]) -> None:
    assert [ids.tolist() for ids in SAME(texts)] == asked(bert(), texts, 9, True)
    assert [ids.tolist() for ids in ALONE(texts)] == asked(bert(lowercase=False), texts, 6, False)


def test_words_are_remembered_and_long_ones_are_not() -> None:
    tokenize = tokenizing(bert(), 200, special=True)
    long = "a" * (_LONGEST_WORD + 1)
    for _ in range(2):
        assert tokenize([f"cab {long}"])[0].tolist() == asked(bert(), [f"cab {long}"], 200, True)[0]
    assert set(tokenize._words) == {"cab"}  # type: ignore[attr-defined]


def test_memory_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.onnx.wordpiece._MOST_WORDS", 3)
    tokenize = tokenizing(bert(), 20, special=True)
    for text in ("a b c", "d e a", "b c d"):
        assert tokenize([text])[0].tolist() == asked(bert(), [text], 20, True)[0]
        assert len(tokenize._words) <= 3  # type: ignore[attr-defined]


def test_another_kind_of_tokenizer_is_asked_itself() -> None:
    tokenizer = bert()
    tokenizer.pre_tokenizer = Whitespace()
    tokenize = tokenizing(tokenizer, 5, special=True)
    assert not hasattr(tokenize, "_words")
    assert [ids.tolist() for ids in tokenize(["a b c d e", ""])] == asked(tokenizer, ["a b c d e", ""], 5, True)
