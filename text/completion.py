"""The key of a suggestion: what a shopper's letters are compared with, however they are typed."""

from collections.abc import Iterator

import regex

from core.strings import fold_text
from text.letters import UNSPACED, lowered, plain, same_letters

MOST_STARTS = 12
"""Places of a suggestion at which what is typed may begin."""

_APOSTROPHES = regex.compile(r"(?<=\p{L})'(?=\p{L})")
_BETWEEN_WORDS = regex.compile(r"[^\p{L}\p{M}\p{N}]+")
_UNSPACED_SIGN = regex.compile(rf"[{UNSPACED}]")


def completion_key(text: str, language: str = "") -> str:
    """Words in lower case without accents and signs, between single spaces; empty where there is none.

    `language` is a primary subtag of BCP 47. Takes time that grows with the length.
    """
    text = _APOSTROPHES.sub("", lowered(fold_text(text), language))
    return _BETWEEN_WORDS.sub(" ", plain(same_letters(text))).strip()


def prefix_key(prefix: str, language: str = "") -> str:
    """The same for what is typed so far: a space in the end stays, as the last word is whole."""
    key = completion_key(prefix, language)
    return f"{key} " if key and prefix[-1:].isspace() else key


def starts(key: str) -> Iterator[int]:
    """Where the first words of a key start, in characters; in scripts without spaces each sign is one."""
    count, before = 0, " "
    for place, sign in enumerate(key):
        if before == " " or _UNSPACED_SIGN.match(sign):
            yield place
            count += 1
            if count == MOST_STARTS:
                return
        before = sign
