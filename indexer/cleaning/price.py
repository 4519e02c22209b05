"""Prices as feeds write them, to whole millionths of a currency."""

import re
import unicodedata
from decimal import Decimal, InvalidOperation
from typing import Any

from catalog.product import MICROS
from indexer.cleaning.currency import CURRENCIES, DOLLARS, THOUSANDTHS, WHOLE_UNITS, is_currency, resolve_currency
from indexer.cleaning.rejection import InvalidValue

_LIMIT = 10**12
# In characters. What is longer is prose, or digits without end.
_TEXT_LIMIT = 200

_PLAIN = re.compile(r"(\d{1,9})(?:\.(\d{1,2}))?(?: ([A-Z]{3}))?")
# A point behind a word, as in Rs.500 and S/.500, ends the word.
_NUMBER = re.compile(r"\d(?:[\d.,'\u2019\s]*\d)?|(?<![^\W\d_])(?<!/)[.,]\d+")
_SPACED = re.compile(r"\d{1,3}(?:[\s'\u2019]\d{3})+(?:[.,]\d+)?")
_WORD = re.compile(r"[^\s\d/.,()]+")
_MINUS = "-\u2212"
_DIGITS = 60
_BEHIND = re.compile(r"^(?:[.,:]\s*[-\u2013\u2014=]{1,2}|/[-=])")
_GROUPED = {
    ",": re.compile(r"\d{1,3}(?:,\d{2,3})*,\d{3}"),  # also lakh: 1,23,456
    ".": re.compile(r"\d{1,3}(?:\.\d{3})+"),
}
# Marks of writing direction, and of a footnote.
_MARKS = re.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069*\u2020\u2021]")
_ARABIC_SIGNS = {ord("\u066b"): ".", ord("\u066c"): ","}

# Words around a price that change nothing of it. "From" is the price of the cheapest variant, which a list shows.
_LEADING = (
    "from|starting (?:at|from)|starts at|only|now|just|price|sale(?: price)?|special price|our price|rrp|msrp|approx|"
    "ab|nur|jetzt|preis|uvp|je|ca|à partir de|a partir de|dès|prix|seulement|desde|precio|solo|sólo|da|a partire da|"
    "prezzo|por|apenas|preço|vanaf|prijs|nu|från|fra|pris|hinta|alkaen|od|cena|již od|już od|de la|preț|от|цена|ціна|"
    "від|από|τιμή|fiyat|fiyatı|harga|mulai dari|mulai|giá|từ|ราคา|เริ่มต้น|من|السعر|החל מ|מחיר|定価|税込|税抜|税別|価格|"
    "价格|價格|售价|售價|가격|판매가|約|约|~|≈"
)
_TAXES = (
    "inkl|incl|inc|inclusive|including|included|excl|exkl|exclusive|excluding|ex|zzgl|plus|mit|ohne|con|sin|sans|avec|"
    "iva|vat|mwst|ust|gst|tax|taxes|moms|mva|btw|tva|dph|kdv|pdv|alv|áfa|ндс|пдв|ht|ttc|netto|brutto|net|gross|"
    "impuestos|(?:z|bez) vat|(?:s|bez|vč|včetně)\\.? dph|(?:с|без) ндс|(?:з|без) пдв"
)
_PERCENT = r"\d{1,2}(?:[.,]\d{1,2})?\s*%"
_LEAD = re.compile(rf"^(?:{_LEADING})(?![^\W\d_])[.:]?\s*", re.IGNORECASE)
_TAX = re.compile(
    rf"[\s(\[,;]*(?:(?:{_PERCENT}\s*)?(?:{_TAXES})(?![^\W\d_])[^\d]*(?:{_PERCENT}[^\d]*)?|\(?税[込抜別入][^\d]*)$",
    re.IGNORECASE,
)
_UNITS = (
    "per|pro|par|je|por|cad\\.|each|ea|apiece|stk|stck|stück|st|pcs|pc|piece|szt|sztuka|ks|db|adet|шт|за|la|al|/|kpl|"
    "uds|ud|pièce|p\\.\\s?(?:st|stk|pz)"
)
_PER = re.compile(rf"\s*(?:/|(?<![^\W\d_])(?:{_UNITS})(?![^\W\d_])).*$", re.IGNORECASE | re.DOTALL)
_FROM = re.compile(r"\s*(?:起|から|より|부터|〜|~|\+|alkaen|itibaren|only|nur)$", re.IGNORECASE)

# A hundredth of what; None: of the catalog's own currency.
_CENTS: dict[str, str | None] = dict.fromkeys(("¢", "c¢", "us¢"), "USD") | dict.fromkeys(
    ("c", "ct", "cts", "cent", "cents")
)
_CENTS |= dict.fromkeys(("p", "pence"), "GBP") | {"коп": "RUB"}
_OF_CENTS = {"USD": (*DOLLARS, "EUR"), None: (*DOLLARS, "EUR"), "GBP": ("GBP", "FKP", "GIP", "SHP"), "RUB": ("RUB",)}


