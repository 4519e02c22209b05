"""Masking of what seldom holds personal data: its libraries are loaded once a text looks as if it did."""

import re

# Of what is masked, addresses have an at sign, in one form or another, and numbers six digits or more.
_SUSPICIOUS = re.compile(r"%40|[@\uff20\ufe6b]|\bat\b|(?:\d\D*){6}", re.IGNORECASE)
# Ids that machines make.
_MADE_UP = re.compile(r"[0-9a-f]{16,64}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def mask_if_needed(text: str, country: str = "") -> str:
    """What `mask_personal` makes of it; an id of hexadecimal digits stays."""
    if not _SUSPICIOUS.search(text) or (_MADE_UP.fullmatch(text) and not text.isdecimal()):
        return text
    from text.masking import mask_personal

    return mask_personal(text, country)
