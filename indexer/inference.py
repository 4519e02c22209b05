"""The type of an attribute, by the values that products have."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catalog.columns import Kind
from catalog.masks import read_date
from core.filters import timestamp
from text.amounts import Amount, read_amount

LOOKED_AT = 5000  # different values of a field, of which its type is inferred
_SHARE = 0.95  # of products whose value has to be of the type
_MULTIPLE_SHARE = 0.02  # of products with several values, from which on they are a set
_RECURRING_SHARE = 2 / 3  # of the parts, which have to occur in another value too
_PART_CHARACTERS = 40  # on average; longer parts are sentences
# A comma or a slash between digits makes a number, a fraction or a range: 2,5 and 1/2 and 36/38.
_SEPARATORS = {
    "|": re.compile(r"\s*\|\s*"),
    ";": re.compile(r"\s*;\s*"),
    ",": re.compile(r"\s*,\s+|(?<!\d)\s*,|\s*,(?!\d)"),
}
_LISTED = re.compile(r"\s*[|;]\s*|\s*,\s+|(?<!\d)\s*[,/]\s*|\s*[,/]\s*(?!\d)")
LISTED_NAME = "list"
_ANY_SIGN = re.compile("|".join(pattern.pattern for pattern in _SEPARATORS.values()))
_CODE = re.compile(r"0\d+")
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d.*)?")
_TRUE = {"yes", "y", "true"}
_FALSE = {"no", "n", "false"}
# Yes and no by language; English ones are read in every catalog.
_YES_NO = {
    "de": ("ja", "nein"),
    "fr": ("oui", "non"),
    "es": ("sí si", "no"),
    "it": ("sì si", "no"),
    "nl": ("ja", "nee"),
    "pt": ("sim", "não nao"),
    "sv": ("ja", "nej"),
    "da": ("ja", "nej"),
    "no": ("ja", "nei"),
    "nb": ("ja", "nei"),
    "fi": ("kyllä", "ei"),
    "pl": ("tak", "nie"),
    "cs": ("ano", "ne"),
    "tr": ("evet", "hay\N{LATIN SMALL LETTER DOTLESS I}r"),
    "ru": ("да", "нет"),
    "ja": ("はい", "いいえ"),
    "zh": ("是", "否"),
}


@dataclass(frozen=True, slots=True)
class InferredType:
    """`unit` is of numbers; `separator` splits a set's values."""

    kind: Kind
    unit: str = ""
    separator: re.Pattern[str] | None = None


def infer_type(values: Sequence[str], counts: NDArray[np.int64], language: str) -> InferredType:
    """The type of v different values, of which `counts`, shape (v,), has how many products have each."""
    if all(read_boolean(text, language) is not None for text in values):
        return InferredType(Kind.boolean)
    enough = _SHARE * counts.sum()
    unit, unit_count = _commonest_unit([read_amount(text, language) for text in values], counts)
    if unit_count >= enough and not any(_CODE.fullmatch(text) for text in values):
        return InferredType(Kind.number, unit)
    dated = np.array([read_time(text) is not None for text in values])
    if counts[dated].sum() >= enough:
        return InferredType(Kind.date)
    separator = _separator(values, counts)
    return InferredType(Kind.strings, separator=separator) if separator else InferredType(Kind.string)


def declared_type(kind: Kind, values: Sequence[str], counts: NDArray[np.int64], language: str) -> InferredType:
    """A type that the mapping declares, with the commonest unit of numbers, and a separator of a set."""
    if kind is Kind.number:
        return InferredType(kind, _commonest_unit([read_amount(text, language) for text in values], counts)[0])
    if kind is Kind.strings:
        return InferredType(kind, separator=_any_separator(values))
    return InferredType(kind)


def read_boolean(text: str, language: str) -> bool | None:
    """What yes and no mean, in English and in the catalog's language; None for anything else."""
    folded = text.casefold()
    yes, no = _YES_NO.get(language.split("-")[0].lower(), ("", ""))
    if folded in _TRUE or folded in yes.split():
        return True
    return False if folded in _FALSE or folded in no.split() else None


def read_time(text: str) -> float | None:
    """Seconds since 1970 of a date of ISO 8601; None for anything else."""
    if not _DATE.fullmatch(text):
        return None
    try:
        return timestamp(read_date(text))
    except (ValueError, OverflowError):
        return None


def split_values(text: str, separator: re.Pattern[str]) -> list[str]:
    """The parts of a text without repeats."""
    return list(dict.fromkeys(part for part in separator.split(text.strip()) if part))


def list_separator() -> re.Pattern[str]:
    """What separates colours, sizes and materials: a slash, by which cleaning joins them, or any other sign."""
    return _LISTED


def separator_name(separator: re.Pattern[str]) -> str:
    """What a manifest calls a separator: its sign, or "list" for any of several."""
    return next((sign for sign, pattern in _SEPARATORS.items() if pattern == separator), LISTED_NAME)


def named_separator(name: str) -> re.Pattern[str]:
    """The separator with this name; of manifests that do not note it, any of the three signs."""
    return _LISTED if name == LISTED_NAME else _SEPARATORS.get(name, _ANY_SIGN)


def _commonest_unit(amounts: Sequence[Amount | None], weights: NDArray[np.int64]) -> tuple[str, int]:
    """The unit of most products' numbers, and how many products have it."""
    units: Counter[str] = Counter()
    for amount, weight in zip(amounts, weights.tolist(), strict=True):
        if amount is not None:
            units[amount.unit] += weight
    return units.most_common(1)[0] if units else ("", 0)


def _separator(texts: Sequence[str], weights: NDArray[np.int64]) -> re.Pattern[str] | None:
    """What separates several values in one text, where it does and the parts recur in other texts."""
    for sign, pattern in _SEPARATORS.items():
        several = np.array([sign in text for text in texts])
        if weights[several].sum() < _MULTIPLE_SHARE * weights.sum() or not several.any():
            continue
        split = [split_values(text, pattern) for text in texts]
        occurrences = Counter(part for parts in split for part in parts)
        parts = [part for one, many in zip(split, several.tolist(), strict=True) if many for part in one]
        recurring = sum(occurrences[part] > 1 for part in parts)
        short = sum(map(len, parts)) <= _PART_CHARACTERS * len(parts)
        if parts and short and recurring >= _RECURRING_SHARE * len(parts):
            return pattern
    return None


def _any_separator(texts: Sequence[str]) -> re.Pattern[str]:
    """The separator that most texts have."""
    counts = {sign: sum(sign in text for text in texts) for sign in _SEPARATORS}
    best = max(counts, key=lambda sign: counts[sign])
    return _SEPARATORS[best] if counts[best] else _LISTED