def parse_price(
    value: Any, default_currency: str | None, scale: Decimal | None = None, decimal: str | None = None
) -> tuple[int, str | None]:
    """A price in millionths (times `scale`) and its ISO 4217 currency, the default where the price names none.

    `decimal` is the sign before the decimals, where known. Otherwise both signs together determine which is which; one
    sign alone marks decimals unless it repeats. Before exactly three digits, after one to three others, it marks
    thousands where the currency has no decimals in use, a point marks decimals where it has three; else a comma marks
    thousands, and a point may mean either and is refused. Raises InvalidValue.
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
        raise InvalidValue("bad_price", f"{value!r} is no number")
    else:
        amount, currency = Decimal(str(value)), default_currency
    if not amount.is_finite():
        raise InvalidValue("bad_price", f"{value!r} is no number")
    if amount < 0:
        raise InvalidValue("negative_price", f"{value!r}")
    if scale is not None:
        amount *= scale
    if amount >= _LIMIT:
        raise InvalidValue("absurd_price", f"{value!r}: {amount:.3g} is beyond what anything costs")
    return int((amount * MICROS).to_integral_value()), currency


def _parse(text: str, default: str | None, decimal: str | None) -> tuple[Decimal, str | None]:
    if len(text) > _TEXT_LIMIT:
        reason = "absurd_price" if text[:_TEXT_LIMIT].isdecimal() else "bad_price"
        raise InvalidValue(reason, f"{text[:_DIGITS]}... has {len(text):,} characters")
    plain = text if text.isascii() else _plain_digits(text)
    plain = _MARKS.sub("", plain).strip()
    match = _NUMBER.search(plain)
    if not match:
        raise InvalidValue("bad_price", f"{text!r} holds no number")
    before, behind = _LEAD.sub("", plain[: match.start()].strip()), _strip_suffixes(plain[match.end() :])
    sign = -1 if before.startswith(tuple(_MINUS)) or before.endswith(tuple(_MINUS)) else 1
    before = before.strip(_MINUS + " ")
    number = re.sub(r"[\s'\u2019]", "", match[0])
    if number != match[0] and not _SPACED.fullmatch(match[0]):
        raise InvalidValue("bad_price", f"{text!r} holds more than one number")
    if not before and (cents := behind.casefold().rstrip(".")) in _CENTS:
        return sign * _number(number, decimal, text, None) / 100, _currency_of_cents(cents, default)
    words = f"{before} {behind}".strip()
    if not words and _names_money(plain[match.end() :]):
        raise InvalidValue(
            "bad_price", f"{text!r} is the price of several, or names its currency behind something else"
        )
    currency = resolve_currency(words, default) if words else default
    return sign * _number(number, decimal, text, currency), currency


def _plain_digits(text: str) -> str:
    """The same with the digits 0 to 9 for those of other scripts, and narrow forms for wide ones."""
    wide = "".join(unicodedata.normalize("NFKC", c) if "\uff00" <= c <= "\uffef" else c for c in text)
    digits = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in wide)
    return digits.translate(_ARABIC_SIGNS)


def _strip_suffixes(behind: str) -> str:
    """The text behind a number, without signs of a whole price, taxes, or a unit such as `per piece`."""
    behind = _BEHIND.sub("", behind.strip())  # 39,- is 39; 39- may be less than nothing
    return _FROM.sub("", _PER.sub("", _TAX.sub("", behind))).strip()


def _names_money(dropped: str) -> bool:
    """Whether text read as a unit or a tax names a currency: 2/$5, and 3 for 5 zł, are not 2 and 3."""
    amount = any(c.isdigit() for c in dropped)
    return any(
        word in CURRENCIES or any(unicodedata.category(c) == "Sc" for c in word) or (amount and is_currency(word))
        for word in _WORD.findall(dropped)
    )


def _currency_of_cents(word: str, default: str | None) -> str:
    main = _CENTS[word]
    if default in _OF_CENTS[main]:
        return str(default)
    if main is None:
        raise InvalidValue("ambiguous_price", f"{word!r} is a part of several currencies; set the catalog's currency")
    return main


def _number(digits: str, decimal: str | None, text: str, currency: str | None) -> Decimal:
    """The value of digits, points and commas."""
    if len(digits) > _DIGITS:
        raise InvalidValue("absurd_price", f"{text[:_DIGITS]}... has {len(digits):,} digits")
    decimal = decimal or _decimal_sign(digits, text, currency)
    grouping = "." if decimal == "," else ","
    whole, _, part = digits.partition(decimal)
    if grouping in part or decimal in part or (grouping in whole and not _GROUPED[grouping].fullmatch(whole)):
        raise InvalidValue("bad_price", f"{text!r}: its points and commas make no number")
    try:
        return Decimal(f"{whole.replace(grouping, '') or '0'}.{part or '0'}")
    except InvalidOperation:
        raise InvalidValue("bad_price", f"{text!r} is no number") from None


def _decimal_sign(digits: str, text: str, currency: str | None) -> str:
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
    if len(part) != 3 or len(whole) > 3 or whole in ("", "0"):
        return sign
    if currency in WHOLE_UNITS or (sign == "," and currency not in THOUSANDTHS):
        return other
    if sign == "." and currency in THOUSANDTHS:
        return sign
    raise InvalidValue(
        "ambiguous_price", f"{text!r} may mean thousands or decimals; set decimal for price in the mapping"
    )
