"""Numbers with their units, as shops write them: 18V, 1-1/2 in., 2 x 4, 6-pack.

Every spelling of a unit has one name, and every way to write a number one form, so that a query matches
a title. Units are not converted: 12 in. and 1 ft. stay two quantities.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from text.letters import lowered, same_letters

# Canonical unit: its spellings, casefolded.
_SPELLINGS: dict[str, str] = {
    "in": 'in inch inches " zoll pulgada pulgadas pouce pouces',
    "ft": "ft foot feet '",
    "yd": "yd yard yards",
    "mil": "mil mils",
    "mm": "mm millimeter millimeters millimetre millimetres",
    "cm": "cm centimeter centimeters centimetre centimetres zentimeter",
    "m": "m meter meters metre metres mtr",
    "km": "km",
    "sqft": "sqft",
    "cuft": "cuft",
    "lb": "lb lbs pound pounds",
    "oz": "oz ounce ounces",
    "floz": "floz",
    "g": "g gram grams gramm gramme grammes gr",
    "kg": "kg kilogram kilograms kilo kilos",
    "mg": "mg",
    "gal": "gal gallon gallons",
    "qt": "qt quart quarts",
    "pt": "pt pint pints",
    "l": "l liter liters litre litres ltr",
    "ml": "ml milliliter milliliters millilitre millilitres",
    "cl": "cl",
    "v": "v volt volts vac vdc",
    "w": "w watt watts",
    "kw": "kw kilowatt kilowatts",
    "a": "a amp amps ampere amperes",
    "ah": "ah amp-hour amp-hours",
    "mah": "mah",
    "hz": "hz hertz",
    "khz": "khz",
    "mhz": "mhz",
    "ghz": "ghz",
    "db": "db decibel decibels",
    "hp": "hp horsepower",
    "btu": "btu btus",
    "cfm": "cfm",
    "gpm": "gpm",
    "gpf": "gpf",
    "psi": "psi",
    "bar": "bar",
    "rpm": "rpm",
    "mph": "mph",
    "lm": "lm lumen lumens",
    "k": "k kelvin",
    "ga": "ga gauge awg",
    "grit": "grit",
    "tpi": "tpi",
    "deg": "deg degree degrees °",
    "pct": "% percent",
    "kb": "kb",
    "mb": "mb megabyte megabytes",
    "gb": "gb gigabyte gigabytes go",
    "tb": "tb terabyte terabytes to",
    "mp": "mp megapixel megapixels mpx",
    "dpi": "dpi",
    "px": "px pixel pixels",
    "pack": "pack packs pk pck count ct pc pcs piece pieces stück stk",
    "pair": "pair pairs pr",
    "light": "light lights",
    "den": "den denier",
    "month": "month months",
    "year": "year years yr yrs",
}
_UNITS = {spelling: unit for unit, spellings in _SPELLINGS.items() for spelling in spellings.split()}
# Letters that name a unit only when they stand right at the number: '18 a' is rarely ampere, '4 to 6' never terabytes.
_CLOSE = {"a", "k", "g", "go", "to", "m", "l", "v", "w", "bar", "pt", "pr", '"', "'", "%", "°"}
_SQUARED = re.compile(r"\b(?:sq(?:uare)?|cu(?:bic)?)\b\.?[ -]?(?:ft|foot|feet)\b\.?")
_FLUID = re.compile(r"\bfl(?:uid)?\b\.?[ -]?(?:oz|ounces?)\b\.?")

_FRACTIONS = {chr(code): text for code, text in zip(range(0xBC, 0xBF), ("1/4", "1/2", "3/4"), strict=True)} | {
    chr(code): text
    for code, text in zip(
        range(0x2153, 0x215F),
        ("1/3", "2/3", "1/5", "2/5", "3/5", "4/5", "1/6", "5/6", "1/8", "3/8", "5/8", "7/8"),
        strict=True,
    )
}
_VULGAR = re.compile(rf"(\d?)\s?([{''.join(_FRACTIONS)}])")
_NUMBER = re.compile(
    r"""(?<![\w/.,-])
        (?: (?:(?P<whole>\d{1,3})[ -])?(?P<top>\d{1,2})\s?/\s?(?P<bottom>[1-9]\d?)(?![\d/])
          | (?P<decimal>\d{1,3}(?:,\d{3})+(?:\.\d+)?|(?:0|[1-9]\d{0,5})?\.\d{1,4}
             |(?:0|[1-9]\d{0,5}),\d{1,2}|0|[1-9]\d{0,5})(?![\d/]|[.,]\d)
        )
    """,
    re.VERBOSE,
)
_UNIT = re.compile(r"(?P<gap>[ -]?)(?P<unit>[^\W\d_]+(?:-hours?)?|[\"'°%])(?!\w|-\d)")
_COMMA = re.compile(r",\d{1,2}$")  # in thousands three digits follow it
_CODE = re.compile(r"[-_./]?\w")
_JOINED = re.compile(r"(?<=\d)[x*](?=[\d.])")
_TIMES = re.compile(r"\.?\s*(?:[wdhl]\b\.?)?\s*(?:[x*]|\bby\b)\s*")


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number and its unit ('' without one). `start` and `end` are places in the prepared text."""

    value: float
    unit: str
    start: int
    end: int

    @property
    def term(self) -> str:
        """As one word: `0.5in`, `18v`, `6pack`."""
        return f"{number(self.value)}{self.unit}"


