"""Tokenises by remembering words: what a WordPiece tokenizer makes of a text is what it makes of its words, in turn.

The words of a shop are few and come again, so nearly all are looked up, at some thirty times the speed of cutting each
anew. That holds where nothing the tokenizer does reaches over a space; other tokenizers are called directly.
"""

import json
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

Tokenize: TypeAlias = Callable[[list[str]], list[NDArray[np.int32]]]

_KIND = np.dtype(np.int32)
_MOST_WORDS = 1 << 17  # about 150 bytes each: 20 MB, though shoppers' words never end
_LONGEST_WORD = 64  # letters: longer ones are rare and not kept
_PROBE = "a"


def tokenizing(tokenizer: Tokenizer, longest: int, special: bool) -> Tokenize:
    """What gives the token ids of each text, shape (t,), t at most `longest`, cut at the end.

    `special` has the tokens that stand around a text put there, and counted. The tokenizer is set up for it.
    """
    head, tail = _around(tokenizer) if special else (b"", b"")
    if _by_words(tokenizer) and longest * _KIND.itemsize > len(head) + len(tail):
        tokenizer.no_truncation()
        return _Remembering(tokenizer, longest, head, tail)
    tokenizer.enable_truncation(longest)

    def ask(texts: list[str]) -> list[NDArray[np.int32]]:
        return [
            np.array(encoding.ids, _KIND) for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=special)
        ]

    return ask


class _Words(dict[str, bytes]):
    """The ids of each word, as the bytes of an array, so that a text's are joined in one call."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def __missing__(self, word: str) -> bytes:
        ids = np.array(self._tokenizer.encode(word, add_special_tokens=False).ids, _KIND).tobytes()
        if len(word) <= _LONGEST_WORD:
            if len(self) >= _MOST_WORDS:
                self.clear()
            self[word] = ids
        return ids


class _Remembering:
    """Any number of threads may call it at once."""

    def __init__(self, tokenizer: Tokenizer, longest: int, head: bytes, tail: bytes) -> None:
        self._words = _Words(tokenizer)
        self._head = head
        self._tail = tail
        self._room = longest * _KIND.itemsize - len(tail)

    def __call__(self, texts: list[str]) -> list[NDArray[np.int32]]:
        ids, head, tail, room = self._words.__getitem__, self._head, self._tail, self._room
        return [np.frombuffer((head + b"".join(map(ids, text.split(" "))))[:room] + tail, _KIND) for text in texts]


def _around(tokenizer: Tokenizer) -> tuple[bytes, bytes]:
    """The ids of the special tokens before and after a text, as bytes."""
    tokenizer.no_truncation()
    probe = tokenizer.encode(_PROBE)
    inside = [place for place, side in enumerate(probe.sequence_ids) if side is not None]
    ids = np.array(probe.ids, _KIND)
    return (ids[: inside[0]].tobytes(), ids[inside[-1] + 1 :].tobytes()) if inside else (ids.tobytes(), b"")


def _by_words(tokenizer: Tokenizer) -> bool:
    """Whether it is BERT's: letters normalised one by one, then cut at spaces and punctuation."""
    settings = json.loads(tokenizer.to_str())
    parts = [(settings[name] or {}).get("type") for name in ("normalizer", "pre_tokenizer", "model")]
    plain = not any(entry["lstrip"] or entry["rstrip"] or " " in entry["content"] for entry in settings["added_tokens"])
    return parts == ["BertNormalizer", "BertPreTokenizer", "WordPiece"] and plain
