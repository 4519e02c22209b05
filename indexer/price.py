"""Prices as feeds write them, to whole millionths of a currency."""

import re
from decimal import Decimal, InvalidOperation
from typing import Any

from core.product import MICROS
from indexer.rejection import Rejected

# ISO 4217, codes of circulating money.
_CODES = (
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF "
    "CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG "
    "HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA "
    "MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD "
    "RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX "
    "USD UYU UZS VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWL"
)
CURRENCIES = frozenset(_CODES.split())
_DOLLARS = "USD AUD BBD BMD BND BSD BZD CAD CLP COP ARS FJD GYD HKD JMD KYD LRD MXN NAD NZD SBD SGD SRD TTD TWD XCD"
# What a sign may stand for. The first is meant where the catalog's own currency is not among them; None: nothing is.
_SIGNS: dict[str, tuple[str | None, ...]] = {
    "€": ("EUR",),
    "$": tuple(_DOLLARS.split()),
    "us$": ("USD",),
    "ca$": ("CAD",),
    "au$": ("AUD",),
    "£": ("GBP", "EGP", "FKP", "GIP", "SHP"),
    "¥": ("JPY", "CNY"),
    "￥": ("JPY", "CNY"),
    "₹": ("INR",),
    "rs": (None, "INR", "PKR", "LKR", "NPR", "MUR"),
    "₽": ("RUB",),
    "₩": ("KRW",),
    "₺": ("TRY",),
    "₫": ("VND",),
    "₴": ("UAH",),
    "₪": ("ILS",),
    "r$": ("BRL",),
    "zł": ("PLN",),
    "kč": ("CZK",),
    "ft": ("HUF",),
    "lei": ("RON",),
    "kr": (None, "SEK", "NOK", "DKK", "ISK"),
    "fr": ("CHF",),
}
_LIMIT = 10**12

_PLAIN = re.compile(r"(\d{1,9})(?:\.(\d{1,2}))?(?: ([A-Z]{3}))?")
_NUMBER = re.compile(r"\d(?:[\d.,'\u2019\s]*\d)?|[.,]\d+")
_SPACED = re.compile(r"\d{1,3}(?:[\s'\u2019]\d{3})+(?:[.,]\d+)?")
_MINUS = "-\u2212"
_DIGITS = 60
_BEHIND = re.compile(r"^[.,]\s*[-\u2013\u2014]{1,2}")
_GROUPED = {
    ",": re.compile(r"\d{1,3}(?:,\d{2,3})*,\d{3}"),  # also lakh: 1,23,456
    ".": re.compile(r"\d{1,3}(?:\.\d{3})+"),
}


def parse_price(
    value: Any, default_currency: str | None, scale: Decimal | None = None, decimal: str | None = None
) -> tuple[int, str | None]:
    """A price in millionths (times `scale`) and its ISO 4217 currency, the default where the price names none.

    `decimal` is the sign before the decimals, where known. Otherwise both signs together tell which is which; one
    sign alone marks decimals unless it repeats; a comma before exactly three digits marks thousands; a point before
    exactly three digits, after one to three others, may mean either and is refused. Raises Rejected.
    """
    if isinstance(value, str):
        if scale is None and decimal is None and (plain := _PLAIN.fullmatch(value)):
            whole, part, code = plain.groups()
            if code is None or code in CURRENCIES:
                return int(whole) * MICROS + int((part or "0").ljust(2, "0")) * (
                    MICROS // 100
                ), code or default_currency
        amount, currency = _parse(value, default_currency, decimal)
    elif isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        raise Rejected("bad_price", f"{value!r} is no number")
    else:
        amount, currency = Decimal(str(value)), default_currency
    if not amount.is_finite():
        raise Rejected("bad_price", f"{value!r} is no number")
    if amount < 0:
        raise Rejected("negative_price", f"{value!r}")
    if scale is not None:
        amount *= scale
    if amount >= _LIMIT:
        raise Rejected("absurd_price", f"{value!r}: {amount:.3g} is beyond what anything costs")
    return int((amount * MICROS).to_integral_value()), currency


def parse_currency(value: str) -> str:
    """An ISO 4217 code in any case, or a sign that means one currency alone. Raises Rejected for anything else."""
    code = value.strip().upper()
    if code in CURRENCIES:
        return code
    meant = _SIGNS.get(value.strip().casefold().rstrip("."), ())
    if len(meant) == 1 and meant[0]:
        return meant[0]
    raise Rejected("bad_currency", f"{value!r} is no ISO 4217 code")


def _parse(text: str, default: str | None, decimal: str | None) -> tuple[Decimal, str | None]:
    found = _NUMBER.search(text)
    if not found:
        raise Rejected("bad_price", f"{text!r} holds no number")
    before, behind = text[: found.start()].strip(), text[found.end() :].strip()
    behind = _BEHIND.sub("", behind).strip()  # 39,- is 39; 39- may be less than nothing
    sign = -1 if before.startswith(tuple(_MINUS)) or before.endswith(tuple(_MINUS)) else 1
    before = before.strip(_MINUS + " ")
    number = re.sub(r"[\s'\u2019]", "", found[0])
    if number != found[0] and not _SPACED.fullmatch(found[0]):
        raise Rejected("bad_price", f"{text!r} holds more than one number")
    words = [word for word in (before, behind) if word]
    if len(words) > 1 and _meaning(words[0], default) != _meaning(words[1], default):
        raise Rejected("ambiguous_price", f"{text!r} names two currencies")
    currency = _meaning(words[0], default) if words else default
    return sign * _number(number, decimal, text), currency


def _meaning(word: str, default: str | None) -> str:
    """The currency that a word or sign beside the number names."""
    if word.upper() in CURRENCIES:
        return word.upper()
    meant = _SIGNS.get(word.casefold().rstrip("."))
    if meant is None:
        raise Rejected("bad_price", f"{word!r} is no currency")
    if default is not None and default in meant:
        return default
    if meant[0] is None:
        raise Rejected("ambiguous_price", f"{word!r} is the sign of several currencies; set the catalog's currency")
    return meant[0]


def _number(digits: str, decimal: str | None, text: str) -> Decimal:
    """The value of digits, points and commas."""
    if len(digits) > _DIGITS:
        raise Rejected("absurd_price", f"{text[:_DIGITS]}... has {len(digits):,} digits")
    decimal = decimal or _decimal_sign(digits, text)
    grouping = "." if decimal == "," else ","
    whole, _, part = digits.partition(decimal)
    if grouping in part or decimal in part or (grouping in whole and not _GROUPED[grouping].fullmatch(whole)):
        raise Rejected("bad_price", f"{text!r}: its points and commas make no number")
    try:
        return Decimal(f"{whole.replace(grouping, '')}.{part or '0'}")
    except InvalidOperation:
        raise Rejected("bad_price", f"{text!r} is no number") from None


def _decimal_sign(digits: str, text: str) -> str:
    points, commas = digits.count("."), digits.count(",")
    if points and commas:
        return "." if digits.rfind(".") > digits.rfind(",") else ","
    if not points and not commas:
        return "."
    sign = "." if points else ","
    other = "," if points else "."
    whole, _, part = digits.rpartition(sign)
    if points + commas > 1:
        return other
    if len(part) != 3 or len(whole) > 3 or whole == "0":
        return sign
    if sign == ",":
        return other
    raise Rejected("ambiguous_price", f"{text!r} may mean thousands or decimals; set decimal for price in the mapping")
