"""Ids and trade item numbers, also as spreadsheets and number columns write them."""

import re
import unicodedata
from decimal import Decimal
from typing import Any

from indexer.cleaning.rejection import InvalidValue
from indexer.cleaning.text import as_text

ID_LIMIT = 256
_SHOWN = 40
# A mark of byte order, where files were joined.
_MARK = "\ufeff"

_SCIENTIFIC = re.compile(r"(\d(?:[.,]\d+)?)[eE]\+?(\d{1,2})")
_FLOAT = re.compile(r"(\d+)[.,]0+")
_GROUPED = re.compile(r"\d{1,3}(?:([,.' ])\d{3})(?:\1\d{3})*")
_COMMAS = re.compile(r"\d{1,3}(?:,\d{3})*")
_SPACES = re.compile(r"[\s\u200b-\u200d\u2060\ufeff\u2010-\u2015-]")


def parse_id(value: Any) -> str:
    """An id as it stands, but for what a spreadsheet put around it. Raises InvalidValue for what cannot be one."""
    text = as_text(value).lstrip(_MARK).strip()
    if text.startswith("'") and "'" not in text[1:]:
        text = text[1:].strip()
    if not text:
        raise InvalidValue("no_id", "the id is empty")
    if len(text) > ID_LIMIT:
        raise InvalidValue("bad_id", f"the id has {len(text)} characters, more than {ID_LIMIT}")
    if not text.isprintable() and any(unicodedata.category(letter) in {"Cc", "Cs"} for letter in text):
        raise InvalidValue("bad_id", f"the id {text!r} holds control characters")
    return plain_number(text)


def plain_number(code: str) -> str:
    """The digits of a code that a spreadsheet wrote as 4.006381333931E+12; any other code unchanged.

    Raises InvalidValue where digits were rounded away, since several products would share what is left.
    """
    scientific = _SCIENTIFIC.fullmatch(code) if "+" in code else None
    return _whole(scientific[1], scientific[2], code) if scientific else code


def parse_gtin(value: Any) -> str | None:
    """A GTIN-8, 12, 13 or 14 as digits. Raises InvalidValue where the check digit or the length is wrong.

    Zeros that a spreadsheet took from its front are put back. Check digit: GS1 General Specifications, 7.9.
    """
    text = as_text(value).strip().strip("'")
    if not text:
        return None
    if len(text) > _SHOWN:
        raise InvalidValue("bad_gtin", f"{text[:_SHOWN]!r}... is no GTIN")
    if scientific := _SCIENTIFIC.fullmatch(text):
        text = _whole(scientific[1], scientific[2], text)
    elif (number := _FLOAT.fullmatch(text)) and len(number[1]) > 3:
        text = number[1]
    elif grouped := _GROUPED.fullmatch(text):
        text = text.replace(grouped[1], "")
    digits = _SPACES.sub("", text)
    if not (7 <= len(digits) <= 14 and digits.isascii() and digits.isdigit()) or not int(digits):
        raise InvalidValue("bad_gtin", f"{text!r} is no GTIN: it has 8, 12, 13 or 14 digits")
    full = digits.zfill(14)
    weighted = sum(int(d) * (3, 1)[i % 2] for i, d in enumerate(full[:-1]))
    if (weighted + int(full[-1])) % 10:
        raise InvalidValue("bad_gtin", f"{text!r} is no GTIN: its check digit is wrong")
    return digits.zfill(next(n for n in (8, 12, 13, 14) if n >= len(digits)))


def _whole(mantissa: str, exponent: str, text: str) -> str:
    """The whole number that 4.006381333931E+12 writes. Raises InvalidValue where digits were rounded away."""
    if len(re.sub(r"[.,]", "", mantissa)) <= int(exponent):
        raise InvalidValue("rounded_number", f"a spreadsheet rounded {text!r}; export the column as text")
    return str(int(Decimal(mantissa.replace(",", ".")).scaleb(int(exponent))))


class CodeSpelling:
    """Detects codes that a number column or a spreadsheet spelt as numbers: 1001.0, or 1,001.

    A single such code may be right; where all codes end or are grouped alike, none is.
    """

    def __init__(self) -> None:
        self._ending: str | None = None
        self._floats = self._groups = True
        self._grouped = False

    def add(self, code: str) -> None:
        """Adds one code of the column."""
        if self._floats:
            number = _FLOAT.fullmatch(code)
            ending = code[len(number[1]) :] if number else ""
            self._floats = bool(ending) and self._ending in (None, ending)
            self._ending = ending
        if self._groups:
            match = _COMMAS.fullmatch(code)
            self._groups = match is not None
            self._grouped = self._grouped or "," in code

    @property
    def surplus(self) -> str | None:
        """A regular expression that matches the text to remove from every code; None where there is none."""
        if self._floats and self._ending:
            return re.escape(self._ending) + "$"
        return "," if self._groups and self._grouped else None
