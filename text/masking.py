"""Masks personal data in what people type: e-mail addresses, telephone, card, bank and identity numbers.

For everything that is written down of a query: logs, events, traces. Numbers count by their check digits and their
dates, so that part numbers and GTINs stay, but for those that happen to be sound; names and addresses are not looked
for. `benchmarks.masking` measures both kinds of error.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from itertools import chain
from typing import NamedTuple

import phonenumbers
from stdnum import iban, luhn

MOST_CHARACTERS = 4096
"""What is longer is cut there before it is masked."""

_COUNTRIES = ("US", "GB", "DE", "FR", "IN")  # whose telephone numbers are known without a country, where none is given
_AT = r"(?:@|%40|\s{0,3}[\[({]\s{0,3}at\s{0,3}[\])}]\s{0,3})"
_EMAIL = re.compile(rf"[\w.+\-!#$%&'*/=?^`{{|}}~]{{1,64}}{_AT}[\w\-]{{1,63}}(?:\.[\w\-]{{1,63}}){{0,8}}")
_GROUPS = re.compile(r"[A-Za-z0-9]+")
_BETWEEN = re.compile(r"[ \-./+_,]{1,2}")  # stands between two groups of one number
# Of cards in use: first digits, and how many there are in all.
_ISSUERS = re.compile(
    r"4\d{15}(?:\d{3})?|(?:5[1-5]|2[2-7])\d{14}|3[47]\d{13}|3(?:0[0-5]|[689])\d{11,13}"
    r"|(?:6011|64[4-9]|65|62|60|81|82)\d+|35\d{14}|(?:2131|1800)\d{11}|(?:5[0678]|6)\d{12,17}"
)
# Whoever writes digits so means an identity or a telephone number, sound or not.
_FEW = 12
_SSN = re.compile(r"(?<!\d)\d{3}-\d{2}-\d{4}(?!\d)")
_DATE = r"(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
_RRN = re.compile(rf"(?<!\d)\d{{2}}{_DATE}-[1-8]\d{{6}}(?!\d)")
_RIC = re.compile(rf"(?<!\d)[1-9]\d{{5}}(?:19|20)\d{{2}}{_DATE}\d{{3}}[\dXx](?![^\W_])")
_TELEPHONE = re.compile(r"(?<![\d\-./])(?:\+?\d{1,3}[ .\-])?(?:\(\d{3}\) ?|\d{3}[ .\-])\d{3}[ .\-]\d{4}(?![\d\-/])")
# Few digits, few of which check the others: they count as people write them, and not bare.
_WRITTEN = (
    ("ca.sin", re.compile(r"(?<!\d)\d{3}[\- ]\d{3}[\- ]\d{3}(?!\d)")),
    ("nl.bsn", re.compile(r"(?<!\d)\d{4}\.\d{2}\.\d{3}(?!\d)")),
    ("se.personnummer", re.compile(r"(?<!\d)(?:\d{2})?\d{6}[\-+]\d{4}(?!\d)")),
    ("dk.cpr", re.compile(r"(?<!\d)\d{6}-\d{4}(?!\d)")),
    ("fi.hetu", re.compile(r"(?<!\d)\d{6}[\-+A-FU-Yaf-fu-y]\d{3}[0-9A-Za-z](?![^\W_])")),
    ("cz.rc", re.compile(r"(?<!\d)\d{6}/\d{3,4}(?!\d)")),
    ("in_.aadhaar", re.compile(r"(?<!\d)\d{4}[ \-]\d{4}[ \-]\d{4}(?!\d)")),
    ("br.cpf", re.compile(r"(?<!\d)\d{3}\.\d{3}\.\d{3}-\d{2}(?!\d)")),
    ("ch.ssn", re.compile(r"(?<!\d)756\.\d{4}\.\d{4}\.\d{2}(?!\d)")),
)
# Two check digits, or a date and one; by how many digits they have, since looking at each takes microseconds.
_BARE = {
    11: ("br.cpf", "tr.tckimlik", "pl.pesel", "be.nn", "no.fodselsnummer"),
    13: ("ro.cnp", "ch.ssn", "za.idnr"),
    15: ("fr.nir",),
}
# Few digits in the shops of one country, however they are written.
_NATIONAL = {
    "NL": "nl.bsn", "CA": "ca.sin", "DE": "de.idnr", "IN": "in_.aadhaar", "SE": "se.personnummer", "DK": "dk.cpr",
    "CZ": "cz.rc", "GB": "gb.nhs",
}  # fmt: skip
_LETTERED = {9: ("es.dni", "es.nie"), 16: ("it.codicefiscale",), 18: ("mx.curp",)}
_NINO = re.compile(r"(?<![^\W_])[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z](?:[ \-]?\d{2}){3}[ \-]?[A-D](?![^\W_])", re.I)


class _Span(NamedTuple):
    """What is masked, of the text without invisible characters, and the word in its place."""

    start: int
    end: int
    word: str


def mask_personal(text: str, country: str = "") -> str:
    """The text with `[email]`, `[card]`, `[iban]`, `[id]` and `[phone]` in place of personal data.

    `country` (ISO 3166, two letters) says how telephone numbers are written that do not begin with `+`.
    """
    text = text[:MOST_CHARACTERS]
    plain, places = _plain(text)
    if not any(map(str.isdigit, plain)) and "@" not in plain and "at" not in plain.lower():
        return text
    kinds = (_emails(plain), _ibans(plain), _cards(plain), _identities(plain, country), _phones(plain, country))
    covered = bytearray(len(plain))
    spans = []
    for span in chain.from_iterable(kinds):
        if not any(covered[span.start : span.end]):
            covered[span.start : span.end] = b"\1" * (span.end - span.start)
            spans.append(span)
    places.append(len(text))
    for span in sorted(spans, reverse=True):
        text = f"{text[: places[span.start]]}[{span.word}]{text[places[span.end] :]}"
    return text


def _plain(text: str) -> tuple[str, list[int]]:
    """The text with digits of all scripts and full-width letters as those of ASCII, without what nobody sees; and where
    each character stands in the text."""
    if text.isascii():
        return text, list(range(len(text)))
    characters, places = [], []
    for place, character in enumerate(text):
        category = unicodedata.category(character)
        if category in ("Cf", "Mn", "Me"):
            continue
        if category == "Nd":
            character = str(unicodedata.decimal(character))
        elif category == "Zs":
            character = " "
        elif category == "Pd":
            character = "-"
        elif len(folded := unicodedata.normalize("NFKC", character)) == 1:
            character = folded
        characters.append(character)
        places.append(place)
    return "".join(characters), places


def _emails(plain: str) -> Iterator[_Span]:
    return (_Span(*match.span(), "email") for match in _EMAIL.finditer(plain))


def _numbers(plain: str, least: int, most: int) -> Iterator[tuple[int, int, str]]:
    """Start, end and characters of all that may be one number of so many characters: neighbouring groups of digits and
    letters with a space, dash, dot or the like between them, or two. From each place the longest comes first."""
    groups = list(_GROUPS.finditer(plain))
    for first, group in enumerate(groups):
        ends, characters = [], ""
        for place in range(first, len(groups)):
            joined = place == first or bool(_BETWEEN.fullmatch(plain, groups[place - 1].end(), groups[place].start()))
            characters += groups[place][0]
            if not joined or len(characters) > most:
                break
            if len(characters) >= least:
                ends.append((groups[place].end(), characters))
        yield from ((group.start(), end, number) for end, number in reversed(ends))


def _cards(plain: str) -> Iterator[_Span]:
    for start, end, number in _numbers(plain, 13, 19):
        if _ISSUERS.fullmatch(number) and luhn.is_valid(number):
            yield _Span(start, end, "card")


def _ibans(plain: str) -> Iterator[_Span]:
    for start, end, number in _numbers(plain, 15, 34):
        if number[:2].isalpha() and number[2:4].isdigit() and iban.is_valid(number.upper()):
            yield _Span(start, end, "iban")


def _identities(plain: str, country: str) -> Iterator[_Span]:
    for form in (_SSN, _RRN, _RIC, _NINO):
        for match in form.finditer(plain):
            yield _Span(*match.span(), "id")
    for name, form in _WRITTEN:
        for match in form.finditer(plain):
            if _is_valid(name)(match[0]):
                yield _Span(*match.span(), "id")
    national = _NATIONAL.get(country.upper())
    for start, end, number in _numbers(plain, 9, 18):
        names = (_BARE if number.isdigit() else _LETTERED).get(len(number), ())
        if any(_is_valid(name)(number) for name in names) or (
            national and number.isdigit() and len(number) <= _FEW and _is_valid(national)(number)
        ):
            yield _Span(start, end, "id")


def _phones(plain: str, country: str) -> Iterator[_Span]:
    """Sound ones; with a plus or brackets, those too that could be sound; and those that are written as in America."""
    for region in (country.upper(),) if country else _COUNTRIES:
        for match in phonenumbers.PhoneNumberMatcher(plain, region, leniency=phonenumbers.Leniency.POSSIBLE):
            if match.raw_string[0] in "+(" or phonenumbers.is_valid_number(match.number):
                yield _Span(match.start, match.end, "phone")
    for form in _TELEPHONE.finditer(plain):
        yield _Span(*form.span(), "phone")


@cache
def _is_valid(name: str) -> Callable[[str], bool]:
    return import_module(f"stdnum.{name}").is_valid