def prepared(text: str, language: str = "") -> str:
    """Text in lower case, as the language has it (a primary subtag of BCP 47), and in NFKC, in which vulgar fractions,
    units of several words, '2x4' and the letters of `text/letters.py` are written one way."""
    text = lowered(text, language)
    if not text.isascii():
        # Before NFKC, which would make 21/2 of two and a half.
        text = same_letters(_VULGAR.sub(_written_out, text))
    text = _JOINED.sub(" x ", text)
    text = _SQUARED.sub(lambda match: "cuft" if match[0].startswith("cu") else "sqft", text)
    return _FLUID.sub("floz", text)


def quantities(text: str) -> list[Quantity]:
    """The numbers of a prepared text, in their order, each with its unit."""
    return list(_quantities(text))


def dimensions(amounts: list[Quantity], text: str) -> list[tuple[Quantity, ...]]:
    """Runs of two or more quantities with an x between them: '2 x 4', '5/8 in. x 4 ft. x 8 ft.'."""
    runs: list[list[Quantity]] = []
    for before, after in itertools.pairwise(amounts):
        if not _TIMES.fullmatch(text, before.end, after.start):
            continue
        if runs and runs[-1][-1] is before:
            runs[-1].append(after)
        else:
            runs.append([before, after])
    return [tuple(run) for run in runs]


def between(text: str) -> bool:
    """Whether a text is no more than the x of a size."""
    return _TIMES.fullmatch(text) is not None


def number(value: float) -> str:
    """The shortest decimal of a number, at most four places: 0.5, 18, 1.625."""
    return f"{value:.4f}".rstrip("0").rstrip(".")


def canonical_unit(spelling: str) -> str:
    """The name of a unit by one of its spellings in lower case; empty where it is none."""
    return _UNITS.get(spelling, "")


def _quantities(text: str) -> Iterator[Quantity]:
    for match in _NUMBER.finditer(text):
        unit, end = _unit(text, match.end())
        if unit or not _CODE.match(text, end):  # else it is part of a code, as in 48-11-1850
            yield Quantity(_value(match), unit, match.start(), end)


def _written_out(match: "re.Match[str]") -> str:
    before, fraction = match.groups()
    return f"{before}-{_FRACTIONS[fraction]}" if before else f" {_FRACTIONS[fraction]}"


def _value(match: "re.Match[str]") -> float:
    if match["decimal"]:
        decimal = match["decimal"]
        return float(decimal.replace(",", "." if _COMMA.search(decimal) else ""))
    return int(match["whole"] or 0) + int(match["top"]) / int(match["bottom"])


def _unit(text: str, end: int) -> tuple[str, int]:
    after = _UNIT.match(text, end)
    if not after:
        return "", end
    spelling = after["unit"]
    unit = _UNITS.get(spelling)
    if unit is None or (after["gap"] and spelling in _CLOSE and not (spelling in "vw" and after["gap"] == " ")):
        return "", end
    return unit, after.end()
