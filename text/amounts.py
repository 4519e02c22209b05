"""A text that is one number with its unit, as attributes of products have it: 18 V, 2,5 kg, -20 °C, 3/4 in."""

import re
from dataclasses import dataclass

from text.quantities import canonical_unit, prepared

_LONGEST = 64  # no longer text is one number
_DIGITS = 15  # a float has no more
_UNIT_CHARACTERS = 16
_MINUS = "\N{MINUS SIGN}"
_AMOUNT = re.compile(
    rf"""(?P<sign>[-+{_MINUS}]?)\s?
        (?: (?:(?P<whole>\d{{1,4}})[ -])?(?P<top>\d{{1,2}})\s?/\s?(?P<bottom>[1-9]\d?)
          | (?P<grouped>[1-9]\d{{0,2}}(?:,\d{{3}})+(?:\.\d+)?) | (?P<comma>\d+,\d{{1,2}})
          | (?P<plain>\d+(?:\.\d+)?|\.\d+) )
        (?P<unit>[ -]?(?!e\d)(?:[^\W\d_]|["'°%€$£µ])(?:(?<=[^\W\d_])\d(?!\d)|[^\w\s]|[^\W\d_]|\s(?!\d))*)?\s*""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Amount:
    """A number and its unit, '' without one."""

    value: float
    unit: str


def read_amount(text: str, language: str = "") -> Amount | None:
    """The number that a text is as a whole; None for any other text, for codes such as 0017 and for ranges.

    A unit that is not known is returned as it stands, in lower case.
    """
    if len(text) > _LONGEST:
        return None
    match = _AMOUNT.fullmatch(prepared(text, language).strip())
    if match is None:
        return None
    if match["top"]:
        value = int(match["whole"] or 0) + int(match["top"]) / int(match["bottom"])
    else:
        digits = match["plain"] or (match["comma"] or "").replace(",", ".") or match["grouped"].replace(",", "")
        if len(digits) > _DIGITS or re.match(r"0\d", digits):
            return None
        value = float(digits)
    unit = (match["unit"] or "").strip(" -.")
    if len(unit) > _UNIT_CHARACTERS:
        return None
    return Amount(-value if match["sign"] in ("-", _MINUS) else value, canonical_unit(unit) or unit)
