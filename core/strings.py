"""Text as both sides of the service write it: Unicode NFC, no control characters, spaces folded."""

import re
import unicodedata

import regex

# Control, format and private characters and surrogates carry no meaning in a product or a query. Joiners stay: several
# scripts need them.
_UNWANTED = re.compile(
    r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffc\ue000-\uf8ff\ud800-\udfff]"
)
_SPACES = re.compile(r"\s+")
# No script puts so many marks on one letter, and normalising takes time that grows with the square of their number.
_MOST_MARKS = 16
_MORE_MARKS = regex.compile(rf"(\p{{M}}{{{_MOST_MARKS}}})\p{{M}}+")

_QUOTED = 40


def fold_text(text: str) -> str:
    """The same words in NFC, without control characters, with single spaces, trimmed; in time that grows with length.

    Of more than 16 combining marks in a row the first 16 stay.
    """
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    # Composed last: what an unwanted character kept apart belongs together once it is gone.
    composed = unicodedata.normalize("NFC", _few_marks(_UNWANTED.sub("", text)))
    return _SPACES.sub(" ", _few_marks(composed)).strip()  # once more, since NFC writes some marks as two


def query_key(query: str) -> str:
    """What queries share that differ in case and spaces alone."""
    return fold_text(query).casefold()


def quoted(text: str) -> str:
    """A caller's text as a message quotes it: 40 characters at most, what cannot be printed escaped."""
    return repr(text if len(text) <= _QUOTED else text[: _QUOTED - 1] + "…")


def _few_marks(text: str) -> str:
    return _MORE_MARKS.sub(r"\1", text)
