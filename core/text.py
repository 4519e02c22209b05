"""Text as both sides of the service write it: Unicode NFC, no control characters, spaces folded."""

import re
import unicodedata

# Control, format and private characters and surrogates carry no meaning in a product or a query. Joiners stay: several
# scripts need them.
_UNWANTED = re.compile(
    r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffc\ue000-\uf8ff\ud800-\udfff]"
)
_SPACES = re.compile(r"\s+")


def fold_text(text: str) -> str:
    """The same words in NFC, without control characters, with single spaces, trimmed."""
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    # Composed last: what an unwanted character kept apart belongs together once it is gone.
    return _SPACES.sub(" ", unicodedata.normalize("NFC", _UNWANTED.sub("", text))).strip()


def query_key(query: str) -> str:
    """What queries share that differ in case and spaces alone."""
    return fold_text(query).casefold()
