"""Price bounds in queries: 'headphones under 50', 'between 20 and 40 euro', '20-30 €', 'bis 30 €'; and words for a low
price, such as 'cheap'.

A number with a unit is no price ('under 50 cm'), nor is one that follows an age ('kids under 12'). Without a currency
the number has to end the query, and '20 to 30' is no price.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

_MILLION = 1_000_000
_STOPS = " .!?"

# ISO 4217 codes and how shoppers write them; a name that several currencies share matches each of them.
_CURRENCIES = {
    "€": "EUR", "eur": "EUR", "euro": "EUR", "euros": "EUR", "$": "USD AUD CAD NZD", "usd": "USD",
    "dollar": "USD AUD CAD NZD", "dollars": "USD AUD CAD NZD", "bucks": "USD AUD CAD NZD", "£": "GBP", "gbp": "GBP",
    "quid": "GBP", "chf": "CHF", "franken": "CHF", "sek": "SEK", "nok": "NOK", "dkk": "DKK", "kr": "SEK NOK DKK",
    "zł": "PLN", "pln": "PLN", "zloty": "PLN",
}  # fmt: skip
_MOST = (
    "under", "below", "less than", "cheaper than", "up to", "max", "max.", "maximum", "at most", "no more than",
    "not more than", "within", "unter", "bis", "bis zu", "höchstens", "maximal", "weniger als", "günstiger als",
    "billiger als", "moins de", "jusqu'à", "menos de", "hasta", "onder", "tot", "minder dan", "meno di", "fino a",
    "<",
)  # fmt: skip
_LEAST = (
    "over", "above", "more than", "at least", "min", "min.", "minimum", "über", "ab", "mindestens", "mehr als",
    "plus de", "más de", "boven", "meer dan", "più di", ">",
)  # fmt: skip
_BETWEEN = (("between", "and"), ("from", "to"), ("zwischen", "und"), ("von", "bis"), ("entre", "et"), ("entre", "y"))
_UNTIL = ("to", "till", "-", "\u2013", "\u2014", "bis", "à", "a", "tot", "til", "till", "do")
_ABOUT = ("about", "around", "roughly", "approx", "approx.", "ca", "ca.", "circa", "etwa", "ungefähr", "um die",
          "environ", "autour de", "unos", "alrededor de", "rond", "ongeveer")  # fmt: skip
_TOLERANCE = 0.2  # what 'about' allows on both sides
_CHEAP = (
    "cheap", "cheapest", "inexpensive", "budget", "affordable", "low price", "low cost", "günstig", "günstige",
    "günstiger", "günstiges", "günstigen", "billig", "billige", "billiger", "billiges", "billigen", "preiswert",
    "preiswerte", "pas cher", "pas chère", "pas chers", "pas chères", "bon marché", "barato", "barata", "baratos",
    "baratas", "económico", "económica", "economico", "economica", "economici", "economiche", "a buon mercato",
    "goedkoop", "goedkope", "billigt", "tani", "tanie", "tania",
)  # fmt: skip
_AFTER_MOST = ("or less", "or under", "or cheaper", "or below", "max", "maximum", "oder weniger")
_AFTER_LEAST = ("or more", "or over", "oder mehr")
_LINKS = r"(?:for |at |für |costs? |that costs? |priced? |which costs? )?"
_AGES = frozenset(("age", "aged", "ages", "kids", "kid", "children", "child", "boys", "girls", "baby", "babies",
                   "toddlers", "year", "years", "kinder", "alter"))  # fmt: skip


@dataclass(frozen=True, slots=True)
class PriceBounds:
    """Price bounds in millionths of `currencies` (ISO 4217), any currency where empty; both ends are inclusive."""

    least: int | None = None
    most: int | None = None
    currencies: frozenset[str] = frozenset()

    def include(self, prices: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of n prices in millionths are within the bounds, shape (n,); a missing one, NaN, is not."""
        least = -np.inf if self.least is None else self.least
        most = np.inf if self.most is None else self.most
        return np.asarray((prices >= least) & (prices <= most))


def _any(words: Iterable[str]) -> str:
    return "|".join(map(re.escape, sorted(words, key=len, reverse=True)))


_MONEY = _any(_CURRENCIES)
_NUMBER = r"(\d{1,9}(?:[.,]\d{1,2})?)"
_AMOUNT = rf"(?:({_MONEY})\s?)?{_NUMBER}\s?({_MONEY})?(?![\w%\"'./,-])"
_FROM, _TO = _any({a for a, _ in _BETWEEN}), _any({b for _, b in _BETWEEN})
_PATTERNS = [
    (kind, re.compile(rf"(?<!\w){_LINKS}{pattern}", re.IGNORECASE))
    for kind, pattern in (
        ("between", rf"(?:{_FROM})\s+{_AMOUNT}\s*(?:{_TO})\s+{_AMOUNT}"),
        ("span", rf"(?:({_MONEY})\s?)?{_NUMBER}()\s*(?:{_any(_UNTIL)})\s*{_AMOUNT}"),
        ("about", rf"(?:{_any(_ABOUT)})\s*{_AMOUNT}"),
        ("most", rf"(?:{_any(_MOST)})\s*{_AMOUNT}"),
        ("least", rf"(?:{_any(_LEAST)})\s*{_AMOUNT}"),
        ("most", rf"{_AMOUNT}\s+(?:{_any(_AFTER_MOST)})(?!\w)"),
        ("least", rf"{_AMOUNT}\s+(?:{_any(_AFTER_LEAST)})(?!\w)"),
    )
]

_LOW = re.compile(rf"(?<![\w-])(?:{_any(_CHEAP)})(?![\w-])", re.IGNORECASE)
_CHEAPER = re.compile(r"cheap trick|budget planner|budget book", re.IGNORECASE)  # a band, and books


def read_price_bounds(text: str) -> tuple[str, PriceBounds | None]:
    """The query without its price bounds, and the bounds; the unchanged query and None where it has none.

    A query that consists of a price is unchanged.
    """
    for kind, pattern in _PATTERNS:
        for match in pattern.finditer(text):
            behind = text[match.end() :]
            rest = " ".join((text[: match.start()] + " " + (behind if behind.strip(_STOPS) else "")).split())
            groups = match.groups()
            amounts = [groups[start : start + 3] for start in range(0, len(groups), 3)]
            named = [word.casefold() for before, _, after in amounts for word in (before, after) if word]
            if not rest or not (named or (kind not in ("span", "about") and _ends_with(text, match))):
                continue
            currencies = frozenset(chain.from_iterable(_CURRENCIES[word].split() for word in named))
            values = [round(float(number.replace(",", ".")) * _MILLION) for _, number, _ in amounts]
            if kind == "about":
                least, most = (round(values[0] * (1 + sign * _TOLERANCE)) for sign in (-1, 1))
                return rest, PriceBounds(least, most, currencies)
            if kind in ("between", "span"):
                return rest, PriceBounds(min(values), max(values), currencies)
            return rest, PriceBounds(**{kind: values[0]}, currencies=currencies)
    return text, None


def asks_for_low_price(text: str) -> bool:
    """Whether a query asks for a low price without a number: 'cheap kettle', 'robe pas chère'."""
    return _LOW.search(text) is not None and not _CHEAPER.search(text)


def _ends_with(text: str, match: re.Match[str]) -> bool:
    """Whether a number without a currency may be a price: it ends the query, and no age precedes it."""
    before = text[: match.start()].casefold().split()
    return not text[match.end() :].strip(_STOPS) and not (before and before[-1] in _AGES)
