"""Cleans single values: text, numbers, links."""

import html
import math
import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from core.decimals import plain_decimal
from core.strings import fold_text
from indexer.cleaning.rejection import InvalidValue

# Anything that could need work: markup, entities, controls, doubled or outer spaces, letters beyond ASCII.
_SUSPECT = re.compile(r"[<&\x00-\x1f\x7f-\U0010ffff]|  |\A | \Z")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")
_ESCAPED_AMPERSANDS = re.compile(r"&(?:amp;)+")
_PASSES = 8

# Tags are known names, or what else can only be markup; "a <b", "<18V" and "<Medium>" are text. html.parser would
# take all of these for tags, and its answers for broken markup differ between releases of Python.
_INLINE = "a abbr b bdi bdo big cite code dfn em font i ins kbd mark s small span strong sub sup tt u wbr"
_BLOCK = (
    "address article aside audio blockquote body br button canvas caption center col colgroup dd del details div dl dt "
    "fieldset figcaption figure footer form frame frameset h1 h2 h3 h4 h5 h6 head header hr html iframe img input li "
    "label legend link main map meta nav noscript object ol optgroup option p param picture pre q script section "
    "select source strike style summary svg table tbody td template textarea tfoot th thead time title tr "
    "track ul var video"
)
_INLINE_NAMES = frozenset(_INLINE.split())
_NAMES = "|".join(sorted([*_INLINE.split(), *_BLOCK.split()], key=len, reverse=True))
_VALUES = r"""(?:"[^"]*"|'[^']*'|[^'"<>])*+"""
_TAG = re.compile(
    rf"</?(?P<name>{_NAMES})(?:[\s/]{_VALUES})?>"
    rf"|</[a-zA-Z][\w:-]*\s*>"
    rf"|<[a-zA-Z][\w-]*:[\w-]+(?:[\s/]{_VALUES})?>"
    rf"|<[a-zA-Z][\w-]*\s+[\w:-]+\s*=\s*(?=[\"']){_VALUES}>"
    rf"|<!doctype\b[^<>]*>|<\?xml\b[^<>]*>|<!\[CDATA\[|\]\]>",
    re.IGNORECASE,
)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_UNSEEN = re.compile(r"<(?P<tag>script|style)\b(?:\s[^<>]*)?>(?:.*?</(?P=tag)\s*>|.*)", re.IGNORECASE | re.DOTALL)

_NOTHING = frozenset({"", "-", "--", "n/a", "na", "nan", "null", "none", "\\n"})
# What spreadsheets show where a formula fails or a column is narrow.
_FAILED = re.compile(r"#(?:n/a|ref!|value!|name\?|div/0!|null!|num!|spill!|calc!|##+)", re.IGNORECASE)
# Longer texts are not looked at: with spaces around, a word for nothing is rarely longer.
_NOTHING_LIMIT = 12
# How spreadsheets mark text: ="0017" as a formula, a leading apostrophe before digits or what would begin a formula.
_FORMULA_SIGNS = ("=", "'")
_QUOTED_FORMULA = re.compile(r'="((?:[^"]|"")*)"\s*')
_APOSTROPHE = re.compile(r"'(?:[=+@-]|[\d.,\s-]+\Z)")
# Up to here floats hold every whole number, such as an id that a missing value beside it made a float.
_WHOLE_FLOATS = 2**53

_LINK_LIMIT = 4096
_LINK = re.compile(r"https?://[^\s<>\"]+", re.IGNORECASE)


def clean_text(text: str) -> str:
    """Plain text: no markup, entities decoded, NFC, no control characters, spaces folded. Cleaning twice changes
    nothing more.

    Text is often escaped more than once, so decoding goes on until nothing changes; what then still changes after
    eight rounds is no text, and loses its ampersands and angle brackets.
    """
    if not _SUSPECT.search(text):
        return text
    for _ in range(_PASSES):
        before, text = text, _pass(text)
        if text == before:
            return text
    return _pass(re.sub("[<&]", " ", text))


def clip(text: str, limit: int) -> str:
    """At most `limit` characters, cut at a space where one is near. The result of clean text is clean."""
    if len(text) <= limit:
        return text
    cut = text.rfind(" ", limit - limit // 10, limit + 1)
    return text[: cut if cut > 0 else limit].rstrip()


def as_text(value: Any) -> str:
    """A scalar of a feed as text; nothing for None, NaN and words that mean nothing.

    Raises InvalidValue for an object, a list, and bytes that are not UTF-8.
    """
    if isinstance(value, str):
        text = _unquoted(value) if value[:1] in _FORMULA_SIGNS else value
    elif value is None:
        return ""
    else:
        text = _scalar(value)
    return "" if len(text) <= _NOTHING_LIMIT and _is_nothing(text.strip()) else text


def _is_nothing(text: str) -> bool:
    return text.casefold() in _NOTHING or (text[0] == "#" and _FAILED.fullmatch(text) is not None)


def parse_number(value: Any) -> float | None:
    """A finite number, or None for what is none and for a truth value. 1,234 has no one meaning, and is none."""
    if isinstance(value, bool):
        return None
    try:
        number = float(as_text(value))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def clean_link(text: str) -> str | None:
    """An http or https address, or None for anything else and for what is longer than browsers and caches take."""
    if len(text) > _LINK_LIMIT:
        return None
    link = fold_text(_ESCAPED_AMPERSANDS.sub("&", text)).replace(" ", "%20")
    return link if _LINK.fullmatch(link) else None


def _pass(text: str) -> str:
    if "<" in text:
        closed = text.rfind("-->") + 3  # beyond it no comment ends, and looking for its end at every start is slow
        text = _COMMENT.sub(" ", text[:closed]) + text[closed:] if closed > 2 else text
        text = _TAG.sub(_gap, _UNSEEN.sub(" ", text))
    if "&" in text:
        text = _ENTITY.sub(lambda match: html.unescape(match[0]), _ESCAPED_AMPERSANDS.sub("&", text))
    return fold_text(text)


def _gap(tag: re.Match[str]) -> str:
    return "" if (tag["name"] or "").lower() in _INLINE_NAMES else " "


def _unquoted(text: str) -> str:
    """The text that a spreadsheet keeps from being a number or a formula: ="0017", '0017, '-10 C."""
    if quoted := _QUOTED_FORMULA.fullmatch(text):
        return quoted[1].replace('""', '"')
    return text[1:] if _APOSTROPHE.match(text) else text


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if not math.isfinite(value):
            return ""
        if value.is_integer():
            return str(int(value)) if abs(value) < _WHOLE_FLOATS else repr(value)
        return format(value, ".15g")
    if isinstance(value, Decimal):
        return plain_decimal(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidValue("undecodable", f"{value[:40]!r} is not UTF-8") from None
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (Mapping, list, tuple)):
        kind = "an object" if isinstance(value, Mapping) else "a list"
        raise InvalidValue("nested_value", f"{kind} where one value is expected; name a member of it in the mapping")
    return str(value)
